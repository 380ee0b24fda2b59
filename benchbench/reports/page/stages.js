// One stage in full, in a dialog: state, curve, settings, costs, environment, log, and the stages it needs.

const QUANTITIES = ["validation_accuracy", "train_accuracy", "loss"];
const isAccuracy = (name) => name.endsWith("accuracy");
const quantityLabel = (name) => name.replaceAll("_", " ") + (isAccuracy(name) ? " (%)" : "");
const OPEN = ["Result", "Cost", "Loss"];

/** Quantities of a list of curves, the most important first. */
function quantitiesOf(curves) {
  const names = new Set(curves.flatMap((curve) => Object.keys(curve)));
  names.delete("epoch");
  return [...QUANTITIES.filter((name) => names.delete(name)), ...names];
}

/** Curves of several seeds as one: mean, lowest and highest at each epoch. */
function merged(curves, quantity) {
  const factor = isAccuracy(quantity) ? 100 : 1;
  const at = new Map();
  for (const curve of curves) {
    (curve[quantity] || []).forEach((value, place) => {
      const epoch = curve.epoch[place];
      if (value !== null) at.set(epoch, [...(at.get(epoch) || []), factor * value]);
    });
  }
  return [...at]
    .sort(([a], [b]) => a - b)
    .map(([x, values]) => ({ x, y: mean(values), low: Math.min(...values), high: Math.max(...values) }));
}

const elapsed = (stage) => {
  const seconds = Math.max(0, Math.round(Date.now() / 1000 - stage.started));
  const [minutes, hours] = [Math.floor(seconds / 60) % 60, Math.floor(seconds / 3600)];
  return `${hours}:${String(minutes).padStart(2, "0")}:${String(seconds % 60).padStart(2, "0")}`;
};

const SILENT = 120; // seconds without a step from which on the page says so

/** How long a running stage has taken no step, in words; empty where that is not long. */
function silence(stage) {
  const since = stage.last_step ?? stage.started;
  const minutes = Math.floor((Date.now() / 1000 - since) / 60);
  if (!since || 60 * minutes < SILENT) return "";
  return `no step for ${minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`}`;
}

/** Numbers of test images, or pixels, by class (rows) and predicted class (columns); those on the diagonal are right. */
function confusion({ classes, counts, of }) {
  const head = h("tr", {}, h("th", { scope: "col" }, "class"), ...classes.map((name) => h("th", { scope: "col" }, name)));
  const rows = counts.map((row, label) => {
    const cells = row.map((count, predicted) =>
      h("td", { class: predicted === label ? "right" : count === 0 ? "none" : false }, String(count)),
    );
    return h("tr", {}, h("th", { scope: "row" }, classes[label]), ...cells);
  });
  const title = `${of === "pixels" ? "Pixels of the test images" : "Test images"} by class (rows) and predicted class (columns)`;
  return h(
    "div",
    { class: "scroller", tabindex: 0, role: "region", "aria-label": title },
    h("table", { class: "confusion" }, h("caption", {}, title), h("thead", {}, head), h("tbody", {}, rows)),
  );
}

/** The dialog of stages; `content()` gives the page's data of the moment. */
function stageDialog(content) {
  const heading = h("h2", { id: "stage-name" });
  const close = h("button", { type: "button", class: "close", click: () => dialog.close() }, "Close");
  const body = h("div", { class: "body" });
  const dialog = h(
    "dialog",
    {
      "aria-labelledby": "stage-name",
      close: () => {
        shown = null;
      },
      click: (event) => event.target === dialog && dialog.close(), // on what is around it
    },
    h("header", {}, heading, close),
    body,
  );
  const openFolds = new Map(); // by part of the dialog
  let shown = null;
  let drawn = "";

  /** A part that folds, and stays as it was left when it is drawn anew. */
  function fold(stage, title, open, draw) {
    const place = JSON.stringify([shown, stage.label, title]);
    const details = h("details", { open: openFolds.get(place) ?? open }, h("summary", {}, title));
    const filled = () => details.open && details.childElementCount === 1 && details.append(...draw());
    details.addEventListener("toggle", () => openFolds.set(place, details.open) && filled());
    filled();
    return details;
  }

  function sections(stage) {
    return Object.entries(stage.sections).map(([title, place]) =>
      fold(stage, title, OPEN.includes(title), () => [facts(content().pool[place])]),
    );
  }

  function curve(stage) {
    const names = quantitiesOf([stage.curve]);
    if (!names.length) return null;
    const host = h("div", { class: "chart" });
    const draw = () => {
      const points = merged([stage.curve], select.value());
      const label = quantityLabel(select.value());
      const values = points.map((point) => `${point.x}: ${amount(point.y)}`).join(", ");
      const { svg } = curves(
        [{ name: stage.label, number: 0, points }],
        Math.max(280, body.clientWidth - 2),
        label,
        () => {},
      );
      svg.setAttribute("role", "img");
      svg.setAttribute("aria-label", `${label} by epoch: ${values}`);
      host.replaceChildren(svg);
    };
    const select = choice("curve", draw);
    select.offer(names.map((name) => [name, quantityLabel(name)]));
    queueMicrotask(draw); // once it is in the dialog, and has a width
    return h("section", {}, h("h3", {}, "Learning curve"), select.node, host);
  }

  /** Whether a stage that is done was tuned for another device than the one that reports. */
  const elsewhere = (stage, role, other) =>
    role in stage.soft_needs && stage.status === "done" && other.status === "missing";

  function needs(stage) {
    const needed = [...Object.entries(stage.needs), ...Object.entries(stage.soft_needs)]
      .map(([role, key]) => [role, content().stages[key]])
      .filter(([role, other]) => !elsewhere(stage, role, other));
    const folds = needed.map(([role, other]) => {
      const title = `${role}: ${other.label} (${stateText(other.status)})`;
      return fold(stage, title, other.status === "failed", () => parts(other));
    });
    return folds.length ? [h("h3", {}, "Needs"), ...folds] : [];
  }

  function parts(stage) {
    const attempt = stage.attempts ? ` (attempt ${stage.attempts})` : "";
    return [
      h("p", {}, h("span", { class: `tone ${toneOf(stage.status)}` }, stateText(stage.status)), attempt),
      stage.reason && h("p", { class: "reason" }, stage.reason),
      curve(stage),
      ...sections(stage),
      stage.confusion && fold(stage, "Confusion matrix", false, () => [confusion(stage.confusion)]),
      stage.wrong && fold(stage, wrongTitle(stage.wrong), false, () => wrongImages(stage.wrong, content().pictures)),
      ...needs(stage),
      fold(stage, "End of the log", stage.status !== "done", () => [
        h("pre", { tabindex: 0, role: "region", "aria-label": "Log" }, stage.log || "The log is empty."),
      ]),
    ].filter(Boolean);
  }

  function draw() {
    const stage = content().stages[shown];
    if (!stage || JSON.stringify(stage) === drawn) return;
    drawn = JSON.stringify(stage);
    heading.textContent = stage.label;
    body.replaceChildren(...parts(stage), h("p", { class: "key" }, `stage ${stage.kind}/${shown}`));
  }

  return {
    node: dialog,
    update: () => shown && draw(),
    resize() {
      drawn = "";
      if (shown) draw();
    },
    show(key) {
      [shown, drawn] = [key, ""];
      dialog.showModal();
      body.scrollTop = 0;
      draw();
    },
  };
}

const stateText = (status) => (status === "missing" ? "not run yet" : status);
const toneOf = (status) => ({ failed: "bad", interrupted: "bad", running: "open" })[status] || "";
