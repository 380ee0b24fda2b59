// The top of the page: what it is about, what came out, what runs now, and what failed.

const heading = h("h1");
const counts = h("p", { class: "counts" });
const facing = h("p", { class: "facing" });
const connection = h("p", { class: "connection", role: "status" });
const answer = h("p", { class: "answer" });
const headline = h("section", { id: "summary", class: "summary" });
const running = h("section", { class: "running", "aria-label": "Running now" });
const failures = h("section", { class: "failures", "aria-label": "Failures" });

function drawHead() {
  document.title = `${content.suite} – BenchBench`;
  heading.textContent = content.suite;
  const states = [...grouped(content.cells, (cell) => cell.status)].map(([state, cells]) => [state, cells.length]);
  const parts = states.map(([state, n]) => h("span", { class: `tone ${toneOf(state)}` }, `${n} ${stateText(state)}`));
  counts.replaceChildren(
    `${content.cells.length} cells: `,
    ...parts.flatMap((part, place) => (place ? [", ", part] : [part])),
  );
  const devices = content.devices.length ? `on ${content.devices.join(", ")}; ` : "";
  facing.textContent = `${devices}suite key ${content.key}`;
  answer.textContent = content.answer;
}

function drawSummary() {
  const { title, items, counts, notes } = content.summary;
  headline.hidden = !items.length;
  const drawn = items.map(({ label, text, tone, detail }) =>
    h(
      "li",
      {},
      h("span", { class: "where" }, label),
      h("span", { class: tone ? `verdict tone ${tone}` : "" }, text),
      detail ? [" ", h("span", { class: "detail" }, detail)] : "",
    ),
  );
  const judged = Object.entries(counts).map(([verdict, n]) => `${verdict}: ${n}`);
  const list = h("ul", {}, drawn);
  const folded = drawn.length > 12 ? h("details", {}, h("summary", {}, `All ${drawn.length}`), list) : list;
  headline.replaceChildren(
    h("h2", {}, title),
    judged.length ? h("p", { class: "judged" }, judged.join(", ")) : "",
    folded,
    h(
      "ul",
      { class: "notes" },
      notes.map((note) => h("li", {}, note)),
    ),
  );
}

function stageButton(key) {
  const open = () => dialog.show(key);
  return h(
    "button",
    { type: "button", class: "open", "data-key": `stage ${key}`, click: open },
    content.stages[key].label,
  );
}

function drawRunning() {
  const found = Object.entries(content.stages).filter(
    ([, stage]) => stage.status === "running" || stage.status === "interrupted",
  );
  running.hidden = !found.length;
  redrawn(running, () =>
    running.replaceChildren(
      h("h2", {}, content.live && content.active ? "Running now" : "Not finished when this was written"),
      h(
        "ul",
        {},
        found.map(([key, stage]) => {
          const since =
            content.live && stage.status === "running" && stage.started
              ? h("span", { class: "since" }, elapsed(stage))
              : stateText(stage.status);
          const last = stage.log.trimEnd().split("\n").at(-1);
          const silent = content.live && stage.status === "running" ? silence(stage) : "";
          return h(
            "li",
            {},
            stageButton(key),
            " ",
            since,
            stage.progress ? [" ", h("span", { class: "progress" }, stage.progress)] : "",
            stage.holder ? [" ", h("span", { class: "holder" }, `on ${stage.holder}`)] : "",
            silent ? [" ", h("span", { class: "silent tone bad" }, silent)] : "",
            last ? h("code", { class: "last" }, last) : "",
          );
        }),
      ),
    ),
  );
}

function drawFailures() {
  const failed = content.cells.filter((cell) => cell.status === "failed");
  failures.hidden = !failed.length;
  const groups = [...grouped(failed, (cell) => cell.reason || "no reason was left")].map(([reason, cells]) => {
    const buttons = cells.slice(0, 5).map((cell) => h("li", {}, stageButton(cell.stage)));
    const rest =
      cells.length > 5 ? h("li", {}, `and ${cells.length - 5} more; filter the cells below by “failed”`) : "";
    return h("li", {}, h("p", { class: "reason" }, reason), h("ul", {}, buttons, rest));
  });
  redrawn(failures, () =>
    failures.replaceChildren(
      h("h2", {}, failed.length === 1 ? "1 cell failed" : `${failed.length} cells failed`),
      h("ul", {}, groups),
    ),
  );
}
