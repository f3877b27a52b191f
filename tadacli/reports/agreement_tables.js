/* How far machine, person and truth agree, as tables. It goes on from agreement.js. */

const tables = new Map(); // by what is compared
const spanOfState = ({ start, end, label }) => ({ start, end, label });

/* What there is to compare: a key, the two names, and the labels of both. */
function comparisons() {
  const machine = ["Machine", book.made.map(({ row }) => spanOfState(stateOfRow(row)))];
  const corrected = ["Corrected", entries.filter(isStanding).map(({ state }) => spanOfState(state))];
  const isCorrected = entries.some(isTouched);
  const found = [];
  if (truth) found.push([machine, ["Truth", truth]]);
  if (isCorrected) found.push([machine, corrected]);
  if (truth && isCorrected) found.push([corrected, ["Truth", truth]]);
  return found;
}

function tableOf(names) {
  const heads = ["Label", "Kappa", "F1", ...names].map((textContent) => element("th", { scope: "col", textContent }));
  const body = element("tbody");
  const caption = element("caption", { textContent: `${names[0]} and ${names[1].toLowerCase()}` });
  const table = element("table", { className: "budget" }, caption, element("thead", {}, element("tr", {}, ...heads)), body);
  byId("agreement-tables").append(table);
  return { table, body, rows: new Map() };
}

function showComparison({ body, rows }, { overall, byLabel: found }) {
  const all = [["", overall], ...found];
  const shown = new Set(found.keys());
  for (const [label, { kappa, f1, numFirst, numSecond }] of all) {
    if (!rows.has(label)) {
      const number = label === "" ? -1 : classes.findIndex((each) => each.label === label);
      const head = element("th", { scope: "row" }, ...(label === "" ? ["All labels"] : [chip(), label]));
      const cells = ["", "", "", ""].map(() => element("td"));
      const row = element("tr", {}, head, ...cells);
      if (number >= 0) paint(row, number);
      rows.set(label, { row, cells });
      body.append(row);
    }
    const texts = [kappa, f1].map((value) => (value === null ? "\u2013" : value.toFixed(2)));
    [...texts, grouped(numFirst), grouped(numSecond)].forEach((text, i) => {
      const cell = rows.get(label).cells[i];
      if (cell.textContent !== text) cell.textContent = text;
    });
  }
  for (const [label, { row }] of rows) if (label !== "" && row.hidden !== !shown.has(label)) row.hidden = !shown.has(label);
}

function showAgreement() {
  const compared = comparisons();
  const keys = new Set();
  for (const [[one, first], [other, second]] of compared) {
    const key = `${one} ${other}`;
    keys.add(key);
    if (!tables.has(key)) tables.set(key, tableOf([one, other]));
    showComparison(tables.get(key), agreementOf(first, second, data.start, data.end));
  }
  for (const [key, { table }] of tables) if (table.hidden === keys.has(key)) table.hidden = !keys.has(key);
  const isEmpty = !compared.length && !data.truth;
  if (byId("agreement").hidden !== isEmpty) byId("agreement").hidden = isEmpty;
}

function startAgreement() {
  byId("agreement").open = Boolean(truth);
  const words = `Kappa is Cohen\u2019s, on a grid of ${STEP_SECONDS} s; of all labels together, two instants are the same where the same labels hold. F1 counts segments as the same from a tIoU of ${TIOU} on. The machine is as the thresholds say.`;
  const missing = data.truth && !truth ? `${data.truth.name} has no labels for this video. ` : "";
  byId("agreement-words").textContent = missing + words;
  whenChanged.push(showAgreement);
  showAgreement();
}
