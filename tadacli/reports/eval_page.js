/* The page of an evaluation, put together. It goes on from eval_lanes.js. */

// --- the result --------------------------------------------------------------------------------

/* Official names stay recognisable: only what joins their words is taken away. */
const named = (metric) => [metric.task, metric.name.replace(/_/g, " ").replace(/^top ?(\d+)/, "top-$1")].filter(Boolean).join(" ");

function card(metric) {
  const value = element("span", { className: "value" });
  if (metric.value === null) value.append("\u2013");
  else value.append(metric.isPercent ? metric.value.toFixed(2) : grouped(metric.value), ...(metric.isPercent ? [element("small", { textContent: " %" })] : []));
  const made = element("div", { className: "card" }, element("span", { className: "name", textContent: named(metric), title: metric.name }), value);
  if (metric.about) made.append(span("quiet interval", metric.about));
  if (!metric.isPercent) return made;
  const hasInterval = metric.low !== null && metric.high !== null;
  // A bar says the more the better.
  if (!metric.name.includes("error")) made.append(scale((metric.value ?? 0) / 100, hasInterval ? [metric.low / 100, metric.high / 100] : null));
  if (hasInterval) made.append(span("quiet interval", `95 %: ${metric.low.toFixed(2)} to ${metric.high.toFixed(2)}`));
  return made;
}

function buildTasks() {
  if (!data.tasks.length) return;
  const thresholds = [...new Set(data.tasks.flatMap((task) => task.tiou))].sort((a, b) => a - b);
  const cell = (value) => element("td", { textContent: value === null || value === undefined ? "\u2013" : value.toFixed(4) });
  const head = element("tr", {}, element("th", { scope: "col", textContent: "mAP at tIoU" }));
  const titles = ["mean", ...thresholds.map((tiou) => tiou.toFixed(2))];
  head.append(...titles.map((textContent) => element("th", { scope: "col", textContent })), element("td"));
  const rows = data.tasks.map((task) => {
    const mean = cell(task.average);
    mean.className = "mean";
    const facts = task.facts.map(([name, value]) => `${Number.isNaN(Number(value)) ? value : grouped(Number(value))} ${name}`).join(", ");
    const row = element("tr", {}, element("th", { scope: "row", textContent: task.name }));
    row.append(mean, ...thresholds.map((tiou) => cell(task.mAP[task.tiou.indexOf(tiou)])), element("td", { className: "facts", textContent: facts }));
    return row;
  });
  byId("tasks").append(element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)));
  byId("tasks").hidden = false;
}

function buildResult() {
  const lost = data.num_items - data.num_scored;
  byId("summary").textContent = data.facts.filter(([key]) => key === "model" || key === "Model").map(([, value]) => value).join(", ");
  byId("scored").textContent = `${grouped(data.num_scored)} of ${grouped(data.num_items)} ${data.unit} scored`;
  byId("share").style.width = data.num_items ? `${(data.num_scored / data.num_items) * 100}%` : "0";
  if (!data.num_scored) {
    byId("banner").textContent = "Nothing was scored, so there is nothing to measure.";
    byId("banner").hidden = false;
  }
  const counts = data.reasons.map(([reason, count]) => [grouped(count), element("button", { type: "button", textContent: reason, onclick: () => filterLost(reason) })]);
  const others = counts.splice(8).length;
  if (others) counts.push(["", span("quiet", `and ${counted(others, "more reason", "more reasons")}, in the list below`)]);
  if (lost > data.unscored.length) counts.push([grouped(lost - data.unscored.length), "not scored, and it is not known which or why"]);
  byId("reasons").append(...counts.map(([count, reason]) => element("li", {}, element("span", { textContent: count }), reason)));
  byId("cards").append(...data.metrics.map(card));
  buildTasks();
}

// --- heads -------------------------------------------------------------------------------------

function fillOrders(root) {
  for (const select of root.querySelectorAll("select.order")) select.append(...Object.keys(orders).map((name) => element("option", { textContent: name })));
}

