// The charts with their controls: arms, quantities, and the values under the pointer.

const hidden = new Set(); // arms that are switched off in the charts
const placeOf = (cell) => JSON.stringify([cell.data, cell.student]);
/** True for a finished cell that has the suite's metric; without stored predictions it may lack one. */
const isMeasured = (cell) => cell.status === "done" && Number.isFinite(cell.accuracy);

const COSTS = [
  ["stages", "training, with its share of the stages it needs"],
  ["own", "its own training alone"],
  ["total", "all that, and the student's pre-training (est.)"],
];
const place = choice("data set, student", drawCharts);
const cost = choice("cost", drawCharts);
const quantity = choice("curve", drawCharts);
cost.offer(COSTS);
const legend = h("fieldset", { class: "legend" });
const scatterHost = h("div", { class: "chart" });
const scatterValues = h("p", { class: "readout", role: "status" });
const scatterNote = h("p", { class: "notes" });
const curveHost = h("div", { class: "chart" });
const epoch = h("input", { type: "range", input: () => showEpoch(Number(epoch.value)) });
const epochLabel = h("label", { class: "choice" }, "epoch", epoch);
const curveValues = h("ul", { class: "values" });
const chartsTitle = h("h2", {});
const scatterTitle = h("h3", {});
const charts = h(
  "section",
  { id: "charts" },
  chartsTitle,
  h("div", { class: "tools" }, place.node),
  legend,
  h(
    "div",
    { class: "pair" },
    h(
      "section",
      {},
      scatterTitle,
      h("div", { class: "tools" }, cost.node),
      scatterHost,
      scatterValues,
      scatterNote,
    ),
    h(
      "section",
      {},
      h("h3", {}, "Learning curves"),
      h("div", { class: "tools" }, quantity.node, epochLabel),
      curveHost,
      curveValues,
    ),
  ),
);

const arms = () => [...new Set(content.cells.map((cell) => cell.row))];
const visibleArms = () => [...new Set(visibleCells().map((cell) => cell.row))];

function drawLegend() {
  const shown = new Set(visibleArms());
  const boxes = [...arms().entries()].filter(([, arm]) => shown.has(arm)).map(([number, arm]) => {
    const box = h("input", {
      type: "checkbox",
      checked: !hidden.has(arm),
      change: () => {
        if (box.checked) hidden.delete(arm);
        else hidden.add(arm);
        drawCharts();
      },
    });
    return [
      box,
      h(
        "label",
        {},
        box,
        s("svg", { viewBox: "-8 -8 16 16", width: 16, height: 16, "aria-hidden": "true" }, marker(number)),
        arm,
      ),
    ];
  });
  const all = (on) =>
    h(
      "button",
      {
        type: "button",
        click: () => {
          boxes.forEach(([box]) => {
            box.checked = on;
          });
          arms().forEach((arm) => (on ? hidden.delete(arm) : hidden.add(arm)));
          drawCharts();
        },
      },
      on ? "all" : "none",
    );
  legend.replaceChildren(
    h("legend", {}, "Arms"),
    h(
      "div",
      { class: "arms" },
      boxes.map(([, label]) => label),
    ),
    h("div", { class: "tools" }, all(true), all(false)),
  );
}

/** The cells that the charts show, by arm with the arm's number. */
function chosen() {
  const here = visibleCells().filter((cell) => placeOf(cell) === place.value());
  const numbers = new Map(arms().map((arm, number) => [arm, number]));
  return [...grouped(here, (cell) => cell.row)]
    .filter(([arm]) => !hidden.has(arm))
    .map(([name, cells]) => ({ name, number: numbers.get(name), cells }));
}

/** GPU-hours or CPU-hours; device-hours where there are both. */
function unitOf(cells) {
  const units = new Set(cells.map((cell) => cell.unit).filter(Boolean));
  return units.size === 1 ? [...units][0] : "device-hours";
}

function costOf(cell) {
  if (cost.value() === "own") return cell.own;
  if (cost.value() === "stages") return cell.own + cell.shared;
  return cell.pretraining === undefined ? null : cell.own + cell.shared + cell.pretraining;
}

const emptied = (host, text) => host.replaceChildren(h("p", { class: "empty" }, text));

