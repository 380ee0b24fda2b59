// Another report beside this one: its file is read in the browser, and its means stand beside those of this page.

const comparison = tableView();
const compareNote = h("p", { class: "notes", role: "status" });
const compareFile = h("input", { type: "file", accept: ".html", change: () => readOther(compareFile.files[0]) });
const compareSection = h(
  "section",
  { id: "compare" },
  h("h2", {}, "Beside another report"),
  h("div", { class: "tools" }, h("label", { class: "choice" }, "another report.html", compareFile)),
  compareNote,
  comparison.node,
);
comparison.node.hidden = true;
let other = null; // the content of the other report

// Escaped: this stands in a script itself, which a parser of HTML would take to end here.
const [START, END] = ['\u003cscript type="application/json" id="data">', "\u003c/script>"];

async function readOther(file) {
  other = null;
  try {
    const text = await file.text();
    const from = text.indexOf(START);
    const read = JSON.parse(text.slice(from + START.length, text.indexOf(END, from)));
    if (from < 0 || !Array.isArray(read.cells)) throw new Error("it has no cells");
    other = read;
    compareNote.textContent = `${file.name}: ${read.suite}, suite key ${read.key}. Differences of means are not tested here; benchbench compare does that.`;
  } catch {
    compareNote.textContent = `${file ? file.name : "That"} is no report of BenchBench: choose a report.html.`;
  }
  drawComparison();
}

const groupOf = (cell) => JSON.stringify([cell.row, cell.data, cell.student]);
const hoursOf = (cell) => (cell.own === undefined ? null : cell.own + (cell.shared ?? 0));

/** Mean accuracy (%) and hours of the finished runs of one arm; null where there is none. */
function meansOf(cells) {
  const done = (cells ?? []).filter(isMeasured);
  if (!done.length) return null;
  const hours = done.map(hoursOf);
  return {
    accuracy: mean(done.map((cell) => 100 * cell.accuracy)),
    spread: deviation(done.map((cell) => 100 * cell.accuracy)),
    n: done.length,
    hours: hours.every(Number.isFinite) ? mean(hours) : null,
  };
}

function drawComparison() {
  comparison.node.hidden = other === null;
  if (other === null) return;
  const here = grouped(visibleCells(), groupOf);
  const there = grouped(other.cells.filter(isVisible), groupOf);
  const score = (means) => ({
    text: means
      ? `${means.accuracy.toFixed(1)}${means.spread === null ? "" : ` ± ${means.spread.toFixed(1)}`} (n=${means.n})`
      : "–",
    value: means ? means.accuracy : null,
  });
  const hours = (means) => ({ text: amount(means?.hours), value: means?.hours ?? null });
  const rows = [...new Set([...here.keys(), ...there.keys()])].map((group) => {
    const [one, two] = [meansOf(here.get(group)), meansOf(there.get(group))];
    const difference = one && two ? two.accuracy - one.accuracy : null;
    const shown = difference === null ? "–" : `${difference < 0 ? "-" : "+"}${Math.abs(difference).toFixed(1)}`;
    const labels = JSON.parse(group).map((text) => ({ text: String(text) }));
    return [...labels, score(one), score(two), { text: shown, value: difference }, hours(one), hours(two)];
  });
  const [unit, otherUnit] = [unitOf(content.cells), unitOf(other.cells)];
  comparison.update({
    title: `This report and ${other.suite}`,
    columns: [
      ...["arm", "data set", "student", "here (%)", "there (%)", "there - here (points)"],
      ...[`${unit}, here`, `${otherUnit}, there`],
    ],
    labels: 3,
    notes: ["Means and standard deviations of finished runs; hours of one run with its share of the stages it needs."],
    rows,
  });
}