function buildClasses(root, head, matrix) {
  const draw = (number) => {
    const [total, right] = [head.total[number], head.right[number]];
    return element("li", {}, element(
      "button",
      { className: "line class", type: "button", onclick: () => matrix.pick(number, number) },
      span("label", head.labels[number]),
      scale(head.share[number]),
      span("number share", total ? percent(head.share[number]) : "\u2013"),
      span("number quiet count", total ? `${grouped(right)} / ${grouped(total)}` : "no items"),
    ));
  };
  const list = listing(root, { items: [...head.labels.keys()], textOf: (number) => head.labels[number], draw, size: 1000, unit: ["class", "classes"] });
  const select = root.querySelector("select");
  const arrange = () => list.arrange(ordered(head, select.value));
  select.value = "by accuracy, lowest first";
  select.onchange = arrange;
  arrange();
}

function buildConfusions(root, head, matrix) {
  const found = [];
  head.rows.forEach((row, actual) => {
    for (let i = 0; i < row.length; i += 2) if (row[i] !== actual) found.push([actual, row[i], row[i + 1], row[i + 1] / head.total[actual]]);
  });
  found.sort((a, b) => b[2] - a[2] || b[3] - a[3] || a[0] - b[0] || a[1] - b[1]);
  const draw = ([actual, predicted, count, share]) => element("li", {}, element(
    "button",
    { className: "line confusion", type: "button", onclick: () => matrix.pick(actual, predicted) },
    span("true", head.labels[actual]),
    span("mark", "\u2192"),
    span("predicted", head.labels[predicted]),
    span("number count", grouped(count)),
    span("number quiet share", percent(share)),
  ));
  listing(root, { items: found, textOf: ([actual, predicted]) => `${head.labels[actual]} ${head.labels[predicted]}`, draw, size: 25, unit: ["confusion", "confusions"] });
}

function buildCalibration(root, head) {
  if (!head.calibration) return;
  const { bins, error } = head.calibration;
  const [side, foot] = [240, 40];
  const y = (value) => side * (1 - value);
  const svg = drawing("svg", { class: "reliability", viewBox: `-34 -10 ${side + 44} ${side + foot + 48}`, role: "img", "aria-label": `Accuracy by confidence; expected calibration error ${percent(error)}` });
  const most = Math.max(1, ...bins.map((bin) => bin[2]));
  for (const [low, high, count, confidence, accuracy] of bins) {
    if (!count) continue;
    const [x, width] = [low * side + 0.5, Math.max((high - low) * side - 1, 1)];
    const title = `Scores from ${low.toFixed(2)} to ${high.toFixed(2)}: ${counted(count, "item", "items")}, mean score ${score(confidence)}, ${percent(accuracy)} right`;
    const share = (count / most) * foot;
    svg.append(
      drawing("rect", { class: "bin", x, width, y: y(accuracy), height: accuracy * side }, drawing("title", {}, title)),
      drawing("line", { class: "tick", x1: x, x2: x + width, y1: y(confidence), y2: y(confidence) }),
      drawing("rect", { class: "share", x, width, y: side + 24, height: share }, drawing("title", {}, title)),
    );
  }
  svg.append(drawing("rect", { class: "frame", x: 0, y: 0, width: side, height: side }), drawing("line", { class: "ideal", x1: 0, y1: side, x2: side, y2: 0 }));
  for (const value of [0, 0.5, 1]) {
    svg.append(drawing("text", { x: value * side, y: side + 15, "text-anchor": "middle" }, value), drawing("text", { x: -6, y: y(value) + 4, "text-anchor": "end" }, value));
  }
  svg.append(drawing("text", { x: side / 2, y: side + 15, "text-anchor": "middle", dx: 58 }, "score"), drawing("text", { transform: `translate(-22 ${side / 4}) rotate(-90)`, "text-anchor": "middle" }, "accuracy"));
  root.querySelector(".drawing").append(svg);
  root.querySelector(".legend").textContent = `Expected calibration error ${percent(error, 2)}. Bars: share of items that are right, by the score of their best class. Marks: the mean of these scores; on the dashed line they would be equal. Below: how many items.`;
}

