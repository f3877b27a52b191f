/* What the scripts of all pages build on: the page's data, and small helpers. */

const byId = (id) => document.getElementById(id);

/* A page of several videos has the data of each; its address says which one is shown. */
const videos = document.querySelectorAll("script.video");
const numberInAddress = () => Number(/[#&]v=(\d+)/.exec(location.hash)?.[1] ?? 1);
const shownVideo = Math.min(Math.max(numberInAddress(), 1), Math.max(videos.length, 1));
const data = JSON.parse((byId("data") ?? videos[shownVideo - 1]).textContent);

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function drawing(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function clock(seconds, digits = 2) {
  const unit = 10 ** digits;
  const ticks = Math.round(Math.abs(seconds) * unit);
  const whole = Math.floor(ticks / unit);
  const pad = (number, places) => String(number).padStart(places, "0");
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  const fraction = digits ? "." + pad(ticks % unit, digits) : "";
  const lead = hours ? `${hours}:${pad(minutes, 2)}` : minutes;
  return `${seconds < 0 && ticks ? "\u2212" : ""}${lead}:${pad(whole % 60, 2)}${fraction}`;
}

const grouped = (number) => number.toLocaleString("en-US");
const counted = (number, one, many) => `${grouped(number)} ${number === 1 ? one : many}`;
