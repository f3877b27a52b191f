/* The second part of the page's script: timeline, list, keys and words. It goes on from player.js. */

// --- the timeline ------------------------------------------------------------------------------

const bars = [];
const lanes = [];
const limited = classes.filter((each) => each.thresholds.length);
let zoom = 1;

function curveIn(svg, curve) {
  const edges = data.edges[curve.edges];
  const x = (seconds) => (((seconds - data.start) / length) * 1000).toFixed(2);
  let line = "";
  let area = "";
  for (let i = 0; i < curve.values.length; i++) {
    if (curve.values[i] === null) continue;
    const y = (1 - curve.values[i]).toFixed(3);
    const begins = i === 0 || curve.values[i - 1] === null;
    const ends = i + 1 === curve.values.length || curve.values[i + 1] === null;
    line += `${begins ? "M" : "L"}${x(edges[i])} ${y}H${x(edges[i + 1])}`;
    area += `${begins ? `M${x(edges[i])} 1V` : "V"}${y}H${x(edges[i + 1])}${ends ? "V1Z" : ""}`;
  }
  svg.append(drawing("path", { class: "area", d: area }), drawing("path", { class: "curve", d: line }));
}

function barOf(number) {
  bars[number] = element("button", { className: "bar", type: "button", tabIndex: -1, onclick: () => choose(number) });
  showBar(number);
  return bars[number];
}

function showBar(number) {
  const each = segments[number];
  const bar = bars[number];
  const peak = each.peak === null ? "" : `, peak ${each.peak.toFixed(2)}`;
  bar.title = `${labelOf(each)}, ${span(each)}, score ${each.score.toFixed(2)}${peak}`;
  bar.setAttribute("aria-label", bar.title);
  bar.style.left = percent(each.start);
  bar.style.width = `${((each.end - each.start) / length) * 100}%`;
}

function laneOf(number) {
  const { label, thresholds } = classes[number];
  const own = [...segments.keys()].filter((i) => segments[i].class === number);
  const track = element("div", { className: "track" }, ...own.map(barOf));
  const curves = data.curves.filter((curve) => curve.class === number);
  if (curves.length) {
    const svg = drawing("svg", { viewBox: "0 0 1000 1", preserveAspectRatio: "none", "aria-hidden": "true" });
    for (const curve of curves) curveIn(svg, curve);
    for (const y of thresholds) {
      svg.append(drawing("line", { class: "threshold", x1: 0, x2: 1000, y1: 1 - y, y2: 1 - y }));
    }
    track.append(svg);
  }
  const name = element("div", { className: "lane-name", title: label }, chip(), element("span", { textContent: label }));
  return paint(element("div", { className: "lane" }, name, track), number);
}

function buildLanes() {
  lanes.push(...[...classes.keys()].map(laneOf));
  byId("lanes").append(...lanes);
  for (const gap of data.gaps) {
    const mark = element("div", { className: "gap-mark" });
    mark.style.left = percent(gap.start);
    mark.style.width = `${((gap.end - gap.start) / length) * 100}%`;
    byId("gap-marks").append(mark);
  }
  for (const cut of data.cuts) {
    const mark = element("div", { className: "cut-mark" });
    mark.style.left = percent(cut);
    byId("cut-marks").append(mark);
  }
  const words = [];
  if (data.curves.length) words.push(data.lines);
  const drawn = new Set(limited.map((each) => each.thresholds.map((y) => y.toFixed(2)).join(" and ")));
  if (drawn.size) words.push(drawn.size === 1 ? `dashes the thresholds, ${[...drawn]}` : "dashes the thresholds of each class");
  if (data.gaps.length) words.push("hatched spans were not scored");
  if (data.cuts.length) words.push(`upright lines are ${counted(data.cuts.length, "cut", "cuts")}`);
  byId("legend").textContent = words.length ? words.join("; ") + "." : "";
}

function drawAxis() {
  const axis = byId("axis");
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];
  const least = (length * 78) / Math.max(axis.clientWidth, 78);
  const step = steps.find((each) => each >= least) || Math.ceil(least / 14400) * 14400;
  axis.replaceChildren();
  for (let i = Math.ceil(data.start / step - 1e-6); i * step < data.end; i++) {
    const tick = element("span", { textContent: clock(i * step, step < 1 ? 1 : 0) });
    tick.style.left = percent(i * step);
    axis.append(tick);
  }
}

function setZoom(factor) {
  zoom = Math.min(Math.max(factor, 1), 128);
  byId("sheet").style.width = `${zoom * 100}%`;
  byId("zoom-out").disabled = byId("zoom-fit").disabled = zoom === 1;
  drawAxis();
  showPlayhead(0.5);
}

