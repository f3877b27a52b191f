/* The second part of the page's script: the timeline with its lanes. It goes on from player.js. */

// --- the timeline ------------------------------------------------------------------------------

/* What people labelled, where a file of that was given. */
const truth = data.truth?.spans?.map(([start, end, label]) => ({ start, end, label })) ?? null;
const bars = [];
const lanes = [];
const limited = () => classes.filter((each) => each.thresholds.length);
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
  spanOfBar.set(bars[number], segments[number]);
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
  const lane = element("div", { className: "lane", role: "group", ariaLabel: label }, name, track);
  if (truth) lane.append(truthTrack(label));
  return paint(lane, number);
}

/* The strip below a lane, with what people labelled. */
function truthTrack(label) {
  const made = truth.filter((each) => each.label === label).map((each) => {
    const bar = element("button", { className: "bar", type: "button", tabIndex: -1, onclick: () => seek(each.start) });
    bar.title = `Truth: ${label}, ${span(each)}`;
    bar.setAttribute("aria-label", bar.title);
    bar.style.left = percent(each.start);
    bar.style.width = `${((each.end - each.start) / length) * 100}%`;
    spanOfBar.set(bar, each);
    return bar;
  });
  return element("div", { className: "track truth" }, ...made);
}

function buildLanes() {
  lanes.push(...[...classes.keys()].map(laneOf));
  byId("lanes").append(...lanes);
  byId("lanes").addEventListener("keydown", moveAmongBars);
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
  sayLegend();
}

function sayLegend() {
  const words = [];
  if (data.curves.length) words.push(data.lines);
  const drawn = new Set(limited().map((each) => each.thresholds.map((y) => y.toFixed(2)).join(" and ")));
  if (drawn.size) words.push(drawn.size === 1 ? `dashes the thresholds, ${[...drawn]}` : "dashes the thresholds of each class");
  if (truth) words.push(`strips below the segments are the truth of ${data.truth.name}`);
  if (data.gaps.length) words.push("hatched spans were not scored");
  if (data.cuts.length) words.push(`upright lines are ${counted(data.cuts.length, "cut", "cuts")}`);
  byId("legend").textContent = words.length ? words.join("; ") + "." : "";
}

/* Moves the dashes of a class to other thresholds. */
function drawThresholds(number) {
  const lines = lanes[number].querySelectorAll(".threshold");
  classes[number].thresholds.forEach((y, i) => {
    for (const end of ["y1", "y2"]) lines[i]?.setAttribute(end, 1 - y);
  });
}

// --- bars by keyboard --------------------------------------------------------------------------

/* Tab reaches one bar of all; arrow keys lead on from it: left and right in a lane, up and down to the next one. */
const spanOfBar = new WeakMap();
let reachable = null;

function makeReachable(bar) {
  if (reachable === bar) return;
  if (reachable) reachable.tabIndex = -1;
  reachable = bar;
  if (bar) bar.tabIndex = 0;
}

/* The one that Tab reaches is always one that is shown. */
function keepReachable() {
  if (reachable?.isConnected && !reachable.hidden && !reachable.closest("[hidden]")) return;
  makeReachable(bars[order[0]] ?? byId("lanes").querySelector(".lane:not([hidden]) .bar:not([hidden])"));
}

function moveAmongBars(event) {
  const bar = event.target.closest(".bar");
  if (!bar || event.ctrlKey || event.metaKey || event.altKey) return;
  const startOf = (each) => spanOfBar.get(each).start;
  const shown = (track) => [...track.querySelectorAll(".bar:not([hidden])")].sort((a, b) => startOf(a) - startOf(b));
  const own = shown(bar.parentNode);
  const tracks = [...byId("lanes").querySelectorAll(".lane:not([hidden]) .track")].filter((each) => shown(each).length);
  const distance = (each) => Math.abs(startOf(each) - startOf(bar));
  const nearest = (track) => track && shown(track).reduce((a, b) => (distance(b) < distance(a) ? b : a));
  const next = {
    ArrowLeft: () => own[own.indexOf(bar) - 1],
    ArrowRight: () => own[own.indexOf(bar) + 1],
    Home: () => own[0],
    End: () => own.at(-1),
    ArrowUp: () => nearest(tracks[tracks.indexOf(bar.parentNode) - 1]),
    ArrowDown: () => nearest(tracks[tracks.indexOf(bar.parentNode) + 1]),
  }[event.key];
  if (!next) return;
  event.preventDefault();
  event.stopPropagation();
  const reached = next();
  if (!reached) return;
  reached.click();
  makeReachable(reached);
  reached.focus();
}

// --- the axis ----------------------------------------------------------------------------------

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
