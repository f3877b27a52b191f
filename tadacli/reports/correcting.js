/* Corrections by mouse and keys. The browser keeps every step, until all is saved as a results file. It goes on from
   detection_page.js and corrections.js. */

const scoresIn = (i) => {
  const text = document.querySelectorAll("script.scores")[i]?.textContent;
  let found;
  return () => (found ??= text && unpacked(JSON.parse(text))) || null;
};
const scores = scoresIn(shownVideo - 1);
const book = bookOf(data.row, scores);
const { entries, done, undone } = book;
const keyOf = (row) => `tada corrections ${row.run} ${row.path}`;
const KEPT = keyOf(data.row);
let inTime = null;
let isKept = true;

// --- changing a segment ------------------------------------------------------------------------

/* The class of a label, if need be of this index; one that is not there yet gets a lane. */
function classOf(label, index) {
  const known = classes.findIndex((each) => each.label === label && (index === undefined || each.index === index));
  if (known >= 0) return known;
  const ofModel = data.labels.indexOf(label);
  const above = Math.max(data.labels.length, ...classes.map((each) => each.index + 1));
  classes.push({ index: index ?? (ofModel >= 0 ? ofModel : above), label, thresholds: [] });
  addCurves(classes.length - 1);
  const made = laneOf(classes.length - 1);
  lanes.push(made);
  byId("lanes").append(made);
  made.hidden = !isNamed(label);
  return classes.length - 1;
}

/* Gives a segment the state, or another one than the book has, where it is to be shown. */
function put(number, state = entries[number].state) {
  const { row, original, isPresent } = entries[number];
  const isAbsent = row !== null && !isPresent && isSame(state, original);
  segments[number] ??= {};
  const each = segments[number];
  const place = classOf(state.label, row?.label === state.label ? row.index : undefined);
  Object.assign(each, state, { class: place, score: row?.score ?? 1, peak: row?.peak_score ?? null, absent: isAbsent });
  if (!bars[number]) {
    barOf(number);
    rowOf(each, number);
  }
  if (isAbsent) return bars[number].remove();
  wantPicture(number);
  const origin = originOf({ row, state, original });
  each.marks = [...(origin === "machine" ? [] : [origin]), ...(each.checked ? ["checked"] : [])];
  paint(bars[number], place);
  const track = lanes[place].querySelector(".track");
  if (bars[number].parentNode !== track) track.append(bars[number]);
}

/* Shows what became of some entries. */
function showEntries(numbers) {
  const each = [...new Set(numbers)].sort((a, b) => a - b);
  each.forEach((number) => put(number));
  refreshSome(each);
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

/* Makes a step of it that can be undone; the number of the segment, null: a new one. */
function record(number, after) {
  if (number !== null && isSame(entries[number].state, after)) return number;
  const step = stepOf(book, number, after);
  const changed = take(book, step);
  done.push(step);
  undone.length = 0;
  showEntries(changed);
  keep();
  current = "";
  follow();
  return changed[0];
}

const change = (changes) => chosen >= 0 && record(chosen, { ...entries[chosen].state, ...changes });

function moveBack() {
  const step = done.pop();
  if (!step) return;
  undone.push(step);
  afterMove(takeBack(book, step), step);
}

function moveOn() {
  const step = undone.pop();
  if (!step) return;
  done.push(step);
  afterMove(take(book, step), step);
}

function afterMove(changed, step) {
  showEntries(changed);
  keep();
  current = "";
  if (step.thresholds) afterThresholds();
  else if (isThere(segments[changed[0]])) choose(changed[0]);
  else leave();
}

/* Leaves a segment that is no longer there. */
function afterThresholds() {
  if (chosen >= 0 && !isThere(segments[chosen])) leave();
  current = "";
  follow();
  sayFound();
  sayThresholds();
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
  const wasOnBar = document.activeElement === bars[chosen];
  change({ removed: true });
  if (next >= 0) choose(next);
  else leave();
  if (wasOnBar && next >= 0) bars[next].focus();
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
  const number = record(null, bounded({ start: inTime, end, label, checked: true, removed: false }, "end"));
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
  const before = entries[number].state;
  const move = ({ clientX }) => {
    const box = byId("axis").getBoundingClientRect();
    const time = snap(data.start + ((clientX - box.left) / box.width) * length);
    const state = bounded({ ...before, [side]: side === "start" ? Math.min(time, before.end) : Math.max(time, before.start) }, side);
    put(number, state);
    refreshSome([number]);
    fill();
    // Of the end, the last frame of the segment is looked at.
    seek(side === "start" || !grid ? state[side] : timeOfFrame(Math.max(frameAt(state.end) - 1, 0)));
  };
  const end = ({ type, key }) => {
    if (type === "keydown" && key !== "Escape") return;
    for (const name of ["pointermove", "pointerup", "pointercancel", "keydown"]) removeEventListener(name, name === "pointermove" ? move : end);
    const { start, end: until } = segments[number];
    showEntries([number]);
    if (type === "pointerup") record(number, { ...before, start, end: until });
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
  else change(bounded({ ...entries[chosen].state, [side]: time }, side));
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
  for (const entry of entries) {
    if (entry.state.removed) origins.removed += entry.row !== null;
    if (!isStanding(entry)) continue;
    const origin = originOf(entry);
    if (origin !== "machine") origins[origin] += 1;
    origins.checked += entry.state.checked;
  }
  const parts = ["corrected", "added", "removed"].filter((name) => origins[name]).map((name) => `${origins[name]} ${name}`);
  parts.push(`${origins.checked} of ${numKept()} checked`);
  if (book.thresholds) parts.push(`the others made again at ${book.thresholds.threshold.toFixed(2)}`);
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

/* Takes up what the browser kept of this video. */
function takeUp() {
  takeUpSteps(book, keptText(KEPT), data);
  const asFound = (number) => number < segments.length && entries[number].isPresent && !isTouched(entries[number]);
  showEntries([...entries.keys()].filter((number) => !asFound(number)));
  if (done.some((step) => !step.thresholds)) setCorrecting(true);
  if (book.thresholds) afterThresholds();
  sayCorrections();
}

function keptText(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null; // some viewers keep nothing
  }
}

function discard() {
  if (!confirm("Discard all corrections of this page?")) return;
  const changed = [];
  while (done.length) changed.push(...takeBack(book, done.pop()));
  showEntries(changed);
  undone.length = 0;
  keep();
  leave();
  afterThresholds();
}

/* All videos of the page that could be read, with what is corrected in each. */
function correctedRows() {
  const read = [...videos].map((each) => JSON.parse(each.textContent));
  const indices = new Map(data.labels.map((label, i) => [label, i]));
  for (const video of read) for (const { label, index } of video.classes) indices.set(label, index);
  const books = read.map((video, i) => {
    if (i + 1 === shownVideo) return book;
    const other = bookOf(video.row, scoresIn(i));
    takeUpSteps(other, keptText(keyOf(video.row)), video);
    return other;
  });
  return read.map(({ status, row }, i) => (status === "error" ? null : correctedRow(row, books[i], indices))).filter(Boolean);
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
  const isTyping = isForField(event);
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
      c: () => chosen >= 0 && change({ checked: !entries[chosen].state.checked }),
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
  startThresholds();
  startAgreement();
  sayCorrections();
  takeUp();
  segments.forEach((_, number) => wantPicture(number));
}
