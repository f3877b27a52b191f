/* How far two labellings of a video agree: the rule of tadacli/evaluation/agreement.py. Nothing here knows the page. */

const STEP_SECONDS = 0.1;
const TIOU = 0.5;
const SAME_IOU = 1e-9; // what rounding may take from an IoU

const inOrder = (a, b) => a.start - b.start || a.end - b.end;

function byLabel(spans) {
  const found = new Map();
  for (const each of [...spans].sort(inOrder)) {
    if (!found.has(each.label)) found.set(each.label, []);
    found.get(each.label).push(each);
  }
  return found;
}

/* The instants in the middle of each step, and the ranges [first, last) of them that spans in order cover. */
function gridOf(start, end) {
  const count = Math.max(1, Math.floor((end - start) / STEP_SECONDS + 0.5));
  const at = (number) => start + (number + 0.5) * STEP_SECONDS;
  const numBefore = (seconds) => {
    let number = Math.min(Math.max(Math.floor((seconds - start) / STEP_SECONDS), 0), count);
    while (number > 0 && at(number - 1) >= seconds) number--;
    while (number < count && at(number) < seconds) number++;
    return number;
  };
  const rangesOf = (spans) => {
    const merged = [];
    for (const span of spans) {
      const [first, last] = [numBefore(span.start), numBefore(span.end)];
      if (first >= last) continue;
      if (merged.length && first <= merged.at(-1)[1]) merged.at(-1)[1] = Math.max(merged.at(-1)[1], last);
      else merged.push([first, last]);
    }
    return merged;
  };
  return { count, rangesOf };
}

const numIn = (ranges) => ranges.reduce((sum, [first, last]) => sum + last - first, 0);

function numShared(a, b) {
  let [total, i, j] = [0, 0, 0];
  while (i < a.length && j < b.length) {
    total += Math.max(Math.min(a[i][1], b[j][1]) - Math.max(a[i][0], b[j][0]), 0);
    if (a[i][1] <= b[j][1]) i++;
    else j++;
  }
  return total;
}

/* How many segments, which are in order, can have a counterpart at the same time. */
function numMatched(first, second) {
  const possible = first.map((one) => {
    const found = [];
    for (let i = 0; i < second.length && second[i].start < one.end; i++) if (overlap(one, second[i]) >= TIOU - SAME_IOU) found.push(i);
    return found;
  });
  const owner = new Map();
  const held = new Map();
  first.forEach((_, row) => {
    const cameFrom = new Map();
    const waiting = [row];
    for (const one of waiting) {
      const fresh = possible[one].filter((column) => !cameFrom.has(column));
      for (const column of fresh) cameFrom.set(column, one);
      let column = fresh.find((each) => !owner.has(each));
      if (column === undefined) {
        waiting.push(...fresh.map((each) => owner.get(each)));
        continue;
      }
      while (column !== undefined) {
        const taker = cameFrom.get(column);
        const left = held.get(taker);
        owner.set(column, taker);
        held.set(taker, column);
        column = left;
      }
      break;
    }
  });
  return owner.size;
}

/* How often sets of labels hold in both, and in each. */
function countedSets(count, sides) {
  const changes = sides.flatMap((side, i) =>
    [...side].flatMap(([label, ranges]) => ranges.flatMap(([first, last]) => [{ place: first, i, label, isStart: true }, { place: last, i, label }])),
  );
  changes.sort((a, b) => a.place - b.place);
  const holding = [new Set(), new Set()];
  const counts = [new Map(), new Map()];
  let [before, numSame] = [0, 0];
  for (const { place, i, label, isStart } of [...changes, { place: count, i: 0, label: null }]) {
    if (place > before) {
      const names = holding.map((each) => JSON.stringify([...each].sort()));
      if (names[0] === names[1]) numSame += place - before;
      names.forEach((name, side) => counts[side].set(name, (counts[side].get(name) ?? 0) + place - before));
      before = place;
    }
    if (isStart) holding[i].add(label);
    else holding[i].delete(label);
  }
  let chance = 0;
  for (const [name, number] of counts[0]) chance += number * (counts[1].get(name) ?? 0);
  return { numSame, chance };
}

const kappaOf = (count, numSame, chance) => (chance === count * count ? null : (count * numSame - chance) / (count * count - chance));
const f1Of = (a, b, matched) => (a + b ? (2 * matched) / (a + b) : null);

/* { overall, byLabel: Map }, each with kappa, f1 (null where they say nothing) and the numbers of segments. */
function agreementOf(first, second, start, end) {
  const { count, rangesOf } = gridOf(start, end);
  const sides = [byLabel(first), byLabel(second)];
  const ranges = sides.map((side) => new Map([...side].map(([label, spans]) => [label, rangesOf(spans)])));
  const found = new Map();
  let matched = 0;
  for (const label of [...new Set(sides.flatMap((side) => [...side.keys()]))].sort()) {
    const spans = sides.map((side) => side.get(label) ?? []);
    const points = ranges.map((side) => numIn(side.get(label) ?? []));
    const both = numShared(ranges[0].get(label) ?? [], ranges[1].get(label) ?? []);
    const [a, b] = points;
    const numBoth = numMatched(...spans);
    const kappa = kappaOf(count, count - a - b + 2 * both, a * b + (count - a) * (count - b));
    const [numFirst, numSecond] = spans.map((each) => each.length);
    found.set(label, { kappa, f1: f1Of(numFirst, numSecond, numBoth), numFirst, numSecond });
    matched += numBoth;
  }
  const { numSame, chance } = countedSets(count, ranges);
  const f1 = f1Of(first.length, second.length, matched);
  const overall = { kappa: kappaOf(count, numSame, chance), f1, numFirst: first.length, numSecond: second.length };
  return { overall, byLabel: found };
}
