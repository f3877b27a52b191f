/* Tasks of detection, by class and by video, and the kinds of their errors. It goes on from eval_items.js. */

/* Bars are set by script, as the policy admits no style attributes. */
function scale(fraction, interval = null) {
  const made = element("div", { className: "scale" }, element("i"));
  made.firstElementChild.style.width = `${Math.min(Math.max(fraction ?? 0, 0), 1) * 100}%`;
  if (interval) {
    const mark = element("b");
    mark.style.left = `${interval[0] * 100}%`;
    mark.style.width = `${(interval[1] - interval[0]) * 100}%`;
    made.append(mark);
  }
  return made;
}

const partOrders = (counts) => ({
  "lowest first": (value) => (a, b) => value(a) - value(b),
  "highest first": (value) => (a, b) => value(b) - value(a),
  [`by number of ${counts}`]: () => (a, b) => b[1] - a[1],
  "by name": () => (a, b) => a[0].localeCompare(b[0], "en", { numeric: true }),
});

/* A list of values with bars. `onChosen(name)` shows more of one; it is null where there is no more. */
function buildParts(root, { items, tiou, unit, counts = ["segment", "segments"], onChosen = null }) {
  root.hidden = !items.length;
  const orders = partOrders(counts[1]);
  const [tiouSelect, orderSelect] = [".tiou", ".order"].map((each) => root.querySelector(each));
  tiouSelect.append(...["mean of tIoU", ...tiou.map((value) => `tIoU ${value.toFixed(2)}`)].map((textContent) => element("option", { textContent })));
  tiouSelect.hidden = !tiou.length;
  orderSelect.append(...Object.keys(orders).map((textContent) => element("option", { textContent })));
  const value = ([, , average, values]) => (tiouSelect.selectedIndex ? values[tiouSelect.selectedIndex - 1] : average) ?? 0;
  const draw = (item) => {
    const columns = [
      span("label", item[0]),
      scale(value(item)),
      span("number share", item[2] === null ? "\u2013" : value(item).toFixed(4)),
      span("number quiet count", counted(item[1], ...counts)),
    ];
    if (!onChosen) return element("li", { className: "line part" }, ...columns);
    return element("li", {}, element("button", { className: "line part chosen", type: "button", onclick: () => onChosen(item[0]) }, ...columns));
  };
  const place = root.querySelector(".drawing");
  const list = listing(root, { items, textOf: ([name]) => name, draw, size: 200, unit });
  const arrange = () => {
    const compare = orders[orderSelect.value](value);
    const order = [...items.keys()].sort((a, b) => compare(items[a], items[b]) || a - b);
    list.arrange(order);
    if (place) place.replaceChildren(...drawnParts(order.map((number) => items[number]), value, unit, tiouSelect.selectedIndex === 0, place.clientWidth));
  };
  tiouSelect.onchange = orderSelect.onchange = arrange;
  arrange();
}

/* All values as bars, in the order of the list; with `hasRange` a line from the lowest to the highest threshold. */
function drawnParts(items, value, unit, hasRange, room) {
  const known = items.filter((item) => item[2] !== null);
  if (known.length < 2) return [];
  const [width, height] = [Math.max(room - 72, 160), 130];
  const step = width / known.length;
  const y = (part) => height * (1 - part);
  const mean = known.reduce((sum, item) => sum + value(item), 0) / known.length;
  const [least, most] = [known.reduce((a, b) => (value(b) < value(a) ? b : a)), known.reduce((a, b) => (value(b) > value(a) ? b : a))];
  const words = `Average precision of ${counted(known.length, ...unit)}: mean ${mean.toFixed(4)}, from ${value(least).toFixed(4)} (${least[0]}) to ${value(most).toFixed(4)} (${most[0]})`;
  const svg = drawing("svg", { class: "precisions", viewBox: `-28 -8 ${width + 72} ${height + 16}`, role: "img", "aria-label": words });
  for (const at of [0, 0.5, 1]) {
    svg.append(drawing("line", { class: "rule", x1: 0, x2: width, y1: y(at), y2: y(at) }), drawing("text", { x: -5, y: y(at) + 4, "text-anchor": "end" }, at));
  }
  known.forEach((item, number) => {
    const [x, breadth] = [(number + 0.12) * step, Math.min(0.76 * step, 40)];
    const left = x + (0.76 * step - breadth) / 2;
    const title = drawing("title", {}, `${item[0]}: ${value(item).toFixed(4)}`);
    svg.append(drawing("rect", { class: "bin", x: left, width: breadth, y: y(value(item)), height: value(item) * height }, title));
    const values = hasRange ? item[3].filter((each) => each !== null) : [];
    if (values.length < 2) return;
    const middle = left + breadth / 2;
    svg.append(drawing("line", { class: "range", x1: middle, x2: middle, y1: y(Math.min(...values)), y2: y(Math.max(...values)) }));
  });
  svg.append(drawing("line", { class: "ideal", x1: 0, x2: width, y1: y(mean), y2: y(mean) }), drawing("text", { x: width + 4, y: y(mean) + 4 }, "mean"));
  const lines = hasRange && known[0][3].length > 1 ? "Bars: the mean over the thresholds; lines: from the lowest to the highest of these. " : "";
  return [svg, element("p", { className: "quiet legend", textContent: `${lines}Dashed: the mean of all. In the order of the list.` })];
}

// What each kind of error is, with the threshold in place of T.
const ERRORS = {
  "right": "overlaps a true segment of its label by T or more",
  "double detection": "overlaps so only what a better detection has found",
  "wrong label": "overlaps so a segment of another label",
  "localization error": "overlaps a segment of its label by less than T",
  "confusion error": "overlaps one of another label by less than T",
  "background": "overlaps nothing by 0.1",
};

function buildErrors(root, errors) {
  root.hidden = !errors.length;
  const select = root.querySelector(".multiple");
  const texts = errors.map(({ multiple }) => (multiple === 1 ? "as many as true segments" : `${multiple} times as many`));
  select.append(...texts.map((textContent) => element("option", { textContent })));
  const line = (name, about, number, total) => element(
    "li",
    { className: "line part", title: about },
    span("label", name),
    scale(total ? number / total : 0),
    span("number share", total ? percent(number / total) : "\u2013"),
    span("number quiet count", `${grouped(number)} / ${grouped(total)}`),
  );
  select.onchange = () => {
    const { tiou, kinds, num_detections: total, num_missed: missed, num_truth: truth } = errors[select.selectedIndex];
    const lines = Object.entries(kinds).map(([kind, number]) => line(kind, ERRORS[kind].replace("T", tiou), number, total));
    root.querySelector(".rows").replaceChildren(...lines, line("missed", "true segments that none of these found", missed, truth));
    root.querySelector(".legend").textContent = `Of each label the best-scored detections count, ${texts[select.selectedIndex]}; `
      + `right at a temporal IoU of ${tiou}. The last line is of true segments.`;
  };
  if (errors.length) select.onchange();
}
