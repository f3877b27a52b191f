/* The confusion matrix: a canvas as large as what is seen of it, in a box that scrolls. It goes on from page.js. */

const LEAST_LABELLED = 11;
const LARGEST_CELL = 46;

/* Counts by class: `total` items, `right` ones, `share` of these (null without items). */
function summed(head) {
  head.total = head.rows.map((row) => row.reduce((sum, value, i) => sum + (i % 2 ? value : 0), 0));
  head.right = head.rows.map((_, number) => countIn(head, number, number));
  head.share = head.total.map((total, number) => (total ? head.right[number] / total : null));
}

function countIn(head, actual, predicted) {
  const row = head.rows[actual];
  for (let i = 0; i < row.length; i += 2) if (row[i] === predicted) return row[i + 1];
  return 0;
}

const byName = (head) => (a, b) => head.labels[a].localeCompare(head.labels[b], "en", { numeric: true }) || a - b;
const byShare = (head, sign) => (a, b) => {
  const lacks = (head.share[a] === null) - (head.share[b] === null);
  return lacks || sign * (head.share[a] - head.share[b]) || a - b;
};
const orders = {
  "in the order of the classes": () => (a, b) => a - b,
  "by name": byName,
  "by accuracy, lowest first": (head) => byShare(head, 1),
  "by accuracy, highest first": (head) => byShare(head, -1),
  "by number of items": (head) => (a, b) => head.total[b] - head.total[a] || a - b,
};

const ordered = (head, name) => [...head.labels.keys()].sort(orders[name](head));

