/* How much of the video each label takes: count, total, share and mean. It goes on from detection_page.js. */

const budgetRows = new Map(); // by class

/* Seconds that are in any of the spans. */
function union(spans) {
  let total = 0;
  let until = -Infinity;
  for (const { start, end } of spans.sort((a, b) => a.start - b.start)) {
    total += Math.max(0, end - Math.max(start, until));
    until = Math.max(until, end);
  }
  return total;
}

function showBudget() {
  const spans = classes.map(() => []);
  for (const each of segments) if (isThere(each)) spans[each.class].push(each);
  classes.forEach(({ label }, number) => {
    if (!spans[number].length && !budgetRows.has(number)) return;
    if (!budgetRows.has(number)) {
      const cells = ["", "", "", ""].map(() => element("td"));
      const row = element("tr", {}, element("th", { scope: "row" }, chip(), label), ...cells);
      budgetRows.set(number, { row: paint(row, number), cells });
      byId("budget-rows").append(row);
    }
    const { row, cells } = budgetRows.get(number);
    const count = spans[number].length;
    const total = union(spans[number]);
    const lengths = spans[number].reduce((sum, each) => sum + each.end - each.start, 0);
    const texts = [grouped(count), clock(total), `${((100 * total) / length).toFixed(1)} %`, count ? clock(lengths / count) : "\u2013"];
    texts.forEach((text, i) => {
      if (cells[i].textContent !== text) cells[i].textContent = text;
    });
    if (row.hidden !== !count) row.hidden = !count;
  });
  const isEmpty = !numKept();
  if (byId("budget").hidden !== isEmpty) byId("budget").hidden = isEmpty;
}

whenChanged.push(showBudget);
showBudget();