/* Scrolls sideways if the playhead is out of sight, so that it stands at this share of the width. */
function showPlayhead(share) {
  const scroll = byId("scroll");
  const axis = byId("axis");
  const names = byId("sheet").clientWidth - axis.clientWidth;
  const x = ((now() - data.start) / length) * axis.clientWidth;
  const seen = scroll.clientWidth - names;
  if (x < scroll.scrollLeft || x > scroll.scrollLeft + seen) scroll.scrollLeft = x - seen * share;
}

function scrub(event) {
  if (event.target.closest(".bar") || !event.target.closest(".track, .axis") || event.button) return;
  const at = (move) => {
    const box = byId("axis").getBoundingClientRect();
    seek(data.start + ((move.clientX - box.left) / box.width) * length);
  };
  const stop = () => removeEventListener("pointermove", at);
  at(event);
  if (event.pointerType === "mouse") {
    event.preventDefault();
    addEventListener("pointermove", at);
    addEventListener("pointerup", stop, { once: true });
  }
}

// --- the list ----------------------------------------------------------------------------------

const rows = [];
let order = [];
let sorting = { key: "start", descending: false };
let chosen = -1;
const columns = [
  ["start", "Start", (each) => each.start],
  ["end", "End", (each) => each.end],
  ["label", "Label", (each) => labelOf(each)],
  ["score", "Score", (each) => each.score],
];

function cell(className, ...children) {
  const made = element("td", { className }, ...children);
  made.setAttribute("role", "cell");
  return made;
}

function rowOf(each, number) {
  const picture = data.thumbnails[number];
  const image = picture
    ? element("img", { src: `data:image/jpeg;base64,${picture}`, alt: "", loading: "lazy" })
    : element("span", { className: "blank", textContent: "\u25b6" });
  const button = element("button", { className: "seek", type: "button" }, image);
  const level = element("i");
  level.style.width = `${each.score * 100}%`;
  const score = cell("score", each.score.toFixed(2), element("span", { className: "meter" }, level));
  const row = element(
    "tr",
    { onclick: () => choose(number) },
    cell("picture", button),
    cell("time start"),
    cell("time end"),
    cell("label"),
    score,
  );
  row.setAttribute("role", "row");
  row.dataset.number = number;
  rows[number] = row;
  showRow(number);
  return row;
}

function showRow(number) {
  const each = segments[number];
  const row = rows[number];
  const [picture, start, end, label] = row.children;
  picture.firstChild.setAttribute("aria-label", `Go to ${labelOf(each)} at ${clock(each.start)}`);
  start.textContent = clock(each.start);
  end.textContent = clock(each.end);
  label.replaceChildren(chip(), labelOf(each), ...(each.marks || []).flatMap((text) => [" ", element("span", { className: "mark", textContent: text })]));
  paint(row, each.class);
}

function buildList() {
  const head = [element("th", { ariaLabel: "Picture" })];
  for (const [key, text] of columns) {
    head.push(element("th", { scope: "col" }, element("button", { type: "button", textContent: text, onclick: () => sortBy(key) })));
    head.at(-1).dataset.key = key;
  }
  for (const each of head) each.setAttribute("role", "columnheader");
  byId("columns").append(...head);
  segments.forEach(rowOf);
}

function sortBy(key) {
  sorting = { key, descending: sorting.key === key ? !sorting.descending : key === "score" };
  refresh();
}

function isNamed(label) {
  const words = byId("filter-text").value.toLowerCase().split(/\s+/).filter(Boolean);
  return words.every((word) => label.toLowerCase().includes(word));
}

function isShown(each) {
  return !each.removed && each.score >= Number(byId("filter-score").value) && isNamed(labelOf(each));
}

/* The numbers of the segments that are shown, in the order of the list. */
function ordered() {
  const value = columns.find(([key]) => key === sorting.key)[2];
  const compare = (a, b) => (value(segments[a]) < value(segments[b]) ? -1 : value(segments[a]) > value(segments[b]) ? 1 : 0);
  const shown = [...segments.keys()].filter((number) => isShown(segments[number]));
  return shown.sort((a, b) => (sorting.descending ? -1 : 1) * compare(a, b) || a - b);
}

function refresh() {
  order = ordered();
  const shown = new Set(order);
  byId("rows").replaceChildren(...order.map((number) => rows[number]));
  for (const th of byId("columns").children) {
    if (th.dataset.key === sorting.key) th.setAttribute("aria-sort", sorting.descending ? "descending" : "ascending");
    else th.removeAttribute("aria-sort");
  }
  bars.forEach((bar, number) => (bar.hidden = !shown.has(number)));
  lanes.forEach((lane, i) => (lane.hidden = !isNamed(classes[i].label)));
  byId("filter-score-shown").value = Number(byId("filter-score").value).toFixed(2);
  sayCount();
}

