// Filters by data set, student and teacher, kept in the address: report.html#cells?data=cifar&student=small. Whoever
// opens that address sees the same cells.

const FILTERS = [
  ["data", "data set"],
  ["student", "student"],
  ["teacher", "teacher"],
];
const filters = new Map(FILTERS.map(([name, label]) => [name, choice(label, filtered)]));
const filterNote = h("span", { class: "count", role: "status" });
const filterBar = h(
  "section",
  { class: "filters tools", "aria-label": "Filters" },
  [...filters.values()].map((each) => each.node),
  filterNote,
);

/** The section and the filters that an address names. */
function address() {
  const [section, query = ""] = location.hash.slice(1).split(/\?(.*)/s);
  return { section, wanted: new URLSearchParams(query) };
}

/** An address of a section with the filters that are set. */
function addressOf(section) {
  const set = new URLSearchParams([...filters].map(([name, each]) => [name, each.value()]).filter(([, value]) => value));
  return set.size ? `#${section}?${set}` : `#${section}`;
}

/** Offers what there is to choose from; a choice is hidden where there is one data set, student or teacher. */
function drawFilters() {
  for (const [name, each] of filters) {
    const values = [...new Set(content.cells.map((cell) => cell[name]).filter(Boolean))];
    const options = values.length > 1 ? values.map((value) => [value, value]) : [];
    each.offer([["", "all"], ...options]);
  }
  const [shown, all] = [visibleCells().length, content.cells.length];
  filterNote.textContent = shown < all ? `${shown} of ${all} cells; arms without a teacher stay` : "";
  filterBar.hidden = [...filters.values()].every((each) => each.node.hidden);
}

/** Sets the filters that an address names; those that are no choice here are left aside. */
function readAddress() {
  const { section, wanted } = address();
  for (const [name, each] of filters) each.set(wanted.get(name) ?? "");
  return section;
}

const matches = (name, value) => !value || !filters.get(name).value() || filters.get(name).value() === value;
const isVisible = (cell) => FILTERS.every(([name]) => matches(name, cell[name]));
const visibleCells = () => content.cells.filter(isVisible);

/** A table without the rows and columns of what is filtered out. */
function filteredTable(table) {
  const cells = visibleCells();
  if (cells.length === content.cells.length) return table;
  const names = (key) => [new Set(content.cells.map(key)), new Set(cells.map(key))];
  const [allArms, arms] = names((cell) => cell.row);
  const [allPlaces, places] = names((cell) => `${cell.data}, ${cell.student}`);
  const kept = (title, text) => {
    if (title === "arm") return !allArms.has(text) || arms.has(text);
    const found = FILTERS.find(([name, label]) => title === name || title === label);
    return !found || matches(found[0], text);
  };
  const columns = table.columns.map((title, column) => column < table.labels || !allPlaces.has(title) || places.has(title));
  return {
    ...table,
    columns: table.columns.filter((_, column) => columns[column]),
    rows: table.rows
      .filter((row) => row.slice(0, table.labels).every((entry, column) => kept(table.columns[column], entry.text)))
      .map((row) => row.filter((_, column) => columns[column])),
  };
}

function filtered() {
  history.replaceState(null, "", addressOf(address().section));
  draw();
}

window.addEventListener("hashchange", () => {
  const section = readAddress();
  draw();
  document.getElementById(section)?.scrollIntoView();
});
