/* What becomes of the segments of a video, step by step: corrections of a person, and other thresholds. Nothing here
   knows the page. It goes on from segment_rule.js. */

const isSpan = (a, b) => a.start === b.start && a.end === b.end && a.label === b.label;
const isSame = (a, b) => isSpan(a, b) && a.checked === b.checked && a.removed === b.removed;
const stateOfRow = ({ start_seconds: start, end_seconds: end, label }) => ({ start, end, label, checked: false, removed: false });

/* Segments of the machine, each with an id by which steps name it. */
function named(rows) {
  const counts = new Map();
  return rows.map((row) => {
    const place = `${row.index} ${row.start_seconds} ${row.end_seconds}`;
    counts.set(place, (counts.get(place) ?? 0) + 1);
    return { id: counts.get(place) > 1 ? `${place} ${counts.get(place)}` : place, row };
  });
}

/* A book has an entry for each segment that was found, was made again by other thresholds, or was added: what the
   machine made of it (`row`, null: a person added it), its state, and whether the thresholds give it. `made` is all that
   they give. A step either gives an entry another state ({ id, before, after }; `row` where it was made again), or sets
   other thresholds ({ thresholds: { before, after } }; null: those of the run). `scores` gives the scores, or null. */
function bookOf(row, scores) {
  const found = named(row.segments);
  const book = { found, scores, entries: [], numbers: new Map(), free: [], numAdded: 0, made: found, thresholds: null };
  Object.assign(book, { done: [], undone: [], presence: new WeakMap() });
  for (const each of found) book.entries[enter(book, each.id, each.row)].isPresent = true;
  return book;
}

/* Makes an entry, in the place of one that is no longer needed if there is one; its number. */
function enter(book, id, row) {
  const number = book.free.pop() ?? book.entries.length;
  if (book.entries[number]) book.numbers.delete(book.entries[number].id);
  const original = row && stateOfRow(row);
  book.entries[number] = { id, row, original, state: original, isPresent: false };
  book.numbers.set(id, number);
  return number;
}

const isTouched = ({ row, state, original }) => row === null || !isSame(state, original);
const isStanding = (entry) => !entry.state.removed && (isTouched(entry) || entry.isPresent);

function originOf({ row, state, original }) {
  if (row === null) return "added";
  return isSpan(state, original) ? "machine" : "corrected";
}

// --- thresholds --------------------------------------------------------------------------------

/* Whether a segment of the machine is about what a person decided: it overlaps one of theirs, or one that they changed
   or removed, under the same label. */
function isDecided({ row }, touched) {
  const own = stateOfRow(row);
  return touched.some(({ state, original }) =>
    [state.removed ? null : state, original].some(
      (each) => each && each.label === own.label && own.start < each.end && each.start < own.end,
    ),
  );
}

/* Makes the segments of the machine again; those of `ids`, or else those that nobody decided about, are there.
   The numbers of the entries that change. */
function setThresholds(book, thresholds, ids) {
  book.thresholds = thresholds;
  book.made = thresholds ? named(segmentsBy(book.scores(), thresholds)) : book.found;
  const touched = book.entries.filter(isTouched);
  const own = new Set(touched.map((each) => each.id));
  book.present = ids ?? new Set(book.made.filter((each) => own.has(each.id) || !isDecided(each, touched)).map((each) => each.id));
  const changed = [];
  const needed = new Set([...own, ...book.found.map((each) => each.id), ...[...book.done, ...book.undone].map((step) => step.id)]);
  book.free = [];
  book.entries.forEach((entry, number) => {
    if (entry.isPresent && !book.present.has(entry.id)) {
      entry.isPresent = false;
      changed.push(number);
    }
    if (!entry.isPresent && !needed.has(entry.id) && !book.present.has(entry.id)) book.free.push(number);
  });
  for (const { id, row } of book.made) {
    if (!book.present.has(id)) continue;
    const number = book.numbers.get(id) ?? enter(book, id, row);
    const entry = book.entries[number];
    if (entry.isPresent && entry.row.score === row.score && entry.row.peak_score === row.peak_score) continue;
    Object.assign(entry, { row, isPresent: true });
    changed.push(number);
  }
  return changed;
}

// --- steps -------------------------------------------------------------------------------------

/* Takes a step; the numbers of the entries that it changes. */
function take(book, step) {
  if (step.thresholds) {
    book.presence.set(step, book.present ?? null);
    return setThresholds(book, step.thresholds.after, null);
  }
  const number = book.numbers.get(step.id) ?? enter(book, step.id, step.row ?? null);
  book.entries[number].state = step.after;
  return [number];
}

