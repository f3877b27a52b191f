/* Corrections: what a person makes of the segments. The browser keeps every step of it, until it is saved as a results
   file. It goes on from detection_page.js. */

const machine = segments.map((_, number) => stateOf(number));
const done = []; // steps: the number of a segment, its state before (null: there was none) and after
const undone = [];
const keyOf = (row) => `tada corrections ${row.run} ${row.path}`;
const KEPT = keyOf(data.row);
let inTime = null;
let isKept = true;

function stateOf(number) {
  const { start, end, checked, removed } = segments[number];
  return { start, end, label: labelOf(segments[number]), checked: Boolean(checked), removed: Boolean(removed) };
}

const isSpan = (a, b) => a.start === b.start && a.end === b.end && a.label === b.label;
const isSame = (a, b) => isSpan(a, b) && a.checked === b.checked && a.removed === b.removed;

function originOf(number) {
  if (number >= machine.length) return "added";
  return isSpan(machine[number], stateOf(number)) ? "machine" : "corrected";
}

// --- changing a segment ------------------------------------------------------------------------

/* The class of a label; one that is not there yet gets a lane. */
function classOf(label) {
  const known = classes.findIndex((each) => each.label === label);
  if (known >= 0) return known;
  const ofModel = data.labels.indexOf(label);
  const above = Math.max(data.labels.length, ...classes.map((each) => each.index + 1));
  classes.push({ index: ofModel >= 0 ? ofModel : above, label, thresholds: [] });
  const made = laneOf(classes.length - 1);
  lanes.push(made);
  byId("lanes").append(made);
  made.hidden = !isNamed(label);
  return classes.length - 1;
}

/* Gives a segment another state, or makes it, and shows that. */
function put(number, state) {
  const place = classOf(state.label);
  if (number === segments.length) {
    segments.push({ score: 1, peak: null });
    Object.assign(segments[number], state, { class: place });
    barOf(number);
    rowOf(segments[number], number);
  }
  const each = Object.assign(segments[number], { ...state, class: place });
  paint(bars[number], place);
  const track = lanes[place].querySelector(".track");
  if (bars[number].parentNode !== track) track.append(bars[number]);
  const origin = originOf(number);
  each.marks = [...(origin === "machine" ? [] : [origin]), ...(each.checked ? ["checked"] : [])];
  refreshOne(number);
}

/* The state with ends in the video, and at least one frame between them; `side` is the end that moves. */
function bounded(state, side) {
  const step = (time, by) => (grid ? timeOfFrame(Math.min(Math.max(frameAt(time) + by, 0), numTimes)) : time + by / 25);
  const start = snap(state.start);
  const end = snap(state.end);
  if (end > start) return { ...state, start, end };
  if (side === "start") return { ...state, start: microseconds(Math.max(step(end, -1), data.start)), end };
  return { ...state, start, end: microseconds(Math.min(step(start, 1), data.end)) };
}

/* Makes a step of it that can be undone. */
function record(number, after) {
  const before = number < segments.length ? stateOf(number) : null;
  if (before && isSame(before, after)) return;
  put(number, after);
  done.push({ number, before, after });
  undone.length = 0;
  keep();
  current = "";
  follow();
}

const change = (changes) => chosen >= 0 && record(chosen, { ...stateOf(chosen), ...changes });

function moveBack() {
  const step = done.pop();
  if (!step) return;
  undone.push(step);
  put(step.number, step.before || { ...step.after, removed: true });
  afterMove(step.number);
}

function moveOn() {
  const step = undone.pop();
  if (!step) return;
  done.push(step);
  put(step.number, step.after);
  afterMove(step.number);
}

function afterMove(number) {
  keep();
  current = "";
  if (segments[number].removed) leave();
  else choose(number);
}

function leave() {
  chosen = -1;
  onChosen();
  current = "";
  follow();
}

function remove() {
  if (chosen < 0) return;
  const at = order.indexOf(chosen);
  const next = order[at + 1] ?? order[at - 1] ?? -1;
  change({ removed: true });
  if (next >= 0) choose(next);
  else leave();
}

