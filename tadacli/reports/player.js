/* The first half of the page's script: its data, and the player. It goes on from page.js. */

const { segments, classes } = data;
const length = Math.max(data.end - data.start, 1e-3);
const player = byId("player");
const media = document.querySelectorAll("script.media")[shownVideo - 1];
const hasVideo = Boolean(data.video.url || media.dataset.type);

const span = (each) => `${clock(each.start)} \u2013 ${clock(each.end)}`;
const percent = (seconds) => `${((seconds - data.start) / length) * 100}%`;
const chip = () => element("span", { className: "chip" });
const labelOf = (segment) => classes[segment.class].label;

/* A class has the same colour on every page: a golden section of the circle on from its neighbour. */
function paint(node, number) {
  const index = classes[number].index;
  const hue = (25 + index * 137.508) % 360;
  const shade = [0, -0.09, 0.08][Math.floor(index / 8) % 3];
  node.style.setProperty("--colour", `oklch(calc(var(--class-light) + ${shade}) var(--class-chroma) ${hue})`);
  return node;
}

// --- the player --------------------------------------------------------------------------------

/* Browsers differ on a video that does not begin at 0: some keep its own times, some count from its first
   frame. `offset` is presentation time minus the player's; the first frame that is shown tells. */
let offset = 0;
let settled = !hasVideo;
let wanted = null;
let cursor = data.start;

const now = () => (hasVideo && wanted === null ? player.currentTime + offset : cursor);

function settle(found) {
  if (settled) return;
  offset = Math.abs(found) < 1e-3 ? 0 : found;
  settled = true;
  if (wanted !== null) seek(wanted);
  follow();
}

function seek(seconds) {
  cursor = Math.min(Math.max(seconds, data.start), data.end);
  wanted = settled ? null : cursor;
  // A little inside the frame, lest rounding shows the one before.
  if (hasVideo && settled) show(Math.max(0, cursor - offset + 0.0005));
  follow();
}

/* Some browsers take a video that begins late for a shorter one until all of it is read, and stop a seek at that end. */
let cut = null;

function show(target) {
  player.currentTime = target;
  const stood = player.currentTime;
  cut = stood < target - 1e-3 ? { target, stood } : null;
}

function showAgain() {
  if (cut && player.paused && player.currentTime === cut.stood) show(cut.target);
  follow();
}

function cannotPlay() {
  const codec = data.video.codec ? ` (${data.video.codec})` : "";
  const file = data.video.url ? `, or the file is no longer where this page expects it: ${data.video.name}` : "";
  notice(`This browser cannot play the video: it may not know its codec${codec}${file}. The times on this page are still right.`);
}

/* Plays a segment once more, or stops, when its end is passed. */
let passed = 0;
function atEnd(segment) {
  const time = now();
  const isPast = passed < segment.end && time >= segment.end;
  passed = time;
  if (!isPast || player.paused || player.seeking) return;
  const way = byId("at-end").value;
  if (way === "on") return;
  if (way === "stop") player.pause();
  seek(way === "loop" ? segment.start : segment.end);
  passed = now();
}

function notice(text) {
  byId("player-notice").textContent = text;
  byId("player-notice").hidden = false;
  byId("stage").classList.add("unplayable");
}

// --- frames ------------------------------------------------------------------------------------

const grid = data.frames;
const microseconds = (seconds) => Math.round(seconds * 1e6) / 1e6;
const numTimes = grid ? (grid.times.length || Math.round((data.end - grid.start) / grid.step)) : 0;
const timeOfFrame = (i) => (i >= numTimes ? data.end : grid.times.length ? grid.times[i] : grid.start + i * grid.step);

/* The number of the frame that is shown at a time; a seek goes a little inside a frame. */
function frameAt(seconds) {
  const inside = seconds + 1e-4;
  if (!grid.times.length) return Math.min(Math.max(Math.floor((inside - grid.start) / grid.step), 0), numTimes);
  let [low, high] = [0, numTimes];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (grid.times[middle] <= inside) low = middle;
    else high = middle;
  }
  return inside >= data.end ? numTimes : low;
}

/* The time at which the frame shown began; of a video without known frames, the time itself. */
function frameTime(seconds) {
  return microseconds(grid ? timeOfFrame(frameAt(seconds)) : seconds);
}

/* The nearest time at which a frame begins, or the end of the video. */
function snap(seconds) {
  const time = Math.min(Math.max(seconds, data.start), data.end);
  if (!grid) return microseconds(time);
  const before = frameAt(time);
  const [low, high] = [timeOfFrame(before), timeOfFrame(before + 1)];
  return microseconds(time - low <= high - time ? low : high);
}

function stepFrames(by) {
  if (hasVideo) player.pause();
  const time = now();
  seek(grid ? timeOfFrame(Math.min(Math.max(frameAt(time) + by, 0), Math.max(numTimes - 1, 0))) : time + by / 25);
}

function blobOf(media) {
  const bytes = Uint8Array.from(atob(media.textContent), (letter) => letter.charCodeAt(0));
  return new Blob([bytes], { type: media.dataset.type });
}

function startPlayer() {
  if (!hasVideo) {
    player.hidden = true;
    byId("main").classList.add("no-player");
    byId("stage").hidden = data.status === "error";
    notice("There is no video file to play here; the times are those of its frames.");
    byId("player-notice").className = "quiet";
    return;
  }
  if (player.requestVideoFrameCallback) {
    player.requestVideoFrameCallback((_, frame) => settle(player.paused ? data.start - frame.mediaTime : 0));
  }
  player.addEventListener("loadedmetadata", () => {
    if (player.videoWidth === 0) cannotPlay();
    setTimeout(() => settle(0), 1000);
  });
  player.addEventListener("error", () => {
    cannotPlay();
    settle(0);
  });
  player.addEventListener("durationchange", showAgain);
  player.addEventListener("seeking", () => (passed = now())); // a jump over an end passes no end
  for (const event of ["timeupdate", "seeking", "seeked", "pause"]) player.addEventListener(event, follow);
  player.addEventListener("play", function frame() {
    follow();
    if (!player.paused) requestAnimationFrame(frame);
  });
  byId("controls").hidden = false;
  byId("speed").onchange = () => (player.playbackRate = Number(byId("speed").value));
  byId("frame-back").onclick = () => stepFrames(-1);
  byId("frame-on").onclick = () => stepFrames(1);
  player.src = data.video.url || URL.createObjectURL(blobOf(media));
}