/* Takes a step back, alike. */
function takeBack(book, step) {
  if (step.thresholds) {
    const ids = book.presence.get(step) ?? new Set(book.found.map((each) => each.id));
    return setThresholds(book, step.thresholds.before, ids);
  }
  const number = book.numbers.get(step.id);
  book.entries[number].state = step.before ?? { ...step.after, removed: true };
  return [number];
}

/* Sets other thresholds, null: those of the run; a series of that is one step. The numbers of the entries that change. */
function recordThresholds(book, after) {
  const last = book.done.at(-1)?.thresholds ? book.done.pop() : null;
  const before = last ? last.thresholds.before : book.thresholds;
  book.undone.length = 0;
  if (before?.threshold === after?.threshold && before?.low === after?.low) return last ? takeBack(book, last) : [];
  const step = { thresholds: { before, after } };
  book.presence.set(step, last ? book.presence.get(last) : (book.present ?? null));
  book.done.push(step);
  return setThresholds(book, after, null);
}

/* The step that gives an entry (by number, null: a new one) another state. */
function stepOf(book, number, after) {
  if (number === null) return { id: `+${++book.numAdded}`, before: null, after };
  const { id, row, state } = book.entries[number];
  return { id, before: state, after, ...(row && !book.found.some((each) => each.id === id) ? { row } : {}) };
}

// --- what is kept ------------------------------------------------------------------------------

function isState(state, video) {
  const { start, end, label, checked, removed } = state ?? {};
  const inside = [start, end].every((time) => Number.isFinite(time) && time >= video.start - 1 && time <= video.end + 1);
  return inside && start <= end && typeof label === "string" && label !== "" && [checked, removed].every((each) => typeof each === "boolean");
}

function isThresholds(each) {
  if (each === null) return true;
  const { threshold, low } = each ?? {};
  const isScore = (score) => typeof score === "number" && score >= 0 && score <= 1;
  return isScore(threshold) && (low === null || (isScore(low) && low <= threshold));
}

function isStep(step, video) {
  if (step?.thresholds) return isThresholds(step.thresholds.before) && isThresholds(step.thresholds.after);
  const { id, row, before, after } = step ?? {};
  const isRow = row === undefined || (Number.isInteger(row?.index) && Number.isFinite(row.score) && isState(stateOfRow(row), video));
  return typeof id === "string" && isRow && isState(after, video) && (before === null || isState(before, video));
}

/* Takes up the steps that were kept of a video in JSON; false, and nothing is taken, where they are damaged. */
function takeUpSteps(book, text, video) {
  let kept;
  try {
    kept = JSON.parse(text ?? "null");
  } catch {
    return false;
  }
  if (![kept?.done, kept?.undone].every((each) => Array.isArray(each) && each.every((step) => isStep(step, video)))) return false;
  const known = new Set(book.numbers.keys());
  for (const step of [...kept.done, ...kept.undone.toReversed()]) {
    if (step.thresholds) continue;
    if (step.before !== null && !step.row && !known.has(step.id)) return false;
    known.add(step.id);
    const added = /^\+(\d+)$/.exec(step.id);
    if (added) book.numAdded = Math.max(book.numAdded, Number(added[1]));
  }
  // Not every page has the scores for these thresholds; what a person corrected stays.
  const isPossible = (each) => !each || (each.threshold >= book.scores().lowest && (each.low ?? 1) >= book.scores().lowest_low);
  const hasScores = ({ thresholds: { before, after } }) => book.scores() && isPossible(before) && isPossible(after);
  const usable = (steps) => steps.filter((step) => !step.thresholds || hasScores(step));
  for (const step of usable(kept.done)) {
    take(book, step);
    book.done.push(step);
  }
  book.undone.push(...usable(kept.undone));
  return true;
}

// --- what is saved -----------------------------------------------------------------------------

/* A video's row of results as it is now. `indices` are those of all labels, to which new ones are added. */
function correctedRow(row, book, indices) {
  const kept = [];
  const removed = [];
  for (const entry of book.entries) {
    const { row: was, state } = entry;
    const { start, end, label, checked } = state;
    if (was && state.removed) removed.push(was);
    if (!isStanding(entry)) continue;
    if (!indices.has(label)) indices.set(label, Math.max(-1, ...indices.values()) + 1);
    const others = was && was.label === label ? was : { score: was ? was.score : 1 };
    kept.push({ ...others, start_seconds: start, end_seconds: end, label, index: indices.get(label), origin: originOf(entry), checked });
  }
  kept.sort((a, b) => a.start_seconds - b.start_seconds || a.end_seconds - b.end_seconds);
  const { threshold, low } = book.thresholds ?? {};
  return { ...row, segments: kept, removed, ...(book.thresholds && { made_again: { threshold, low_threshold: low } }) };
}