// --- new segments ------------------------------------------------------------------------------

function markIn() {
  inTime = frameTime(now());
  byId("in-mark").style.left = percent(inTime);
  byId("in-mark").hidden = false;
  byId("mark-out").disabled = false;
  say(`A new segment begins at ${clock(inTime)}; go to its end, and press O.`);
}

function markOut() {
  if (inTime === null) return say("Mark first where it begins: I.");
  const end = frameTime(now());
  if (end <= inTime) return say(`It begins at ${clock(inTime)}; go to a later frame.`);
  const label = chosen >= 0 ? labelOf(segments[chosen]) : (classes[0]?.label ?? data.labels[0] ?? "new label");
  const number = segments.length;
  record(number, bounded({ start: inTime, end, label, checked: true, removed: false }, "end"));
  inTime = null;
  byId("in-mark").hidden = true;
  byId("mark-out").disabled = true;
  choose(number);
  byId("new-label").focus();
  byId("new-label").select();
}

// --- dragging ----------------------------------------------------------------------------------

const handles = ["start", "end"].map((side) => {
  const handle = element("span", { className: `handle ${side}`, onclick: (event) => event.stopPropagation() });
  handle.setAttribute("aria-hidden", "true");
  handle.addEventListener("pointerdown", (event) => drag(event, handle, side));
  return handle;
});

function drag(event, handle, side) {
  if (event.button) return;
  event.preventDefault();
  event.stopPropagation();
  const number = chosen;
  const before = stateOf(number);
  const move = ({ clientX }) => {
    const box = byId("axis").getBoundingClientRect();
    const time = snap(data.start + ((clientX - box.left) / box.width) * length);
    const state = bounded({ ...before, [side]: side === "start" ? Math.min(time, before.end) : Math.max(time, before.start) }, side);
    put(number, state);
    fill();
    // Of the end, the last frame of the segment is looked at.
    seek(side === "start" || !grid ? state[side] : timeOfFrame(Math.max(frameAt(state.end) - 1, 0)));
  };
  const end = ({ type, key }) => {
    if (type === "keydown" && key !== "Escape") return;
    for (const name of ["pointermove", "pointerup", "pointercancel", "keydown"]) removeEventListener(name, name === "pointermove" ? move : end);
    const after = stateOf(number);
    put(number, before);
    if (type === "pointerup") record(number, after);
    fill();
  };
  addEventListener("pointermove", move);
  for (const name of ["pointerup", "pointercancel", "keydown"]) addEventListener(name, end);
}

// --- the form ----------------------------------------------------------------------------------

const isCorrecting = () => !byId("correcting").hidden;
const say = (text) => (byId("correcting-state").textContent = text);

function fill() {
  const each = segments[chosen];
  byId("chosen-fields").disabled = !each;
  byId("new-label").value = each ? labelOf(each) : "";
  byId("new-start").value = each ? clock(each.start, 3) : "";
  byId("new-end").value = each ? clock(each.end, 3) : "";
  byId("new-checked").checked = Boolean(each?.checked);
  if (each && isCorrecting()) bars[chosen].append(...handles);
  else for (const handle of handles) handle.remove();
}

/* Seconds of "75.5", "1:15.5" or "0:01:15.5"; NaN of anything else. */
function secondsOf(text) {
  const match = /^(?:(?:(\d+):)?([0-5]?\d):)?(\d+(?:\.\d*)?)$/.exec(text.trim());
  return match ? Number(match[1] || 0) * 3600 + Number(match[2] || 0) * 60 + Number(match[3]) : NaN;
}

function typed(side) {
  const time = secondsOf(byId(`new-${side}`).value);
  if (chosen < 0) return;
  if (Number.isNaN(time)) say("Write times as 75.5 or 1:15.5.");
  else if (side === "start" ? time >= segments[chosen].end : time <= segments[chosen].start) say("A segment ends after it starts.");
  else change(bounded({ ...stateOf(chosen), [side]: time }, side));
  fill();
}

