// Tables: sorted by a column (numbers as numbers), filtered by words, drawn a few hundred rows at a time.

const ROWS = 200;
const BRIEF = 16; // characters of a label that is not wrapped
const LONG = 30; // of one that gets room
const NUMBER = /^[<>≤≥~≈]?\s*([+\-−]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?)(?![\w.])/i;

/** The number that a text begins with, as in "65.3 ± 0.1 (n=2)"; null for "failed", "–", "n/a". */
function leading(text) {
  const found = NUMBER.exec(text.trim());
  return found ? Number(found[1].replaceAll(",", "").replace("−", "-")) : null;
}

/**
 * A table with a filter. Entries are {text, bold, value, tone, open}: `value` is what it is sorted by if not its text,
 * `open` makes it a button. Numbers from column `bars` on are in %, and have a bar of that length below them.
 */
function tableView() {
  const order = { column: null, direction: 1 };
  let table = { columns: [], rows: [], labels: 1, notes: [] };
  let limit = ROWS;
  let kept = null; // {text, test}: only these rows, until something is typed
  let lengths = []; // of the longest text of each column
  const title = h("h3");
  const typed = () => {
    kept = null;
    draw();
  };
  const words = h("input", { type: "search", input: typed, placeholder: "filter rows", autocomplete: "off" });
  const count = h("span", { class: "count", role: "status" });
  const head = h("thead");
  const body = h("tbody");
  const caption = h("caption", { class: "unseen" });
  const scroller = h("div", { class: "scroller", tabindex: 0, role: "region" }, h("table", {}, caption, head, body));
  const more = h("button", {
    type: "button",
    class: "more",
    click: () => {
      if (!kept) limit = Infinity;
      kept = null;
      draw();
    },
  });
  const notes = h("ul", { class: "notes" });
  const node = h(
    "section",
    { class: "table" },
    title,
    h("div", { class: "tools" }, words, count),
    scroller,
    more,
    notes,
  );

  const worth = (entry) => (entry.value !== undefined ? entry.value : leading(entry.text));

  /** Numbers where most of what is filled in is a number, else texts. A label that holds a digit is a text. */
  function keyOf(column) {
    const entries = table.rows.map((row) => row[column]).filter((entry) => !/^(–|n\/a|failed|)$/.test(entry.text));
    const isNumber = (entry) =>
      worth(entry) !== null && (column >= table.labels || entry.value !== undefined || /^[\d.,]+$/.test(entry.text));
    return entries.length && entries.filter(isNumber).length * 2 > entries.length ? worth : (entry) => entry.text;
  }

  function sorted(rows) {
    if (order.column === null || order.column >= table.columns.length) return rows;
    const key = keyOf(order.column);
    return rows.toSorted((a, b) => {
      const [one, two] = [key(a[order.column]), key(b[order.column])];
      if (one === null || two === null) return (one === null) - (two === null); // what is no number comes last
      const compared = typeof one === "number" ? one - two : one.localeCompare(two, "en", { numeric: true });
      return order.direction * compared;
    });
  }

  function sort(column) {
    if (order.column !== column) Object.assign(order, { column, direction: 1 });
    else if (order.direction === 1) order.direction = -1;
    else order.column = null;
    draw();
  }

  /** Labels are wrapped unless they are brief; the column with the longest of them gets room if it needs it. */
  function labelClass(column) {
    if (column >= table.labels) return false;
    if (lengths[column] <= BRIEF) return "label brief";
    return lengths[column] > LONG && lengths[column] === Math.max(...lengths) ? "label long" : "label";
  }

  function heading(text, column) {
    const state = order.column !== column ? "none" : order.direction === 1 ? "ascending" : "descending";
    const mark = h(
      "span",
      { class: "mark", "aria-hidden": "true" },
      { none: "↕", ascending: "▲", descending: "▼" }[state],
    );
    const button = h("button", { type: "button", "data-key": `sort ${column}`, click: () => sort(column) }, text, mark);
    return h("th", { scope: "col", "aria-sort": state, class: labelClass(column) }, button);
  }

  function cell(entry, column) {
    const tone = entry.tone && `tone ${entry.tone}`;
    const text = entry.bold ? h("strong", {}, entry.text) : tone ? h("span", { class: tone }, entry.text) : entry.text;
    const shown = entry.open
      ? h("button", { type: "button", class: "open", "data-key": `open ${entry.key}`, click: entry.open }, text)
      : text;
    if (column === 0 && table.labels) return h("th", { scope: "row", class: labelClass(column) }, shown);
    const share = column >= (table.bars ?? Infinity) ? leading(entry.text) : null;
    const bar = share === null ? [] : [h("progress", { max: 100, value: share, "aria-hidden": "true" })];
    return h("td", { class: labelClass(column) }, shown, ...bar);
  }

  function draw() {
    redrawn(node, () => {
      const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
      const matches = (row) => {
        const texts = row.map((entry) => entry.text.toLowerCase());
        return wanted.every((word) => texts.some((text) => text.includes(word)));
      };
      const found = table.rows.filter(kept ? kept.test : matches);
      head.replaceChildren(h("tr", {}, table.columns.map(heading)));
      body.replaceChildren(
        ...sorted(found)
          .slice(0, limit)
          .map((row) => h("tr", {}, row.map(cell))),
      );
      const shown = Math.min(limit, found.length);
      const which = kept ? `: ${kept.text}` : "";
      count.textContent = shown < table.rows.length ? `${shown} of ${table.rows.length} rows${which}` : "";
      more.hidden = shown === found.length && !kept;
      more.textContent = kept ? "Show the other rows again" : `Show all ${found.length} rows`;
    });
  }

  return {
    node,
    /** Shows the rows that pass a test, and says which in words. */
    only(text, test) {
      words.value = "";
      kept = { text, test };
      draw();
      words.scrollIntoView({ block: "start" });
      words.focus({ preventScroll: true });
    },
    update(next) {
      if (JSON.stringify(next) === JSON.stringify(table)) return;
      table = next;
      lengths = table.columns
        .slice(0, table.labels)
        .map((_, column) => Math.max(0, ...table.rows.map((row) => row[column].text.length)));
      title.textContent = caption.textContent = table.title;
      title.hidden = Boolean(table.untitled); // where a heading above says it
      words.setAttribute("aria-label", `Filter: ${table.title}`);
      scroller.setAttribute("aria-label", table.title);
      notes.replaceChildren(...table.notes.map((note) => h("li", {}, note)));
      draw();
    },
  };
}
