// The page: its parts, filled from the data in the document, and from newer data where it is live.

let content = JSON.parse(document.getElementById("data").textContent);
const views = new Map(); // tables by name
const dialog = stageDialog(() => content);

const tables = h("div");

function drawTables() {
  const nodes = content.tables.map((table, place) => {
    const name = `${place} ${table.name}`; // two plugins may give their tables one name
    if (!views.has(name)) views.set(name, tableView());
    views.get(name).update(filteredTable(table));
    return views.get(name).node;
  });
  const same =
    nodes.length === tables.childElementCount && nodes.every((node, place) => node === tables.children[place]);
  if (!same) tables.replaceChildren(...nodes);
}

const cellTable = tableView();

function drawCells() {
  const shares = (share) => ({ text: percent(share), value: share ?? null });
  const amounts = (hours) => ({ text: amount(hours), value: hours ?? null });
  cellTable.update({
    title: "Cells",
    untitled: true,
    columns: [
      "arm",
      "data set",
      "student",
      "seed",
      "status",
      `${content.measure} (%)`,
      "validation (%)",
      `${unitOf(content.cells)}, own`,
      "with stages",
    ],
    labels: 3,
    notes: [
      "An arm's name opens all that is known of the cell: curve, recipe, loss, costs, the stages it needs, environment, log.",
      "own: as if it had trained alone; with stages: and its share of the teachers, of what they say of the images, and of tuning.",
    ],
    rows: visibleCells().map((cell) => [
      { text: cell.row, key: cell.stage, open: () => dialog.show(cell.stage) },
      { text: cell.data },
      { text: cell.student },
      { text: String(cell.seed), value: cell.seed },
      { text: stateText(cell.status), tone: toneOf(cell.status) },
      shares(cell.accuracy),
      shares(cell.validation),
      amounts(cell.own),
      amounts(cell.own === undefined ? undefined : cell.own + cell.shared),
    ]),
  });
}

const about = h("section", { id: "about" });

function drawAbout() {
  const made = h(
    "p",
    {},
    `BenchBench ${content.version}; the same tables in every format: `,
    h("code", {}, content.command),
  );
  about.replaceChildren(h("h2", {}, "About this page"), made, ...content.left_out.map((text) => h("p", {}, text)));
}

function draw() {
  drawHead();
  drawFilters();
  drawNav();
  whenNew("summary", content.summary, drawSummary);
  drawRunning();
  whenNew(
    "failures",
    content.cells.filter((cell) => cell.status === "failed"),
    drawFailures,
  );
  drawTables();
  whenNew("legend", [arms(), visibleArms()], drawLegend);
  whenNew(
    "charts",
    visibleCells().map((cell) => [cell, content.stages[cell.stage].curve]),
    drawCharts,
  );
  drawCells();
  drawComparison();
  drawAbout();
  dialog.update();
}

const links = [
  ["charts", "Charts"],
  ["summary", "Summary"],
  ["tables", "Tables"],
  ["cells", "Cells"],
  ["compare", "Compare"],
  ["about", "About"],
];
const nav = h(
  "nav",
  { "aria-label": "Sections" },
  links.map(([, text]) => h("a", {}, text)),
);

/** Links to the sections, which keep the filters. */
function drawNav() {
  links.forEach(([id], place) => nav.children[place].setAttribute("href", addressOf(id)));
}

document.body.append(
  h("header", { class: "top" }, heading, counts, facing, connection, nav),
  h(
    "main",
    {},
    answer,
    running,
    filterBar,
    charts,
    failures,
    headline,
    h("section", { id: "tables" }, h("h2", {}, "Tables"), tables),
    h("section", { id: "cells" }, h("h2", {}, "Cells"), cellTable.node),
    compareSection,
    about,
  ),
  dialog.node,
);
drawFilters();
const section = readAddress();
draw();
if (address().wanted.size) document.getElementById(section)?.scrollIntoView(); // a browser looks for the whole of it

let width = document.documentElement.clientWidth;
window.addEventListener("resize", () => {
  if (document.documentElement.clientWidth === width) return;
  width = document.documentElement.clientWidth;
  drawCharts();
  dialog.resize();
});

function say(text) {
  if (connection.textContent !== text) connection.textContent = text; // a screen reader reads each change
}

const EVERY = 2000; // milliseconds between two questions for newer data
let version = null;

async function poll() {
  try {
    const answer = await fetch("data.json", { cache: "no-cache" });
    if (!answer.ok) throw new Error(answer.statusText);
    if (answer.headers.get("ETag") !== version) {
      content = await answer.json();
      version = answer.headers.get("ETag");
      draw();
    }
    say(content.active ? "Live: a run is using this store." : "Live: no run is using this store now.");
  } catch {
    say("benchbench watch has ended or cannot be reached; this is the last that it said.");
  }
  drawRunning();
  setTimeout(poll, EVERY);
}

if (content.live) poll();