function here(side) {
  if (chosen < 0) return say("Choose a segment first.");
  const time = frameTime(now());
  if (side === "start" ? time >= segments[chosen].end : time <= segments[chosen].start) return say("A segment ends after it starts.");
  change({ [side]: time });
  return fill();
}

function relabel() {
  const label = byId("new-label").value.trim();
  if (label) change({ label });
  fill();
}

function sayCorrections() {
  const origins = { corrected: 0, added: 0, removed: 0, checked: 0 };
  segments.forEach((each, number) => {
    const origin = originOf(number);
    if (each.removed) origins.removed += number < machine.length;
    else {
      if (origin !== "machine") origins[origin] += 1;
      origins.checked += Boolean(each.checked);
    }
  });
  const parts = ["corrected", "added", "removed"].filter((name) => origins[name]).map((name) => `${origins[name]} ${name}`);
  parts.push(`${origins.checked} of ${numKept()} checked`);
  say(parts.join(", ") + (done.length && !isKept ? ". This browser keeps nothing of this page: save before you close it." : "."));
  byId("undo").disabled = byId("discard").disabled = !done.length;
  byId("redo").disabled = !undone.length;
}

function setCorrecting(isOn) {
  byId("correcting").hidden = !isOn;
  byId("correct").setAttribute("aria-pressed", isOn);
  document.body.classList.toggle("is-correcting", isOn);
  if (isOn) byId("timeline").hidden = false;
  if (isOn && !grid) say("The times of the frames are not known here: ends do not snap to frames.");
  fill();
  drawAxis();
}

// --- keeping and saving ------------------------------------------------------------------------

function keep() {
  try {
    if (done.length || undone.length) localStorage.setItem(KEPT, JSON.stringify({ done, undone }));
    else localStorage.removeItem(KEPT);
    isKept = true;
  } catch {
    isKept = false;
  }
  sayCorrections();
}

function isState(state, video) {
  const { start, end, label, checked, removed } = state ?? {};
  const inside = [start, end].every((time) => Number.isFinite(time) && time >= video.start - 1 && time <= video.end + 1);
  return inside && start <= end && typeof label === "string" && label !== "" && [checked, removed].every((each) => typeof each === "boolean");
}

/* The steps that the browser kept of a video; none where they are damaged. */
function keptOf(video) {
  const nothing = { done: [], undone: [] };
  let found;
  try {
    found = JSON.parse(localStorage.getItem(keyOf(video.row)) ?? "null");
  } catch {
    return nothing;
  }
  const [made, takenBack] = [found?.done, found?.undone];
  if (!Array.isArray(made) || !Array.isArray(takenBack)) return nothing;
  let count = video.segments.length;
  for (const step of [...made, ...takenBack.toReversed()]) {
    const { number, before, after } = step ?? {};
    const isThere = Number.isInteger(number) && number >= 0 && number <= count && isState(after, video);
    if (!isThere || (number < count ? !isState(before, video) && before !== null : before !== null)) return nothing;
    count = Math.max(count, number + 1);
  }
  return { done: made, undone: takenBack };
}

/* Takes up what the browser kept of this video. */
function takeUp() {
  const kept = keptOf(data);
  for (const step of kept.done) {
    put(step.number, step.after);
    done.push(step);
  }
  undone.push(...kept.undone);
  if (done.length) setCorrecting(true);
  sayCorrections();
}

function discard() {
  if (!confirm("Discard all corrections of this page?")) return;
  while (done.length) {
    const { number, before, after } = done.pop();
    put(number, before || { ...after, removed: true });
  }
  undone.length = 0;
  keep();
  leave();
}