/* Shows one segment anew, in its place, without touching the others. */
function refreshOne(number) {
  order = ordered();
  const place = order.indexOf(number);
  showBar(number);
  showRow(number);
  bars[number].hidden = place < 0;
  if (place < 0) rows[number].remove();
  else {
    const next = place + 1 < order.length ? rows[order[place + 1]] : null;
    if (!rows[number].isConnected || rows[number].nextSibling !== next) byId("rows").insertBefore(rows[number], next);
  }
  sayCount();
}

let onSegments = () => {};
const numKept = () => segments.reduce((sum, each) => sum + !each.removed, 0);

function sayCount() {
  const kept = numKept();
  const all = counted(kept, "segment", "segments");
  byId("count").textContent = kept ? (order.length === kept ? all : `${order.length} of ${all}`) : "";
  byId("list").querySelector("table").hidden = !order.length;
  byId("empty").hidden = order.length > 0;
  onSegments();
}

function clearFilters() {
  byId("filter-text").value = "";
  byId("filter-score").value = 0;
  refresh();
}

// --- following and choosing --------------------------------------------------------------------

let onChosen = () => {};

function choose(number) {
  chosen = number;
  onChosen();
  const start = segments[number].start;
  seek(start);
  reveal(number);
  showPlayhead(0.2);
  try {
    history.replaceState(null, "", `#${videos.length > 1 ? `v=${shownVideo}&` : ""}t=${Number(start.toFixed(3))}`);
  } catch {
    // Some viewers show pages without an address of their own.
  }
}

function reveal(number) {
  const list = byId("list");
  const row = rows[number];
  if (!row.isConnected || list.scrollHeight <= list.clientHeight) return;
  const box = row.getBoundingClientRect();
  const frame = list.getBoundingClientRect();
  const head = byId("columns").offsetHeight;
  if (box.top < frame.top + head) list.scrollTop -= frame.top + head - box.top;
  else if (box.bottom > frame.bottom) list.scrollTop += box.bottom - frame.bottom;
}

function step(by) {
  if (!order.length) return;
  const at = order.indexOf(chosen);
  if (at >= 0) return choose(order[Math.min(Math.max(at + by, 0), order.length - 1)]);
  const time = now();
  const after = order.findIndex((number) => segments[number].start > time);
  const next = after < 0 ? order.length - 1 : after;
  choose(order[by > 0 ? next : Math.max(next - 1, 0)]);
}

let current = "";
function follow() {
  const time = now();
  byId("clock").textContent = clock(time);
  byId("playhead").style.left = percent(Math.min(Math.max(time, data.start), data.end));
  const holding = segments.map((each) => !each.removed && each.start <= time + 1e-4 && time < each.end);
  const state = `${chosen}:${holding.map(Number).join("")}`;
  if (state !== current) {
    current = state;
    segments.forEach((_, i) => {
      for (const node of [rows[i], bars[i]]) {
        node.classList.toggle("now", holding[i]);
        node.classList.toggle("chosen", i === chosen);
      }
      if (holding[i]) rows[i].setAttribute("aria-current", "time");
      else rows[i].removeAttribute("aria-current");
    });
    if (hasVideo && !player.paused && holding.includes(true)) reveal(holding.indexOf(true));
  }
  if (chosen >= 0) atEnd(segments[chosen]);
  if (hasVideo && !player.paused && zoom > 1) showPlayhead(0.05);
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const target = event.target;
  if (target.closest("input, select, summary")) {
    if (event.key === "Escape") target.blur();
    return;
  }
  const isOnPlayer = target === player;
  const act = {
    j: () => step(1),
    k: () => step(-1),
    "/": () => byId("filter-text").focus(),
    ",": () => stepFrames(-1),
    ".": () => stepFrames(1),
    n: () => goToVideo(shownVideo + 1),
    p: () => goToVideo(shownVideo - 1),
    l: () => (byId("at-end").value = byId("at-end").value === "loop" ? "on" : "loop"),
    ...(isOnPlayer ? {} : { ArrowDown: () => step(1), ArrowRight: () => step(1), ArrowUp: () => step(-1), ArrowLeft: () => step(-1) }),
    // Buttons keep their space key, but those that seek are pressed with Enter.
    ...(isOnPlayer || !hasVideo || target.closest("button:not(.seek, .bar)")
      ? {}
      : { " ": () => (player.paused ? player.play().catch(cannotPlay) : player.pause()) }),
  }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (act) {
    event.preventDefault();
    act();
  }
}

