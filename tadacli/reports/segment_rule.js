/* How scores become segments by other thresholds: the rule of tadacli/detection/segments.py after its timelines, to the
   last digit. Nothing here knows the page. */

const SAME_INSTANT_SECONDS = 1e-6;
const SOFT_NMS = { sigma: 0.4, low: 0.25, high: 0.9 };

const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;

/* The scores of a video as a page holds them (see score_data.py), with their numbers unpacked. */
function unpacked(kept) {
  const runs = kept.runs && new Float64Array(bytesOf(kept.runs));
  const timelines = kept.timelines?.map(({ edges, gaps }) => {
    const found = { edges: new Float64Array(bytesOf(edges)), gaps: new Int32Array(bytesOf(gaps)) };
    // Of each of its lines one is laid out at a time.
    return { ...found, lines: [0, 1, 2].map(() => new Float64Array(found.edges.length - 1)) };
  });
  const scoresOf = ({ ranges, values }) => ({ ranges: new Int32Array(bytesOf(ranges)), values: new Float64Array(bytesOf(values)) });
  const classes = kept.classes.map((each) => ({ ...each, scores: each.scores.map(scoresOf) }));
  return { ...kept, runs, timelines, classes };
}

/* A row of a class laid out over the cells of a timeline, until the next one is: what was not kept is 0, below all that
   is asked for, and gaps are NaN. */
function lineOf({ edges, gaps, lines }, { ranges, values }, row) {
  const line = lines[row].fill(0);
  for (let i = 0; i < gaps.length; i += 2) line.fill(NaN, gaps[i], gaps[i + 1]);
  let place = (row * values.length) / (row === 0 ? 1 : 3);
  for (let i = 0; i < ranges.length; i += 2) {
    line.set(values.subarray(place, place + ranges[i + 1] - ranges[i]), ranges[i]);
    place += ranges[i + 1] - ranges[i];
  }
  return { edges, values: line };
}

// --- numbers as Python has them ----------------------------------------------------------------

/* A sum that is rounded once, as math.fsum. */
function exactSum(values) {
  const parts = [];
  for (const value of values) {
    let count = 0;
    let high = value;
    for (const part of parts) {
      const [large, small] = Math.abs(high) < Math.abs(part) ? [part, high] : [high, part];
      high = large + small;
      const lost = small - (high - large);
      if (lost) parts[count++] = lost;
    }
    parts.length = count;
    if (high) parts.push(high);
  }
  let sum = parts.pop() ?? 0;
  let lost = 0;
  while (parts.length && !lost) {
    const part = parts.pop();
    const before = sum;
    sum = before + part;
    lost = part - (sum - before);
  }
  // Half way between two numbers, what is left decides.
  if (parts.length && lost && Math.sign(lost) === Math.sign(parts.at(-1)) && sum + lost * 2 - sum === lost * 2) sum += lost * 2;
  return sum;
}

/* A decimal text that stands exactly half way ends in an even digit, where JavaScript rounds up. */
const isOdd = (text) => "13579".includes(text.at(-1));

function sevenDigits(number) {
  const [digits, exponent] = number.toExponential(80).split("e");
  const kept = digits.slice(0, digits.indexOf(".") + 7);
  const isHalf = /^50*$/.test(digits.slice(kept.length));
  return Number(isHalf && !isOdd(kept) ? `${kept}e${exponent}` : number.toPrecision(7));
}

function wholeMicroseconds(seconds) {
  const isHalf = Math.abs(seconds * 128) % 2 === 1; // only these have seven decimals of which the last is a 5
  const kept = seconds.toFixed(7).slice(0, -1);
  return Number(isHalf && !isOdd(kept) ? kept : seconds.toFixed(6));
}

/* The least score that meets a threshold. */
const leastScore = (threshold) => Math.min(threshold, Math.fround(threshold));

// --- runs --------------------------------------------------------------------------------------

/* The ranges [first, last) of `count` places at which something holds. */
function stretches(count, holds) {
  const found = [];
  for (let i = 0; i < count; i++) {
    if (!holds(i)) continue;
    if (found.at(-1)?.[1] === i) found.at(-1)[1] = i + 1;
    else found.push([i, i + 1]);
  }
  return found;
}

function highestIn(values, first, last) {
  let highest = values[first];
  for (let i = first; i < last; i++) highest = Math.max(highest, values[i]);
  return highest;
}

/* When a score falls through a level between the middle of a cell and that of the next one in a direction. */
function crossing({ edges, values }, cell, step, level) {
  const other = cell + step;
  if (other < 0 || other >= values.length || Number.isNaN(values[other])) return edges[Math.max(cell, other)];
  const here = (edges[cell] + edges[cell + 1]) / 2;
  const there = (edges[other] + edges[other + 1]) / 2;
  const share = (values[cell] - level) / (values[cell] - values[other]);
  return here + share * (there - here);
}

function findRuns(line, { high, low, isHalfHeight, mergeGap, minDuration }) {
  const { edges, values } = line;
  const groups = [];
  const isCovered = (first, last) => {
    for (let i = first; i < last; i++) if (Number.isNaN(values[i])) return false;
    return true;
  };
  for (const [first, last] of stretches(values.length, (i) => values[i] >= low)) {
    if (highestIn(values, first, last) < high) continue;
    const before = groups.at(-1);
    const gap = before ? edges[first] - edges[before[1]] - SAME_INSTANT_SECONDS : Infinity;
    if (gap <= mergeGap && isCovered(before[1], first)) before[1] = last;
    else groups.push([first, last]);
  }
  const runs = [];
  for (const [first, last] of groups) {
    const inside = values.subarray(first, last);
    let peak = -Infinity;
    for (const value of inside) if (value > peak) peak = value;
    const level = isHalfHeight ? Math.max(low, peak / 2) : low;
    const cells = stretches(inside.length, (i) => inside[i] >= level).map((each) => each.map((i) => i + first));
    let start = edges[cells[0][0]];
    let end = edges[cells.at(-1)[1]];
    if (isHalfHeight) {
      start = crossing(line, cells[0][0], -1, level);
      end = crossing(line, cells.at(-1)[1] - 1, 1, level);
    }
    if (end - start >= minDuration - SAME_INSTANT_SECONDS) runs.push({ start, end, peak, cells });
  }
  return runs;
}