/* `onCell(pair, isWanted)` is told of the cell that is chosen, null for none, and whether to go to what is in it. */
function buildMatrix(root, head, onCell) {
  const box = root.querySelector(".matrix");
  const sheet = box.firstElementChild;
  const canvas = sheet.firstElementChild;
  const told = root.querySelector(".told");
  const pen = canvas.getContext("2d");
  const num = head.labels.length;
  const labelFont = `12px ${getComputedStyle(box).fontFamily}`;
  pen.font = labelFont;
  const longest = Math.max(0, ...head.labels.map((label) => pen.measureText(label).width)) + 10;
  let order = ordered(head, Object.keys(orders)[0]);
  let place = [];
  let zoom = 1;
  let cell = 1;
  let left = 0;
  let top = 0;
  let cursor = null;
  let shown = null;

  /* Cells as large as the box allows, and margins for labels if these are large enough to have some. */
  function measure() {
    const width = box.parentElement.clientWidth - 2 * parseFloat(getComputedStyle(box.parentElement).paddingLeft);
    const height = Math.max(innerHeight * 0.82, 300);
    const fitted = (x, y) => Math.min((width - x) / num, (height - y) / num, LARGEST_CELL);
    const margins = [Math.min(longest, width * 0.34, 220), Math.min(longest, 130)];
    const isLabelled = Math.max(fitted(...margins), 0) * zoom >= LEAST_LABELLED;
    [left, top] = isLabelled ? margins : [20, 20];
    cell = fitted(left, top) * zoom;
    const [full, high] = [left + num * cell, top + num * cell];
    box.style.height = `${Math.ceil(Math.min(high, height))}px`;
    sheet.style.width = `${full}px`;
    sheet.style.height = `${high}px`;
    resize(Math.min(full, width), Math.min(high, height));
    draw();
  }

  function resize(width, height) {
    const density = devicePixelRatio || 1;
    canvas.width = Math.ceil(width * density);
    canvas.height = Math.ceil(height * density);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    pen.setTransform(density, 0, 0, density, 0, 0);
  }

  const xOf = (column) => left + column * cell - box.scrollLeft;
  const yOf = (row) => top + row * cell - box.scrollTop;

  function draw() {
    const colours = getComputedStyle(box);
    const colour = (name) => colours.getPropertyValue(name).trim();
    const [width, height] = [parseFloat(canvas.style.width), parseFloat(canvas.style.height)];
    pen.globalAlpha = 1;
    pen.fillStyle = colour("--panel");
    pen.fillRect(0, 0, width, height);
    pen.save();
    pen.beginPath();
    pen.rect(left, top, width - left, height - top);
    pen.clip();
    pen.fillStyle = colour("--page");
    pen.fillRect(left, top, width - left, height - top);
    const first = Math.max(0, Math.floor(box.scrollTop / cell));
    const last = Math.min(num, Math.ceil((box.scrollTop + height - top) / cell));
    const gap = cell >= 7 ? 1 : 0;
    for (let row = first; row < last; row++) drawRow(row, gap, colour, width);
    if (shown) {
      pen.strokeStyle = colour("--ink");
      pen.lineWidth = 2;
      const size = Math.max(cell, 5);
      pen.strokeRect(xOf(place[shown[1]]) + (cell - size) / 2, yOf(place[shown[0]]) + (cell - size) / 2, size, size);
    }
    pen.restore();
    drawMargins(first, last, colour, width, height);
  }

  function drawRow(row, gap, colour, width) {
    const number = order[row];
    const cells = head.rows[number];
    const size = Math.max(cell - gap, Math.min(cell, 1.2), 1);
    const least = cell < 5 ? 0.35 : 0.12;
    if (gap) {
      pen.globalAlpha = 1;
      pen.fillStyle = colour("--panel");
      pen.fillRect(left, yOf(row) - 0.5, width, 1);
    }
    for (let i = 0; i < cells.length; i += 2) {
      const share = cells[i + 1] / head.total[number];
      const x = xOf(place[cells[i]]);
      // Single dots of a large matrix must be seen, too.
      pen.globalAlpha = least + (1 - least) * Math.sqrt(share);
      pen.fillStyle = colour(cells[i] === number ? "--right" : "--wrong");
      pen.fillRect(x, yOf(row), size, size);
      if (cell < 26) continue;
      pen.globalAlpha = 1;
      pen.fillStyle = colour(share > 0.3 ? "--panel" : "--ink");
      pen.font = labelFont;
      pen.textAlign = "center";
      pen.textBaseline = "middle";
      pen.fillText(grouped(cells[i + 1]), x + size / 2, yOf(row) + size / 2, size - 2);
    }
  }

  function drawMargins(first, last, colour, width, height) {
    pen.globalAlpha = 1;
    pen.font = labelFont;
    pen.textBaseline = "middle";
    pen.fillStyle = colour("--quiet");
    if (left === 20) {
      pen.textAlign = "left";
      pen.fillText("predicted \u2192", left, 9);
      pen.save();
      pen.translate(9, top);
      pen.rotate(-Math.PI / 2);
      pen.textAlign = "right";
      pen.fillText("\u2190 true", 0, 0);
      pen.restore();
      return;
    }
    pen.save();
    pen.beginPath();
    pen.rect(0, top, left, height - top);
    pen.clip();
    pen.textAlign = "right";
    for (let row = first; row < last; row++) pen.fillText(cut(head.labels[order[row]], left - 8), left - 6, yOf(row) + cell / 2);
    pen.restore();
    pen.save();
    pen.beginPath();
    pen.rect(left, 0, width - left, top);
    pen.clip();
    pen.textAlign = "left";
    const end = Math.min(num, Math.ceil((box.scrollLeft + width - left) / cell));
    for (let column = Math.max(0, Math.floor(box.scrollLeft / cell)); column < end; column++) {
      pen.save();
      pen.translate(xOf(column) + cell / 2, top - 5);
      pen.rotate(-Math.PI / 2);
      pen.fillText(cut(head.labels[order[column]], top - 8), 0, 0);
      pen.restore();
    }
    pen.restore();
  }

  function cut(label, room) {
    if (pen.measureText(label).width <= room) return label;
    let end = label.length;
    while (end > 1 && pen.measureText(label.slice(0, end) + "\u2026").width > room) end--;
    return label.slice(0, end) + "\u2026";
  }

  function show(pair) {
    shown = pair;
    tell();
    draw();
  }

  function tell() {
    if (!shown) {
      told.textContent = "Point at a cell to see what it counts; choose it to see which items.";
      told.classList.add("quiet");
      return;
    }
    const [actual, predicted] = shown;
    const [count, total] = [countIn(head, actual, predicted), head.total[actual]];
    const share = total ? ` of ${grouped(total)} (${percent(count / total)})` : "";
    told.classList.remove("quiet");
    told.replaceChildren(
      "True ", element("strong", { textContent: head.labels[actual] }),
      ", predicted ", element("strong", { textContent: head.labels[predicted] }),
      `: ${grouped(count)}${share}`,
    );
  }

  function pairAt(event) {
    const frame = canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - frame.left - left + box.scrollLeft) / cell);
    const row = Math.floor((event.clientY - frame.top - top + box.scrollTop) / cell);
    const isInside = row >= 0 && column >= 0 && row < num && column < num;
    return isInside && event.clientX >= frame.left + left && event.clientY >= frame.top + top ? [order[row], order[column]] : null;
  }

  /* Where to scroll so that a cell is seen: nowhere if it is, else so that it stands in the middle. */
  function brought(scroll, number, seen) {
    const isSeen = number * cell >= scroll && (number + 1) * cell <= scroll + seen;
    return isSeen ? scroll : (number + 0.5) * cell - seen / 2;
  }

  function pick(actual, predicted) {
    cursor = [actual, predicted];
    const [row, column] = [place[actual], place[predicted]];
    const [seenX, seenY] = [parseFloat(canvas.style.width) - left, parseFloat(canvas.style.height) - top];
    box.scrollLeft = brought(box.scrollLeft, column, seenX);
    box.scrollTop = brought(box.scrollTop, row, seenY);
    show(cursor);
    onCell(cursor, false);
  }

  function choose(pair) {
    show((cursor = pair));
    onCell(cursor, false);
  }

  function onKey(event) {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (event.key === "Escape") choose(null);
    if (cursor && (event.key === "Enter" || event.key === " ")) {
      event.preventDefault();
      onCell(cursor, true);
    }
    if (!step || event.ctrlKey || event.metaKey || event.altKey || !num) return;
    event.preventDefault();
    const held = (value) => Math.min(Math.max(value, 0), num - 1);
    const [row, column] = cursor ? [place[cursor[0]] + step[0], place[cursor[1]] + step[1]] : [0, 0];
    pick(order[held(row)], order[held(column)]);
  }

  function arrange(name) {
    order = ordered(head, name);
    order.forEach((number, at) => (place[number] = at));
    draw();
  }

  function setZoom(factor) {
    const [x, y] = [box.scrollLeft + box.clientWidth / 2, box.scrollTop + box.clientHeight / 2].map((at) => at / zoom);
    zoom = Math.min(Math.max(factor, 1), 64);
    root.querySelector(".zoom-out").disabled = root.querySelector(".zoom-fit").disabled = zoom === 1;
    measure();
    box.scrollLeft = x * zoom - box.clientWidth / 2;
    box.scrollTop = y * zoom - box.clientHeight / 2;
    if (cursor) pick(...cursor);
    draw();
  }

  arrange(Object.keys(orders)[0]);
  tell();
  setZoom(1);
  root.querySelector(".zoom-in").onclick = () => setZoom(zoom * 2);
  root.querySelector(".zoom-out").onclick = () => setZoom(zoom / 2);
  root.querySelector(".zoom-fit").onclick = () => setZoom(1);
  box.addEventListener("scroll", draw);
  box.addEventListener("keydown", onKey);
  box.addEventListener("pointermove", (event) => event.pointerType === "mouse" && show(pairAt(event) ?? cursor));
  box.addEventListener("pointerleave", () => show(cursor));
  box.addEventListener("click", (event) => choose(pairAt(event)));
  addEventListener("resize", measure);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  return { pick, arrange };
}