function drawScatter() {
  const measure = content.measure === "accuracy" ? "Accuracy" : content.measure;
  chartsTitle.textContent = `${measure}, cost and learning`;
  scatterTitle.textContent = `${measure} against cost`;
  const groups = chosen()
    .map((group) => ({ ...group, cells: group.cells.filter(isMeasured) }))
    .filter((group) => group.cells.length);
  const known = groups.filter((group) => group.cells.every((cell) => costOf(cell) > 0));
  const missing = groups.filter((group) => !known.includes(group)).map((group) => group.name);
  scatterNote.textContent = missing.length ? `Not drawn, since the cost is not known: ${missing.join("; ")}.` : "";
  scatterValues.textContent =
    "Small marks are single runs, large ones means; the line is the Pareto front of the means. Point at a mean for its values; it leads to its runs.";
  if (!known.length) return emptied(scatterHost, "No run to draw yet.");
  const drawn = known.map(({ name, number, cells }) => {
    const runs = cells.map((cell) => ({ x: costOf(cell), y: 100 * cell.accuracy }));
    const ys = runs.map((run) => run.y);
    return {
      name,
      number,
      runs,
      x: mean(runs.map((run) => run.x)),
      y: mean(ys),
      spread: deviation(ys),
      n: runs.length,
      cell: cells[0],
    };
  });
  const unit = unitOf(known.flatMap((group) => group.cells));
  const open = ({ cell }) => {
    const labels = [cell.row, cell.data, cell.student];
    cellTable.only(labels.join(", "), (row) => labels.every((label, column) => row[column].text === label));
  };
  const tell = (text) => {
    scatterValues.textContent = text;
  };
  return redrawn(scatterHost, () =>
    scatterHost.replaceChildren(scatter(drawn, scatterHost.clientWidth, `${unit} of one run`, unit, content.measure, tell, open)),
  );
}

let lines = []; // the series that are drawn
let rule = () => {};

function drawCurves() {
  const groups = chosen().map((group) => ({
    ...group,
    own: group.cells.map((cell) => content.stages[cell.stage].curve),
  }));
  quantity.offer(quantitiesOf(groups.flatMap((group) => group.own)).map((name) => [name, quantityLabel(name)]));
  lines = groups
    .map(({ name, number, own }) => ({ name, number, points: merged(own, quantity.value()) }))
    .filter((line) => line.points.length);
  epochLabel.hidden = !lines.length;
  curveValues.replaceChildren();
  if (!lines.length) return emptied(curveHost, "No curve to draw yet.");
  const label = quantityLabel(quantity.value());
  const drawn = curves(lines, curveHost.clientWidth, label, (at) => {
    epoch.value = at;
    showEpoch(at);
  });
  curveHost.replaceChildren(drawn.svg);
  rule = drawn.at;
  const epochs = lines.flatMap((line) => line.points.map((point) => point.x));
  const atEnd = epoch.max === "" || epoch.value === epoch.max;
  [epoch.min, epoch.max] = [Math.min(...epochs), Math.max(...epochs)];
  if (atEnd) epoch.value = epoch.max;
  return showEpoch(Number(epoch.value));
}

/** The values of every line at the epoch it has nearest to this one. */
function showEpoch(at) {
  rule(at);
  const items = lines.map((line) => {
    const point = line.points.reduce((best, each) => (Math.abs(each.x - at) < Math.abs(best.x - at) ? each : best));
    const range = point.low < point.high ? ` (${amount(point.low)} to ${amount(point.high)})` : "";
    const where = point.x === at ? "" : ` at epoch ${point.x}`;
    return h(
      "li",
      {},
      s("svg", { viewBox: "-8 -8 16 16", width: 14, height: 14, "aria-hidden": "true" }, marker(line.number)),
      h("span", {}, line.name),
      h("span", { class: "value" }, `${amount(point.y)}${range}${where}`),
    );
  });
  epoch.setAttribute("aria-valuetext", `epoch ${at}`);
  curveValues.replaceChildren(h("li", { class: "at" }, `Epoch ${at}`), ...items);
}

function drawCharts() {
  place.offer([...grouped(visibleCells(), placeOf)].map(([value, [cell]]) => [value, `${cell.data}, ${cell.student}`]));
  drawScatter();
  drawCurves();
}
