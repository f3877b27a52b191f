/* Pictures of segments that the page came without: those that were made or moved on it, and of many the less likely.
   They are drawn from the page's video where it can be played, when their rows are in sight. It goes on from
   detection_page.js. */

const PICTURE = { width: 168, height: 96 };
const MOST_PICTURES = 300; // drawn ones that are kept
const SLOW_MILLISECONDS = 8000;

const middleOf = (each) => (each.start + each.end) / 2;
/* Of which moment a segment has a picture, by number. */
const pictured = new Map(segments.map((each, number) => [number, number in data.thumbnails ? middleOf(each) : null]));
const drawnRows = [];
const waiting = new Set();
let drawer = null;
let isDrawing = false;
let isUnplayable = !hasVideo;

const whenSeen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    const number = Number(target.closest("tr")?.dataset.number);
    if (!isIntersecting) waiting.delete(number);
    else if (lacksPicture(number)) waiting.add(number);
  }
  drawNext();
});

const lacksPicture = (number) => segments[number] && Math.abs((pictured.get(number) ?? -1e9) - middleOf(segments[number])) > 1e-6;

function setPicture(number, made, moment) {
  const button = rows[number].querySelector(".seek");
  button.replaceChildren(made);
  pictured.set(number, moment);
}

/* Says that a segment is new, or lies elsewhere: it gets a picture of its own. */
function wantPicture(number) {
  if (!lacksPicture(number)) return waiting.delete(number);
  const button = rows[number].querySelector(".seek");
  if (isUnplayable) return setPicture(number, noPicture(), middleOf(segments[number]));
  whenSeen.unobserve(button); // and again, so that it is looked at anew
  whenSeen.observe(button);
}

const noPicture = () => element("span", { className: "blank", textContent: "no picture" });

function drawNext() {
  if (isDrawing || !waiting.size) return;
  const [number] = waiting;
  waiting.delete(number);
  if (!lacksPicture(number) || !rows[number].isConnected) return drawNext();
  isDrawing = true;
  drawAt(middleOf(segments[number]), (canvas) => {
    isDrawing = false;
    const moment = middleOf(segments[number]);
    if (isUnplayable || !canvas) setPicture(number, noPicture(), moment);
    else if (canvas.moment === moment) {
      setPicture(number, canvas, moment);
      drawnRows.push(number);
      if (drawnRows.length > MOST_PICTURES) forget(drawnRows.shift());
    } else waiting.add(number);
    if (isUnplayable) [...waiting].forEach(wantPicture);
    drawNext();
  });
}

function forget(number) {
  if (drawnRows.includes(number) || !rows[number].querySelector("canvas")) return;
  setPicture(number, element("span", { className: "blank", textContent: "\u25b6" }), null);
  whenSeen.unobserve(rows[number].querySelector(".seek"));
  whenSeen.observe(rows[number].querySelector(".seek"));
}

/* Calls `done` with the picture that is shown at a time, null where there is none. */
function drawAt(seconds, done) {
  if (!settled) return setTimeout(() => drawAt(seconds, done), 100); // it is not known yet how the player counts
  if (!drawer) {
    drawer = Object.assign(document.createElement("video"), { muted: true, playsInline: true, preload: "auto" });
    drawer.src = player.currentSrc || player.src;
  }
  let isOver = false;
  const end = (canvas) => {
    if (isOver) return;
    isOver = true;
    drawer.onseeked = drawer.onerror = null;
    clearTimeout(late);
    done(canvas);
  };
  const late = setTimeout(() => end(null), SLOW_MILLISECONDS);
  drawer.onerror = () => {
    isUnplayable = true;
    end(null);
  };
  drawer.onseeked = () => end(drawer.videoWidth ? canvasOf(seconds) : null);
  if (drawer.error) return drawer.onerror();
  // A little inside the frame, lest rounding shows the one before.
  drawer.currentTime = Math.max(0, seconds - offset + 0.0005);
}

function canvasOf(moment) {
  const canvas = Object.assign(element("canvas", PICTURE), { moment });
  const { videoWidth: width, videoHeight: height } = drawer;
  // As much of it as fills the picture.
  const scale = Math.max(PICTURE.width / width, PICTURE.height / height);
  const [left, top] = [PICTURE.width - width * scale, PICTURE.height - height * scale].map((room) => room / 2);
  canvas.getContext("2d").drawImage(drawer, left, top, width * scale, height * scale);
  return canvas;
}