/* The mean over ranges of cells, weighted by duration. */
function meanOver(cells, { edges, values }) {
  const durations = [];
  const weighted = [];
  for (const [first, last] of cells) {
    for (let i = first; i < last; i++) {
      durations.push(edges[i + 1] - edges[i]);
      weighted.push((edges[i + 1] - edges[i]) * values[i]);
    }
  }
  return exactSum(weighted) / exactSum(durations);
}

// --- segments that claim the same time ---------------------------------------------------------

const byPlace = (a, b) => a.start - b.start || a.end - b.end || a.index - b.index;

/* The `count` best, all of them for null; of equal scores the earlier. Where they have ranks, these say it. */
function best(segments, count) {
  const sorted = [...segments].sort((a, b) => (a.rank ?? 0) - (b.rank ?? 0) || b.score - a.score || byPlace(a, b));
  return count === null ? sorted : sorted.slice(0, count);
}

function overlap(a, b) {
  const shared = Math.max(Math.min(a.end, b.end) - Math.max(a.start, b.start), 0);
  return shared > 0 ? shared / (a.end - a.start + (b.end - b.start) - shared) : 0;
}

function hardNms(segments, most) {
  const kept = [];
  for (const each of [...segments].sort((a, b) => b.score - a.score)) {
    if (kept.every((better) => overlap(better, each) <= most)) kept.push(each);
  }
  return kept;
}

function softNms(segments, low, duration) {
  const left = segments.map((each) => ({ ...each, lowered: each.score }));
  const kept = [];
  while (left.length) {
    let place = 0;
    left.forEach((each, i) => (place = each.lowered > left[place].lowered ? i : place));
    const [taken] = left.splice(place, 1);
    if (taken.lowered === taken.score || taken.lowered >= low) kept.push({ ...taken, score: sevenDigits(taken.lowered) });
    const least = SOFT_NMS.low + ((SOFT_NMS.high - SOFT_NMS.low) * (taken.end - taken.start)) / duration;
    for (const each of left) {
      const iou = overlap(taken, each);
      if (iou > least) each.lowered *= Math.exp(-(iou * iou) / SOFT_NMS.sigma);
    }
  }
  return kept;
}

function thinnedOut(segments, { nms, nms_iou: most, topk_per_class: count, duration }, low) {
  const sorted = [...segments].sort(byPlace);
  if (nms === "hard") return best(hardNms(sorted, most), count);
  return best(nms === "soft" ? softNms(sorted, low, duration) : sorted, count);
}

// --- all of it ---------------------------------------------------------------------------------

/* The segments of one class, with the scores of the verb and the noun of an action. */
function segmentsOfClass(scores, place, levels) {
  const { index, peak: highest, verb, scores: kept } = scores.classes[place];
  if (highest < levels.high) return [];
  const found = scores.timelines.flatMap((timeline, i) => {
    const line = lineOf(timeline, kept[i], 0);
    const runs = findRuns(line, levels);
    const lines = verb && runs.length ? [1, 2].map((row) => lineOf(timeline, kept[i], row)) : [];
    const mean = (run, each) => sevenDigits(meanOver(run.cells, each));
    return runs.map((run) => {
      const parts = lines.map((each) => mean(run, each));
      return { start: run.start, end: run.end, index, place, score: mean(run, line), peak: sevenDigits(run.peak), parts };
    });
  });
  return thinnedOut(found, scores, levels.low);
}

/* The segments that thresholds choose, where these do not say where they lie. */
function chosenRuns({ runs, classes, topk_per_class: count, ranked }, high) {
  const found = classes.map(() => []);
  for (let i = 0; i < runs.length; i += 8) {
    const [place, start, end, score, peak, compared, ...parts] = runs.subarray(i, i + 8);
    if (compared < high) continue;
    found[place].push({ start, end, index: classes[place].index, place, score, peak, parts, ...(ranked && { rank: i }) });
  }
  return found.flatMap((each) => best(each, count));
}

function rowOfMachine({ start, end, place, score, peak, parts }, classes) {
  const { index, label, verb, noun } = classes[place];
  const row = { start_seconds: wholeMicroseconds(start), end_seconds: wholeMicroseconds(end), label, index, score, ...(!Number.isNaN(peak) && { peak_score: peak }) };
  if (!verb) return row;
  const numbers = { verb: verb.index, noun: noun.index, action: `${verb.index},${noun.index}` };
  return { ...row, ...numbers, verb_label: verb.label, noun_label: noun.label, verb_score: parts[0], noun_score: parts[1] };
}

/* The segments as rows of results, in their order; `low` null means half of the threshold, and ends at half height. */
function segmentsBy(scores, { threshold, low }) {
  const levels = {
    high: leastScore(threshold),
    low: leastScore(low ?? threshold / 2),
    isHalfHeight: low === null,
    mergeGap: scores.merge_gap_seconds,
    minDuration: scores.min_duration_seconds,
  };
  const found = scores.runs
    ? chosenRuns(scores, levels.high)
    : scores.classes.flatMap((_, place) => segmentsOfClass(scores, place, levels));
  return best(found, scores.topk).sort(byPlace).map((each) => rowOfMachine(each, scores.classes));
}