function buildHead(head) {
  const root = byId("head").content.cloneNode(true).firstElementChild;
  const part = (name) => root.querySelector(name);
  summed(head);
  fillOrders(root);
  part(".title").textContent = head.name;
  part(".title").hidden = !head.name;
  byId("heads").append(root);
  const cell = buildCell(part(".cell"), head, () => part(".matrix").focus());
  const matrix = buildMatrix(part(".confused"), head, cell);
  part(".confused select").onchange = (event) => matrix.arrange(event.target.value);
  buildClasses(part(".classes"), head, matrix);
  buildConfusions(part(".confusions"), head, matrix);
  part(".calibration").hidden = !head.calibration;
  buildCalibration(part(".calibration"), head);
  buildWorst(part(".worst-items"), head);
  return root;
}

// --- tasks of detection --------------------------------------------------------------------------

function buildTask(task) {
  const root = byId("task").content.cloneNode(true).firstElementChild;
  const title = root.querySelector(".title");
  title.textContent = task.name;
  title.hidden = data.tasks.length < 2;
  byId("parts").append(root);
  buildParts(root.querySelector(".by-class"), { items: task.classes, tiou: task.tiou, unit: ["class", "classes"], counts: task.counts });
  buildErrors(root.querySelector(".errors"), task.errors ?? []);
  const showVideo = buildLanes(root.querySelector(".lanes"), task.lanes);
  buildParts(root.querySelector(".by-video"), { items: task.videos, tiou: task.tiou, unit: ["video", "videos"], onChosen: showVideo });
  return root;
}

// --- what is not scored, and words -------------------------------------------------------------

function filterLost(reason) {
  const filter = byId("unscored").querySelector(".filter");
  filter.value = reason;
  filter.dispatchEvent(new Event("input"));
  byId("unscored").scrollIntoView();
  filter.focus({ preventScroll: true });
}

function buildLost() {
  const root = byId("unscored");
  const draw = ([id, path, reason]) => element("li", { className: "lost" }, span("id", id), span("reason", data.reasons[reason][0]), span("path quiet", path || "no file"));
  root.hidden = !data.unscored.length;
  listing(root, { items: data.unscored, textOf: ([id, path, reason]) => `${id} ${path} ${data.reasons[reason][0]}`, draw, size: 50, unit: ["item", "items"] });
}

function buildContents(heads, tasks) {
  const places = [["Result", byId("result")], ...heads.map((root, i) => [data.heads[i].name || "Classes", root])];
  places.push(...tasks.map((root, i) => [tasks.length > 1 ? detailed[i].name : detailed[i].videos.length ? "By class and video" : "By class", root]));
  if (data.unscored.length) places.push(["Not scored", byId("unscored")]);
  places.push(["How this was made", byId("made")]);
  byId("contents").hidden = places.length < 4;
  for (const [number, [name, root]] of places.entries()) {
    root.id ||= `part-${number}`;
    byId("contents").append(element("a", { href: `#${root.id}`, textContent: name }));
  }
}

buildResult();
byId("heads").hidden = !data.heads.length;
const detailed = data.tasks.filter((task) => task.classes.length);
// Of a multi-label model: one value for each class, of items.
if (data.classes.length) detailed.push({ name: "Classes", tiou: [], classes: data.classes, videos: [], counts: ["item", "items"] });
byId("parts").hidden = !detailed.length;
buildContents(data.heads.map(buildHead), detailed.map(buildTask));
buildLost();
byId("note-list").append(...data.notes.map((text) => element("li", { textContent: text })));
byId("notes").hidden = !data.notes.length;
for (const [key, value] of data.facts) byId("facts").append(element("dt", { textContent: key }), element("dd", { textContent: value }));
