/* Items: those of a cell of the matrix, and the worst of all, with their clips. It goes on from eval_matrix.js. */

const LARGEST_LIST = 200;

const percent = (fraction, digits = 1) => (fraction === null ? "\u2013" : `${(fraction * 100).toFixed(digits)} %`);
const score = (value) => (value === null ? "\u2013" : value.toFixed(3));
const span = (className, textContent) => element("span", { className, textContent });

/* A list that may be long: what matches the filter, a part at a time, and how much of it is seen. */
function listing(root, { items, textOf, draw, size, unit }) {
  const [rows, foot, filter] = [".rows", ".foot", ".filter"].map((each) => root.querySelector(each));
  const texts = items.map((item) => textOf(item).toLowerCase());
  const more = element("button", { className: "plain", type: "button", textContent: "Show more" });
  let order = [...items.keys()];
  let limit = size;

  function refresh() {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = order.filter((number) => words.every((word) => texts[number].includes(word)));
    rows.replaceChildren(...found.slice(0, limit).map((number) => draw(items[number])));
    const seen = Math.min(limit, found.length);
    const all = counted(items.length, ...unit);
    const text = seen < found.length || found.length < items.length ? `${grouped(seen)} shown of ${grouped(found.length)}${found.length < items.length ? ` that match, of ${all}` : ` ${unit[1]}`}` : all;
    foot.replaceChildren(span("quiet", text), ...(seen < found.length ? [more] : []));
  }

  more.onclick = () => {
    const first = limit;
    limit += Math.max(size, LARGEST_LIST);
    refresh();
    rows.children[first]?.querySelector("button")?.focus();
  };
  filter.addEventListener("input", () => {
    limit = size;
    refresh();
  });
  filter.hidden = items.length < 8;
  refresh();
  const arrange = (numbers) => {
    order = numbers;
    refresh();
  };
  return { arrange, refresh };
}

const times = (start, end) => (start === null && end === null ? "" : `${start === null ? "" : clock(start)} \u2013 ${end === null ? "" : clock(end)}`);

const openItem = (head, { id, video, label, predicted, start, end }) => openClip(video, {
  title: id,
  words: `true ${head.labels[label]}, predicted ${head.labels[predicted]}`,
  start,
  end,
});

/* What a cell of the matrix counts, below it; `show(pair, isWanted)` lists them, and goes there if that is wanted. */
function buildCell(root, head, goBack) {
  const byCell = new Map();
  for (const [id, video, label, predicted, labelScore, predictedScore, start, end] of head.items) {
    const cell = label * head.labels.length + predicted;
    if (!byCell.has(cell)) byCell.set(cell, []);
    byCell.get(cell).push({ id, video, label, predicted, labelScore, predictedScore, start, end });
  }

  function draw(item) {
    const why = whyNoClip(item.video);
    const parts = [
      span("mark", why ? "" : "\u25b6"),
      span("id", item.id),
      span("quiet time", [times(item.start, item.end), why && `no clip: ${why}`].filter(Boolean).join(", ")),
      span("number quiet", item.label === item.predicted ? `score ${score(item.labelScore)}` : `true ${score(item.labelScore)}, predicted ${score(item.predictedScore)}`),
    ];
    if (why) return element("li", { className: "line cell-item part" }, ...parts);
    parts[0].setAttribute("aria-label", "Play");
    parts[0].setAttribute("role", "img");
    return element("li", {}, element("button", { className: "line cell-item", type: "button", onclick: () => openItem(head, item) }, ...parts));
  }

  function show(pair, isWanted) {
    const count = pair ? countIn(head, ...pair) : 0;
    root.hidden = !count;
    if (!count) return root.replaceChildren();
    const [actual, predicted] = pair;
    const items = byCell.get(actual * head.labels.length + predicted) ?? [];
    const what = actual === predicted ? `${head.labels[actual]}, right` : `${head.labels[actual]}, taken for ${head.labels[predicted]}`;
    const title = `${counted(count, "item", "items")}: ${what}`;
    root.setAttribute("aria-label", title);
    root.replaceChildren(byId("cell").content.cloneNode(true));
    root.querySelector("h4").textContent = title;
    const lacks = count - items.length;
    const left = items.length ? `Those with the lowest scores of their true class are listed; ${grouped(lacks)} more are not.` : "This page does not say which ones.";
    root.querySelector(".legend").textContent = lacks ? left : "";
    const textOf = (item) => item.id;
    listing(root, { items, textOf, draw, size: 12, unit: ["item", "items"] });
    root.querySelector(".rows").hidden = root.querySelector(".foot").hidden = !items.length;
    if (isWanted) {
      root.focus({ preventScroll: true });
      root.scrollIntoView({ block: "nearest" });
    }
  }

  root.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    goBack();
  });
  return show;
}

function buildWorst(root, head) {
  root.hidden = !head.worst.length;
  const draw = (item) => {
    const picture = Object.hasOwn(data.thumbnails, item.id) ? data.thumbnails[item.id] : null;
    const why = whyNoClip(item.video);
    const line = (name, label, value) => [element("dt", { textContent: name }), element("dd", { textContent: label }), element("dd", { className: "score", textContent: value })];
    const facts = element("dl", {}, element("dd", { className: "id", textContent: item.id }));
    facts.append(...line("true", head.labels[item.label], score(item.labelScore)), ...line("predicted", head.labels[item.predicted], score(item.predictedScore)));
    facts.append(...line("place", `${grouped(item.rank + 1)} of ${grouped(head.labels.length)}`, ""), ...(times(item.start, item.end) ? line("time", times(item.start, item.end), "") : []));
    if (item.path && item.path !== item.id) facts.append(element("dd", { className: "path", textContent: item.path }));
    if (why) facts.append(element("dd", { className: "path", textContent: `no clip: ${why}` }));
    const image = picture ? element("img", { src: `data:image/jpeg;base64,${picture}`, alt: "", loading: "lazy" }) : span("blank", "no picture");
    const opener = element("button", { className: "open", type: "button", onclick: () => openItem(head, item) }, image, span("play", "\u25b6"));
    opener.setAttribute("aria-label", `Play ${item.id}`);
    return element("li", { className: "item" }, why ? image : opener, facts);
  };
  const textOf = (item) => `${item.id} ${item.path} ${head.labels[item.label]} ${head.labels[item.predicted]}`;
  listing(root, { items: head.worst, textOf, draw, size: 12, unit: ["item", "items"] });
}
