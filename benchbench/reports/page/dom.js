// Nodes, texts and numbers: what the other parts are made of. A string becomes a text node, never markup.

const SVG = "http://www.w3.org/2000/svg";

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== false && value !== null && value !== undefined) {
      node.setAttribute(name, value === true ? "" : value);
    }
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

/** An HTML element; functions among its attributes are listeners. */
const h = (name, attributes = {}, ...children) => filled(document.createElement(name), attributes, children);

/** An SVG element. */
const s = (name, attributes = {}, ...children) => filled(document.createElementNS(SVG, name), attributes, children);

/** Three significant digits; null is a dash. */
function amount(value) {
  if (value === null || value === undefined) return "–";
  if (value !== 0 && (Math.abs(value) < 1e-4 || Math.abs(value) >= 1e7)) return value.toExponential(2);
  const digits = value === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

const percent = (share) => (share === null || share === undefined ? "–" : (100 * share).toFixed(1));

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Standard deviation (n - 1); null for a single value. */
function deviation(values) {
  if (values.length < 2) return null;
  const middle = mean(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1));
}

/** The values under each key, in the order of their first appearance. */
function grouped(values, key) {
  const groups = new Map();
  for (const value of values) {
    const name = key(value);
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(value);
  }
  return groups;
}

/** Draws a part of the page anew; the focus stays on the element with the same data-key. */
function redrawn(part, draw) {
  const focused = part.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  draw();
  if (focused === undefined) return;
  const again = [...part.querySelectorAll("[data-key]")].find((node) => node.dataset.key === focused);
  if (again) again.focus({ preventScroll: true });
}

const known = new Map();

/** Draws a part of the page only where what it shows is new: an open list or a selection outlives the others' news. */
function whenNew(part, value, draw) {
  const text = JSON.stringify(value);
  if (known.get(part) === text) return;
  known.set(part, text);
  draw();
}

/** A labelled <select>; it keeps its choice when its options are renewed, and hides where there is no choice. */
function choice(label, changed) {
  const select = h("select", { change: changed });
  const node = h("label", { class: "choice" }, label, select);
  return {
    node,
    value: () => select.value,
    /** Takes an option, if there is such a one, else the first. */
    set(value) {
      const there = [...select.options].some((option) => option.value === value);
      select.value = there ? value : (select.options[0]?.value ?? "");
    },
    offer(options) {
      whenNew(select, options, () => {
        const kept = select.value;
        select.replaceChildren(...options.map(([value, text]) => h("option", { value }, text)));
        if (options.some(([value]) => value === kept)) select.value = kept;
        node.hidden = options.length < 2;
      });
    },
  };
}

/** Nested values as lists of terms. */
function facts(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "number" && !Number.isInteger(value)) return String(Number(value.toPrecision(6)));
  if (typeof value !== "object") return String(value);
  const entries = Object.entries(value);
  if (!entries.length) return "none";
  if (Array.isArray(value) && value.every((part) => typeof part !== "object")) return value.join(", ");
  return h(
    "dl",
    {},
    entries.map(([name, part]) =>
      h("div", {}, h("dt", {}, Array.isArray(value) ? `${Number(name) + 1}` : name), h("dd", {}, facts(part))),
    ),
  );
}
