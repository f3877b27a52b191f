/* The sliders that make the segments of the machine again, by other thresholds. It goes on from corrections.js. */

const settings = data.thresholds; // of the run, with the lowest threshold that the scores in this page allow
const hasSliders = settings?.lowest != null;
const MAX_CELLS = 1500;

/* The thresholds that hold; `threshold` null: each class has its own. */
const thresholdsNow = () => book.thresholds ?? { threshold: settings.threshold, low: settings.low_threshold };

/* A timeline with so few cells that it can be drawn, each as high as the highest it stands for. */
function thinned({ edges, values }) {
  const size = Math.ceil(values.length / MAX_CELLS);
  const made = { edges: [], values: [] };
  for (let first = 0; first < values.length; first += size) {
    const known = [...values.subarray(first, first + size)].filter((value) => !Number.isNaN(value));
    made.edges.push(edges[first]);
    made.values.push(known.length ? Math.max(...known) : null);
  }
  made.edges.push(edges.at(-1));
  return made;
}

/* Gives a class that had no segments before its curves and thresholds, if its scores are here. */
function addCurves(number) {
  const { index, label } = classes[number];
  const place = hasSliders ? scores().classes.findIndex((each) => each.index === index && each.label === label) : -1;
  const timelines = place < 0 ? [] : (scores().timelines ?? []);
  timelines.forEach((timeline, i) => {
    const curve = thinned(lineOf(timeline, scores().classes[place].scores[i], 0));
    data.curves.push({ class: number, edges: data.edges.push(curve.edges) - 1, values: curve.values });
  });
  if (timelines.length) classes[number].thresholds = levelsNow() ?? [];
}

/* What is drawn as dashes; null where each class has its own. */
function levelsNow() {
  const { threshold, low } = thresholdsNow();
  if (threshold === null) return null;
  return settings.ends_lower ? [threshold, low ?? threshold / 2] : [threshold];
}

function sayThresholds() {
  if (!hasSliders) return;
  const { threshold, low } = thresholdsNow();
  byId("threshold-shown").value = threshold === null ? "the model\u2019s own" : threshold.toFixed(2);
  byId("threshold").value = threshold ?? 0.5;
  byId("half-height").checked = low === null;
  byId("half-height").disabled = threshold === null;
  byId("low-field").hidden = low === null;
  byId("low-threshold").max = threshold ?? 1;
  byId("low-threshold").value = low ?? 0;
  byId("low-threshold-shown").value = (low ?? 0).toFixed(2);
  byId("as-found").disabled = !book.thresholds;
  classes.forEach((each, number) => {
    if (each.thresholds.length) each.thresholds = levelsNow() ?? each.found ?? [];
    drawThresholds(number);
  });
  sayLegend();
  byId("thresholds-state").replaceChildren(...(book.thresholds ? saidOf(book.thresholds) : []));
}

function saidOf({ threshold, low }) {
  const options = [settings.of_head ? "--model FOLDER" : "--from-scores FILE", `--threshold ${threshold}`, ...(low === null ? [] : [`--low-threshold ${low}`])];
  const words = [` and the other settings of the run make them: ${counted(book.made.length, "segment", "segments")}.`];
  const kept = entries.filter((each) => isStanding(each) && isTouched(each)).length;
  const leftOut = book.made.length - book.present.size;
  if (kept) words.push(`${grouped(kept)} of yours ${kept === 1 ? "stays" : "stay"}.`);
  if (leftOut) words.push(`${counted(leftOut, "is", "are")} left out: you decided about that label there.`);
  const command = element("code", {}, "tada detect");
  for (const option of options) command.append(" ", element("span", { textContent: option }));
  return ["Made again, as ", command, words.join(" ")];
}

/* Makes the segments again; `isLast` is false while a slider is still moving. */
function chooseThresholds(after, isLast) {
  const isOfRun = after?.threshold === settings.threshold && after?.low === settings.low_threshold;
  showEntries(recordThresholds(book, isOfRun ? null : after));
  afterThresholds();
  if (isLast) keep();
}

function startThresholds() {
  byId("thresholds").hidden = !settings;
  if (!settings) return;
  byId("thresholds-fields").hidden = !hasSliders;
  if (!hasSliders) {
    const how = settings.of_head ? "--threshold" : "--from-scores";
    byId("thresholds-state").textContent = `The scores of this video are too many to be in this page: tada detect ${how} makes segments again.`;
    return;
  }
  for (const each of classes) each.found = each.thresholds;
  const onGrid = (threshold) => Math.ceil(threshold * 100 - 1e-9) / 100;
  byId("threshold").min = onGrid(settings.lowest);
  byId("low-threshold").min = onGrid(settings.lowest_low);
  byId("half-height-field").hidden = !settings.ends_lower;
  const choose = (isLast) => {
    const threshold = Number(byId("threshold").value);
    const low = byId("half-height").checked ? null : Math.min(Number(byId("low-threshold").value), threshold);
    chooseThresholds({ threshold, low }, isLast);
  };
  for (const id of ["threshold", "low-threshold"]) {
    byId(id).oninput = () => choose(false);
    byId(id).onchange = keep;
  }
  byId("half-height").onchange = () => {
    const { threshold } = thresholdsNow();
    const low = byId("half-height").checked ? null : Math.max(0.01, Math.floor(threshold * 50) / 100);
    chooseThresholds({ threshold, low: low && Math.min(low, threshold) }, true);
  };
  byId("as-found").onclick = () => chooseThresholds(null, true);
  byId("thresholds").addEventListener("submit", (event) => event.preventDefault());
  sayThresholds();
}