function goToAddress() {
  if (videos.length > 1 && numberInAddress() !== shownVideo) return location.reload();
  const match = /[#&]t=(\d+(?:\.\d+)?)$/.exec(location.hash);
  if (match) seek(Number(match[1]));
}

// --- several videos ----------------------------------------------------------------------------

/* Each video has the page to itself: going to another one loads the page anew. */
function goToVideo(number) {
  if (number < 1 || number > videos.length || number === shownVideo) return;
  location.hash = `v=${number}`;
}

function listVideos() {
  if (videos.length < 2) return;
  document.body.classList.add("has-several");
  byId("title").textContent = data.title;
  byId("videos").hidden = false;
  byId("video-choice").append(
    ...[...videos].map(({ dataset }, i) => element("option", { value: i + 1, textContent: `${i + 1}. ${dataset.title} \u2013 ${dataset.found}` })),
  );
  byId("video-choice").value = shownVideo;
  byId("video-choice").onchange = () => goToVideo(Number(byId("video-choice").value));
  byId("video-before").disabled = shownVideo === 1;
  byId("video-after").disabled = shownVideo === videos.length;
  byId("video-before").onclick = () => goToVideo(shownVideo - 1);
  byId("video-after").onclick = () => goToVideo(shownVideo + 1);
  byId("video-count").textContent = `${grouped(shownVideo)} of ${counted(videos.length, "video", "videos")}`;
}

// --- words -------------------------------------------------------------------------------------

function sayState() {
  const failed = data.status === "error";
  const used = classes.filter((_, number) => segments.some((each) => each.class === number)).length;
  const found = segments.length
    ? `${counted(segments.length, "segment", "segments")} of ${counted(used, "class", "classes")}`
    : "nothing found";
  const parts = failed ? [data.model] : [found, clock(data.end - data.start), data.model];
  byId("summary").textContent = parts.join(" \u00b7 ");
  if (failed) {
    byId("banner").textContent = `This video could not be analysed: ${data.error}`;
    for (const id of ["found", "timeline", "keys", "correct"]) byId(id).hidden = true;
    byId("main").classList.add("no-player");
  } else if (data.gaps.length) {
    const lost = data.gaps.reduce((sum, gap) => sum + gap.end - gap.start, 0);
    byId("banner").textContent = `${counted(data.gaps.length, "part", "parts")} of this video (${lost.toFixed(2)} s) could not be read; nothing is known about what happens there.`;
  }
  byId("banner").hidden = !byId("banner").textContent;
  byId("filters").hidden = !segments.length;
  if (segments.length) {
    byId("empty").append(element("strong", { textContent: "No segment matches" }), "Nothing has this label and a score this high. ");
    byId("empty").append(element("div", {}, element("button", { type: "button", textContent: "Show all", onclick: clearFilters })));
  } else {
    const highest = new Set(limited.map((each) => Math.max(...each.thresholds)));
    let reached = limited.length ? "reached its threshold" : "scored high enough";
    if (highest.size === 1) reached = `reached ${[...highest][0].toFixed(2)}`;
    const where = data.windows ? ` in any of ${counted(data.windows, data.unit, `${data.unit}s`)}` : "";
    byId("empty").append(element("strong", { textContent: "Nothing found" }), `No class ${reached}${where}.`);
  }
  for (const gap of data.gaps) {
    const button = element("button", { type: "button", textContent: span(gap), onclick: () => seek(gap.start) });
    byId("gap-list").append(element("li", {}, button, `: ${gap.reason}`));
  }
  byId("gaps").hidden = !data.gaps.length;
  byId("note-list").append(...data.notes.map((text) => element("li", { textContent: text })));
  byId("notes").hidden = !data.notes.length;
  for (const [key, value] of data.facts) byId("facts").append(element("dt", { textContent: key }), element("dd", { textContent: value }));
}

byId("clock-total").textContent = ` / ${clock(data.end)}`;
listVideos();
sayState();
buildLanes();
buildList();
refresh();
startPlayer();
setZoom(1);
follow();
byId("timeline").hidden ||= !classes.length && !data.gaps.length;
byId("keys").hidden ||= !segments.length;
byId("filters").addEventListener("input", refresh);
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("zoom-in").onclick = () => setZoom(zoom * 2);
byId("zoom-out").onclick = () => setZoom(zoom / 2);
byId("zoom-fit").onclick = () => setZoom(1);
byId("sheet").addEventListener("pointerdown", scrub);
addEventListener("keydown", onKey);
addEventListener("resize", drawAxis);
addEventListener("hashchange", goToAddress);
goToAddress();
