/* True segments over detections, a lane for each class of a video. It goes on from eval_parts.js. */

const KINDS = Object.keys(ERRORS);
const LANE_PIXELS = 9;
const MOST_LEVELS = 5;

/* Rows of `width` numbers as objects. */
function unpacked(numbers, names) {
  const found = [];
  for (let i = 0; i < numbers.length; i += names.length) found.push(Object.fromEntries(names.map((name, at) => [name, numbers[i + at]])));
  return found;
}

/* Puts segments that overlap below each other, as far as there is room; returns how many levels there are. */
function level(segments) {
  const ends = [];
  for (const each of segments) {
    let at = ends.findIndex((end) => end <= each.start);
    if (at < 0) at = Math.min(ends.length, MOST_LEVELS - 1);
    ends[at] = Math.max(ends[at] ?? -Infinity, each.end);
    each.level = at;
  }
  return Math.max(ends.length, 1);
}

/* The lanes of one video at a time; returns a function that shows a video by its id, null where there are none. */
function buildLanes(root, lanes) {
  root.hidden = !lanes?.videos.length;
  if (root.hidden) return null;
  const [select, sheet, told, play] = ["select", ".sheet", ".told", ".play-segment"].map((each) => root.querySelector(each));
  const [before, after] = [".video-before", ".video-after"].map((each) => root.querySelector(each));
  let zoom = 1;
  let chosen = null;

  function textOf(each) {
    const when = `${lanes.labels[each.class]}, ${clock(each.start)} \u2013 ${clock(each.end)}`;
    if (each.isTrue) return `True: ${when}, ${each.isFound ? "found" : "missed"}`;
    return `Detected: ${when}, score ${each.score.toFixed(3)}, ${KINDS[each.kind]}`;
  }

  function openSegment() {
    openClip(lanes.videos[select.selectedIndex].video, { title: lanes.videos[select.selectedIndex].id, words: textOf(chosen), start: Math.max(chosen.start, 0), end: chosen.end });
  }

  function choose(each) {
    chosen = each;
    const why = whyNoClip(lanes.videos[select.selectedIndex].video);
    told.textContent = each ? textOf(each) + (why ? `; no clip: ${why}` : "") : "Choose a segment to see what it is; arrow keys go from one to the next.";
    play.hidden = !each || Boolean(why);
  }

  function barOf(each, seconds) {
    const kind = each.isTrue ? (each.isFound ? "is-true" : "is-true is-missed") : `kind-${each.kind}`;
    const bar = element("button", { className: `bar ${kind}`, type: "button", tabIndex: -1, title: textOf(each) });
    bar.setAttribute("aria-label", textOf(each));
    const [start, end] = [each.start, each.end].map((time) => Math.min(Math.max(time / seconds, 0), 1));
    bar.style.left = `${start * 100}%`;
    bar.style.width = `${Math.max(end - start, 0) * 100}%`;
    bar.style.top = `${each.level * LANE_PIXELS + 2}px`;
    bar.onfocus = () => choose(each);
    bar.onclick = () => {
      reach(bar); // which chooses it
      if (!play.hidden) openSegment();
    };
    return bar;
  }

  function reach(bar) {
    for (const each of sheet.querySelectorAll('.bar[tabindex="0"]')) each.tabIndex = -1;
    bar.tabIndex = 0;
    bar.focus({ preventScroll: false });
  }

  function laneOf(number, truth, found, seconds) {
    const tracks = [truth, found].filter((each) => each.length).map((segments) => {
      const numLevels = level(segments);
      const track = element("div", { className: "track" }, ...segments.map((each) => barOf(each, seconds)));
      track.style.height = `${numLevels * LANE_PIXELS + 4}px`;
      return track;
    });
    return element("div", { className: "lane" }, element("div", { className: "lane-name", textContent: lanes.labels[number], title: lanes.labels[number] }), element("div", {}, ...tracks));
  }

  function axisOf(seconds) {
    const axis = element("div", { className: "axis" });
    const room = Math.max(sheet.clientWidth, 300) / 90;
    const step = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200].find((each) => seconds / each <= room) ?? 14400;
    for (let at = 0; at < seconds; at += step) {
      const mark = span("", clock(at, 0));
      mark.style.left = `${(at / seconds) * 100}%`;
      axis.append(mark);
    }
    return element("div", { className: "lane axis-row" }, element("div", { className: "lane-name" }), axis);
  }

  function show() {
    const video = lanes.videos[select.selectedIndex];
    const seconds = Math.max(video.seconds, 1e-3);
    const truth = unpacked(video.truth, ["class", "start", "end", "isFound"]).map((each) => ({ ...each, isTrue: true }));
    const found = unpacked(video.found, ["class", "start", "end", "score", "kind"]);
    const numbers = [...new Set([...truth, ...found].map((each) => each.class))].sort((a, b) => a - b);
    sheet.style.width = `${zoom * 100}%`;
    sheet.replaceChildren(axisOf(seconds), ...numbers.map((number) => laneOf(number, ...[truth, found].map((all) => all.filter((each) => each.class === number)), seconds)));
    const first = sheet.querySelector(".bar");
    if (first) first.tabIndex = 0;
    before.disabled = select.selectedIndex === 0;
    after.disabled = select.selectedIndex === lanes.videos.length - 1;
    root.querySelector(".zoom-out").disabled = root.querySelector(".zoom-fit").disabled = zoom === 1;
    choose(null);
  }

  function showNumber(number) {
    if (number < 0 || number >= lanes.videos.length) return;
    select.selectedIndex = number;
    show();
  }

  function setZoom(factor) {
    zoom = Math.min(Math.max(factor, 1), 64);
    show();
  }

  sheet.addEventListener("keydown", (event) => {
    const bars = [...sheet.querySelectorAll(".bar")];
    const at = bars.indexOf(event.target);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: bars.length - 1 }[event.key];
    if (at < 0 || to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    if (bars[to]) reach(bars[to]);
  });
  const many = lanes.multiple === 1 ? "as many as true segments" : `${lanes.multiple} times as many as true segments`;
  const left = lanes.num_left ? ` ${counted(lanes.num_left, "video", "videos")} with better results have no room on this page.` : "";
  const isLost = lanes.videos.every(({ video }) => video < 0);
  const lost = isLost ? " No video was found to play them in: tada eval --data-root FOLDER says where they are." : "";
  root.querySelector(".about").textContent = `Above: true segments, dashed if they were missed. Below: of each label the best-scored detections, ${many}; right at a temporal IoU of ${lanes.tiou}.${left}${lost}`;
  root.querySelector(".kinds").append(...KINDS.map((kind, number) => element("span", {}, span(`swatch kind-${number}`, ""), kind)));
  select.append(...lanes.videos.map(({ id }) => element("option", { textContent: id })));
  select.onchange = show;
  before.onclick = () => showNumber(select.selectedIndex - 1);
  after.onclick = () => showNumber(select.selectedIndex + 1);
  root.querySelector(".zoom-in").onclick = () => setZoom(zoom * 2);
  root.querySelector(".zoom-out").onclick = () => setZoom(zoom / 2);
  root.querySelector(".zoom-fit").onclick = () => setZoom(1);
  play.onclick = openSegment;
  show();
  return (id) => {
    const number = lanes.videos.findIndex((video) => video.id === id);
    if (number >= 0) showNumber(number);
    else told.textContent = `${id} has no room on this page.`;
    root.scrollIntoView({ block: "nearest" });
    select.focus({ preventScroll: true });
  };
}