/* The segments of a video after so many steps, as the results file says them; `indices` are those of all labels. */
function correctedRow({ row, segments: found, classes: known }, steps, indices) {
  const states = found.map(({ start, end, class: number }) => ({ start, end, label: known[number].label, checked: false, removed: false }));
  for (const { number, after } of steps) states[number] = after;
  const kept = [];
  const removed = [];
  states.forEach(({ start, end, label, checked, removed: isRemoved }, number) => {
    const was = row.segments[number];
    if (isRemoved) {
      if (was) removed.push(was);
      return;
    }
    if (!indices.has(label)) indices.set(label, Math.max(-1, ...indices.values()) + 1);
    const isSame = was && was.start_seconds === start && was.end_seconds === end && was.label === label;
    const others = was && was.label === label ? was : { score: was ? was.score : 1 };
    const origin = isSame ? "machine" : was ? "corrected" : "added";
    kept.push({ ...others, start_seconds: start, end_seconds: end, label, index: indices.get(label), origin, checked });
  });
  kept.sort((a, b) => a.start_seconds - b.start_seconds || a.end_seconds - b.end_seconds);
  return { ...row, segments: kept, removed };
}

/* All videos of the page that could be read, with what is corrected in each. */
function correctedRows() {
  const read = [...videos].map((each) => JSON.parse(each.textContent));
  const indices = new Map(data.labels.map((label, i) => [label, i]));
  for (const video of read) for (const { label, index } of video.classes) indices.set(label, index);
  const steps = (video, i) => (i + 1 === shownVideo ? done : keptOf(video).done);
  return read.map((video, i) => (video.status === "error" ? null : correctedRow(video, steps(video, i), indices))).filter(Boolean);
}

function save() {
  const text = JSON.stringify({ results: correctedRows() }, null, 1) + "\n";
  const link = element("a", { href: URL.createObjectURL(new Blob([text], { type: "application/json" })) });
  link.download = `${(videos.length > 1 ? document.title : data.title).replace(/\.\w{1,5}$/, "")}.corrected.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  say(`Saved as ${link.download}, where this browser puts downloads.`);
}

// --- keys and buttons --------------------------------------------------------------------------

function onCorrectingKey(event) {
  const isTyping = event.target.closest("input, select, summary");
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  let act;
  if (event.ctrlKey || event.metaKey) {
    if (!isCorrecting() || event.altKey) return;
    // In a field, the browser undoes what is typed there.
    act = { s: save, ...(isTyping ? {} : { z: event.shiftKey ? moveOn : moveBack, y: moveOn }) }[key];
  } else if (!event.altKey && !isTyping) {
    const always = { e: () => setCorrecting(!isCorrecting()) };
    const whileCorrecting = {
      i: markIn,
      o: markOut,
      "[": () => here("start"),
      "]": () => here("end"),
      c: () => chosen >= 0 && change({ checked: !segments[chosen].checked }),
      Delete: remove,
      Backspace: remove,
    };
    act = (isCorrecting() ? { ...always, ...whileCorrecting } : always)[key];
  }
  if (!act) return;
  event.preventDefault();
  act();
  fill();
}

if (data.status !== "error") {
  onChosen = fill;
  byId("known-labels").append(...[...new Set([...data.labels, ...classes.map((each) => each.label)])].map((value) => element("option", { value })));
  byId("correct").onclick = () => setCorrecting(!isCorrecting());
  byId("mark-in").onclick = markIn;
  byId("mark-out").onclick = markOut;
  byId("undo").onclick = moveBack;
  byId("redo").onclick = moveOn;
  byId("discard").onclick = discard;
  byId("save").onclick = save;
  byId("remove").onclick = remove;
  byId("start-here").onclick = () => here("start");
  byId("end-here").onclick = () => here("end");
  byId("new-label").onchange = relabel;
  byId("new-start").onchange = () => typed("start");
  byId("new-end").onchange = () => typed("end");
  byId("new-checked").onchange = () => change({ checked: byId("new-checked").checked });
  byId("correcting").addEventListener("submit", (event) => event.preventDefault());
  addEventListener("keydown", onCorrectingKey);
  sayCorrections();
  takeUp();
}
