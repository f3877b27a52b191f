/* The list, keys and words of the page. It goes on from timeline.js. */

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
  const meter = element("span", { className: "meter" }, element("i"));
  const row = element(
    "tr",
    { onclick: () => choose(number) },
    cell("picture", button),
    cell("time start"),
    cell("time end"),
    cell("label"),
    cell("score", "", meter),
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
  const [picture, start, end, label, score] = row.children;
  picture.firstChild.setAttribute("aria-label", `Go to ${labelOf(each)} at ${clock(each.start)}`);
  start.textContent = clock(each.start);
  end.textContent = clock(each.end);
  label.replaceChildren(chip(), labelOf(each), ...(each.marks || []).flatMap((text) => [" ", element("span", { className: "mark", textContent: text })]));
  const text = each.score.toFixed(2);
  if (score.firstChild.data !== text) {
    score.firstChild.data = text;
    score.querySelector("i").style.width = `${each.score * 100}%`;
  }
  paint(row, each.class);
}

function buildList() {
  const head = [element("th", { className: "unnamed", scope: "col" }, element("span", { className: "unseen", textContent: "Picture" }))];
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

/* Whether it is a segment now: a person took none of it away, and the thresholds still give it. */
const isThere = (each) => !each.removed && !each.absent;

function isShown(each) {
  return isThere(each) && each.score >= Number(byId("filter-score").value) && isNamed(labelOf(each));
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

/* Shows some segments anew, each in its place, without touching the others. */
function refreshSome(numbers) {
  order = ordered();
  const shown = new Set(order);
  for (const number of numbers) {
    const isGone = !isThere(segments[number]);
    if (!isGone) {
      showBar(number);
      showRow(number);
    }
    bars[number].hidden = !shown.has(number);
    if (!shown.has(number)) rows[number].remove();
  }
  const changed = new Set(numbers);
  for (let i = order.length - 1, next = null; i >= 0; i--) {
    const row = rows[order[i]];
    if (!row.isConnected || (changed.has(order[i]) && row.nextSibling !== next)) byId("rows").insertBefore(row, next);
    next = row;
  }
  sayCount();
}

const whenChanged = []; // what else shows the segments
const numKept = () => segments.reduce((sum, each) => sum + isThere(each), 0);

function sayCount() {
  const kept = numKept();
  const all = counted(kept, "segment", "segments");
  byId("count").textContent = kept ? (order.length === kept ? all : `${order.length} of ${all}`) : "";
  byId("list").querySelector("table").hidden = !order.length;
  byId("empty").hidden = order.length > 0;
  keepReachable();
  for (const show of whenChanged) show();
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
  makeReachable(bars[number]);
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
  const holding = segments.map((each) => isThere(each) && each.start <= time + 1e-4 && time < each.end);
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

/* Whether a key is for what it is pressed on: letters for fields of text, arrows for sliders. */
function isForField({ target, key }) {
  if (target.closest("input[type='range']")) return key.startsWith("Arrow");
  if (target.closest("input[type='checkbox']")) return key === " ";
  return Boolean(target.closest("input, select, summary"));
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const target = event.target;
  if (isForField(event)) {
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

/* How much was found, and what stands in the place of a list where nothing is. */
function sayFound() {
  const there = segments.filter(isThere);
  const used = new Set(there.map((each) => each.class)).size;
  const found = there.length
    ? `${counted(there.length, "segment", "segments")} of ${counted(used, "class", "classes")}`
    : "nothing found";
  byId("summary").textContent = [found, clock(data.end - data.start), data.model].join(" \u00b7 ");
  byId("filters").hidden = !there.length;
  byId("keys").hidden = !there.length;
  if (there.length) {
    const all = element("button", { type: "button", textContent: "Show all", onclick: clearFilters });
    const text = "Nothing has this label and a score this high. ";
    byId("empty").replaceChildren(element("strong", { textContent: "No segment matches" }), text, element("div", {}, all));
    return;
  }
  const highest = new Set(limited().map((each) => Math.max(...each.thresholds)));
  let reached = limited().length ? "reached its threshold" : "scored high enough";
  if (highest.size === 1) reached = `reached ${[...highest][0].toFixed(2)}`;
  const where = data.windows ? ` in any of ${counted(data.windows, data.unit, `${data.unit}s`)}` : "";
  byId("empty").replaceChildren(element("strong", { textContent: "Nothing found" }), `No class ${reached}${where}.`);
}

function sayState() {
  if (data.status === "error") {
    byId("summary").textContent = data.model;
    byId("banner").textContent = `This video could not be analysed: ${data.error}`;
    for (const id of ["found", "timeline", "keys", "correct"]) byId(id).hidden = true;
    byId("main").classList.add("no-player");
  } else {
    sayFound();
    if (data.gaps.length) {
      const lost = data.gaps.reduce((sum, gap) => sum + gap.end - gap.start, 0);
      byId("banner").textContent = `${counted(data.gaps.length, "part", "parts")} of this video (${lost.toFixed(2)} s) could not be read; nothing is known about what happens there.`;
    }
  }
  byId("banner").hidden = !byId("banner").textContent;
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
byId("timeline").hidden ||= !classes.length && !data.gaps.length && data.thresholds?.lowest == null;
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
