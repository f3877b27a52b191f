/* A player for the span of one item, over the page. It goes on from page.js. */

const clip = byId("clip");
const clipPlayer = byId("clip-player");
const insideMedia = document.querySelectorAll("script.media");
let clipSpan = null; // the player's own times, once they are known
let clipAddress = "";
let numOpened = 0;

function mediaBlob(media) {
  const bytes = Uint8Array.from(atob(media.textContent), (letter) => letter.charCodeAt(0));
  return new Blob([bytes], { type: media.dataset.type });
}

/* Why a video cannot be played; nothing where the page has it or knows where it is. */
const whyNoClip = (number) => (number < 0 ? "no video file was found" : data.videos[number].reason);

function sayOfClip(text) {
  byId("clip-notice").textContent = text;
  byId("clip-notice").hidden = !text;
}

/* Opens the player on a span of a video, whose times are seconds from its first frame; null is its start or end. */
function openClip(number, { title, words, start, end }) {
  const video = data.videos[number];
  const cannot = () => {
    const codec = video.codec ? ` (${video.codec})` : "";
    const file = video.inside === null ? `, or the file is no longer where this page expects it: ${video.path}` : "";
    sayOfClip(`This browser cannot play the video: it may not know its codec${codec}${file}.`);
  };
  byId("clip-title").textContent = title;
  byId("clip-words").textContent = words;
  byId("clip-span").textContent = start === null && end === null ? "" : `${start === null ? "" : clock(start)} \u2013 ${end === null ? "" : clock(end)}`;
  sayOfClip("");
  clipSpan = null;
  const opened = ++numOpened;
  // Some browsers keep the times of a video that begins late, others count from its first frame, which tells.
  const settle = (first) => {
    if (clipSpan || opened !== numOpened || !clip.open) return;
    const isWhole = start === null && end === null;
    // A little inside the frame, lest rounding shows the one before.
    clipSpan = [isWhole ? 0 : first + (start ?? 0) + 0.0005, end === null ? Infinity : first + end];
    playSpan();
  };
  clipPlayer.onloadedmetadata = () => {
    if (clipPlayer.videoWidth === 0) return cannot();
    setTimeout(() => settle(0), 1000);
  };
  clipPlayer.onerror = cannot;
  clipAddress = video.url || URL.createObjectURL(mediaBlob(insideMedia[video.inside]));
  clipPlayer.src = clipAddress;
  if (clipPlayer.requestVideoFrameCallback) clipPlayer.requestVideoFrameCallback((_, frame) => settle(frame.mediaTime));
  clip.showModal();
}

function playSpan() {
  clipPlayer.currentTime = clipSpan[0];
  clipPlayer.play().catch(() => {}); // a browser that plays nothing by itself has its controls
}

function atClipEnd() {
  if (!clipSpan || clipPlayer.paused || clipPlayer.seeking || clipPlayer.currentTime < clipSpan[1]) return;
  if (byId("clip-loop").checked) return playSpan();
  clipPlayer.pause();
  clipPlayer.currentTime = Math.max(clipSpan[1] - 0.001, clipSpan[0]);
}

function closeClip() {
  clipPlayer.onerror = clipPlayer.onloadedmetadata = null;
  clipPlayer.pause();
  clipPlayer.removeAttribute("src");
  clipPlayer.load();
  if (clipAddress.startsWith("blob:")) URL.revokeObjectURL(clipAddress);
  clipAddress = "";
}

byId("clip-close").onclick = () => clip.close();
byId("clip-again").onclick = () => clipSpan && playSpan();
clip.addEventListener("close", closeClip);
clip.addEventListener("click", ({ target, clientX: x, clientY: y }) => {
  const { left, right, top, bottom } = clip.getBoundingClientRect();
  if (target === clip && (x < left || x > right || y < top || y > bottom)) clip.close();
});
clipPlayer.addEventListener("ended", () => byId("clip-loop").checked && clipSpan && playSpan());
clipPlayer.addEventListener("timeupdate", atClipEnd);
clipPlayer.addEventListener("play", function frame() {
  atClipEnd();
  if (!clipPlayer.paused) requestAnimationFrame(frame);
});
