// Two charts, drawn as SVG: accuracy against cost with the Pareto front, and learning curves. Colour and shape together name an arm.

const COLORS = 7;
const HEIGHT = 340;
const MARGIN = { left: 52, right: 14, top: 12, bottom: 44 };
const SHAPES = [
  "M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0", // circle
  "M-4.5,-4.5h9v9h-9z", // square
  "M0,-6L6,5H-6z", // triangle
  "M0,-6.5L6,0L0,6.5L-6,0z", // diamond
  "M0,6L6,-5H-6z", // triangle, point down
  "M-2,-6h4v4h4v4h-4v4h-4v-4h-4v-4h4z", // plus
  "M0,-6.5L2,-2H6.5L3,1L4.5,6L0,3L-4.5,6L-3,1L-6.5,-2H-2z", // star
];

/** A marker whose colour and shape belong to the number-th arm: 49 before one comes again. */
function marker(number, attributes = {}) {
  const shape = SHAPES[(number + Math.floor(number / COLORS)) % SHAPES.length];
  const { class: more = "", ...rest } = attributes;
  return s("path", { d: shape, class: `marker c${number % COLORS} ${more}`, ...rest });
}

const linearTicks = (low, high, most) => {
  const rough = (high - low) / most;
  const ten = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * ten).find((each) => each >= rough);
  const ticks = [];
  for (let tick = Math.ceil(low / step); tick * step <= high; tick++) ticks.push(tick * step);
  return ticks;
};

/** Round numbers in each decade, as many as there is room for; over less than a decade they may not do. */
const logarithmicTicks = (low, high, most) => {
  const decades = [];
  for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power++) decades.push(10 ** power);
  const steps = [[1, 2, 3, 5], [1, 2, 5], [1, 3], [1]];
  const found = steps.map((each) =>
    decades.flatMap((ten) => each.map((step) => step * ten)).filter((v) => v >= low && v <= high),
  );
  const fitting =
    found.find((ticks) => ticks.length <= most) ||
    found.at(-1).filter((_, place) => place % Math.ceil(found.at(-1).length / most) === 0);
  return fitting.length >= 3 ? fitting : linearTicks(low, high, Math.min(4, most));
};

/** A linear or logarithmic scale with its ticks, over values that need not be in order. */
function scale(values, from, to, logarithmic = false) {
  const [f, back] = logarithmic ? [Math.log10, (value) => 10 ** value] : [(value) => value, (value) => value];
  const [low, high] = [f(Math.min(...values)), f(Math.max(...values))];
  const margin = 0.06 * (high - low) || (logarithmic ? 0.1 : Math.abs(high) * 0.1 || 1);
  const [start, end] = [low - margin, high + margin];
  const most = Math.max(3, Math.floor(Math.abs(to - from) / (to > from ? 60 : 40))); // figures are wider than high
  return {
    at: (value) => from + ((f(value) - start) / (end - start)) * (to - from),
    ticks: (logarithmic ? logarithmicTicks : linearTicks)(back(start), back(end), most),
  };
}

const short = (value) =>
  value === 0
    ? "0"
    : Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5
      ? value.toExponential(0)
      : String(Number(value.toPrecision(3)));

/** The frame of a chart: an <svg> with both axes and their labels. */
function frame(width, height, x, y, xLabel, yLabel, name) {
  const bottom = height - MARGIN.bottom;
  const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": name });
  for (const tick of x.ticks) {
    svg.append(s("path", { class: "grid", d: `M${x.at(tick)},${MARGIN.top}V${bottom}` }));
    svg.append(s("text", { x: x.at(tick), y: bottom + 17, "text-anchor": "middle" }, short(tick)));
  }
  for (const tick of y.ticks) {
    svg.append(s("path", { class: "grid", d: `M${MARGIN.left},${y.at(tick)}H${width - MARGIN.right}` }));
    svg.append(s("text", { x: MARGIN.left - 7, y: y.at(tick) + 4, "text-anchor": "end" }, short(tick)));
  }
  const middle = (MARGIN.top + bottom) / 2;
  svg.append(s("text", { x: (MARGIN.left + width) / 2, y: height - 6, "text-anchor": "middle" }, xLabel));
  svg.append(s("text", { transform: `translate(13 ${middle}) rotate(-90)`, "text-anchor": "middle" }, yLabel));
  return svg;
}

/** Those of {x, y} that no other beats in both: cheapest first, each more accurate than all before it. */
function paretoFront(points) {
  const front = [];
  for (const point of points.toSorted((a, b) => a.x - b.x || b.y - a.y)) {
    if (!front.length || point.y > front.at(-1).y) front.push(point);
  }
  return front;
}

const MOST_LABELS = 12;
const LETTER = 6.8; // pixels, at most, of a letter on average
// Right or left of a point, and lines above or below it, in the order in which they are tried.
const BESIDE = [0.8, -0.8, 0, 1.7, -1.7].flatMap((line) => [
  [1, -line],
  [-1, -line],
]);

/**
 * Places of labels beside points {name, left, top, high, low}: {name, x, y, anchor} of those that have room. The others
 * have the legend above the chart.
 */
function labelPlaces(points, width) {
  if (points.length > MOST_LABELS) return [];
  const taken = points.map(({ left, high, low }) => ({ x0: left - 8, x1: left + 8, y0: high - 8, y1: low + 8 }));
  const overlap = (a, b) => a.x0 < b.x1 && b.x0 < a.x1 && a.y0 < b.y1 && b.y0 < a.y1;
  const free = (box) =>
    box.x0 >= MARGIN.left &&
    box.x1 <= width - MARGIN.right &&
    box.y0 >= 0 &&
    box.y1 <= HEIGHT - MARGIN.bottom &&
    !taken.some((other) => overlap(box, other));
  return points.flatMap(({ name, left, top }) => {
    const long = LETTER * name.length;
    for (const [dx, dy] of BESIDE) {
      const [x0, y0] = [dx > 0 ? left + 11 : left - 11 - long, top + 14 * dy - 7];
      const box = { x0, x1: x0 + long, y0, y1: y0 + 14 };
      if (free(box)) {
        taken.push(box);
        return [{ name, x: left + 11 * dx, y: y0 + 11, anchor: dx > 0 ? "start" : "end" }];
      }
    }
    return [];
  });
}

/**
 * Accuracy against cost. Arms are {name, number, x, y, spread, n, runs: [{x, y}]}; tell(text) says what a point is, open(arm)
 * leads on to its runs.
 */
function scatter(arms, width, xLabel, unit, measure, tell, open) {
  const all = arms.flatMap((arm) => [...arm.runs, arm]);
  const ends = arms.flatMap((arm) => [arm.y - (arm.spread || 0), arm.y + (arm.spread || 0)]);
  const x = scale(
    all.map((point) => point.x),
    MARGIN.left,
    width - MARGIN.right,
    true,
  );
  const y = scale([...all.map((point) => point.y), ...ends], HEIGHT - MARGIN.bottom, MARGIN.top);
  const svg = frame(width, HEIGHT, x, y, xLabel, `test ${measure} (%)`, `Test ${measure} against cost, a point an arm`);
  const front = paretoFront(arms);
  const steps = front.map((point, number) => `${number ? `H${x.at(point.x)}V` : `M${x.at(point.x)},`}${y.at(point.y)}`);
  svg.append(s("path", { class: "front", d: `${steps.join("")}H${width - MARGIN.right}` }));
  for (const arm of arms) {
    for (const run of arm.runs) {
      const place = `translate(${x.at(run.x)} ${y.at(run.y)}) scale(.5)`;
      svg.append(marker(arm.number, { class: "run", transform: place }));
    }
  }
  for (const arm of arms) {
    const [left, top] = [x.at(arm.x), y.at(arm.y)];
    const spread = arm.spread === null ? "" : ` ± ${arm.spread.toFixed(1)}`;
    const best = front.includes(arm) ? "; on the Pareto front" : "";
    const text = `${arm.name}: ${arm.y.toFixed(1)}${spread} % (n=${arm.n}) for ${amount(arm.x)} ${unit}${best}`;
    const point = s("g", {
      class: "point",
      tabindex: 0,
      role: "button",
      "aria-label": text,
      "data-key": `point ${arm.name}`,
      pointerenter: () => tell(text),
      focus: () => tell(text),
      click: () => open(arm),
      keydown: (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        open(arm);
      },
    });
    if (arm.spread)
      point.append(
        s("path", { class: "whisker", d: `M${left},${y.at(arm.y - arm.spread)}V${y.at(arm.y + arm.spread)}` }),
      );
    point.append(s("circle", { class: "halo", cx: left, cy: top, r: 13 }));
    point.append(marker(arm.number, { class: best && "best", transform: `translate(${left} ${top}) scale(1.2)` }));
    svg.append(point);
  }
  const points = arms.map((arm) => {
    const [high, low] = [1, -1].map((sign) => y.at(arm.y + sign * (arm.spread || 0)));
    return { name: arm.name, left: x.at(arm.x), top: y.at(arm.y), high, low };
  });
  for (const { name, x, y, anchor } of labelPlaces(points, width)) {
    svg.append(s("text", { class: "name", x, y, "text-anchor": anchor, "aria-hidden": "true" }, name));
  }
  return svg;
}

/** Curves with the range over seeds. Series are {name, number, points: [{x, y, low, high}]}; at(x) moves the rule. */
function curves(series, width, yLabel, hover) {
  const points = series.flatMap((each) => each.points);
  const x = scale(
    points.map((point) => point.x),
    MARGIN.left,
    width - MARGIN.right,
  );
  const y = scale(
    points.flatMap((point) => [point.low, point.high]),
    HEIGHT - MARGIN.bottom,
    MARGIN.top,
  );
  const svg = frame(width, HEIGHT, x, y, "epoch", yLabel, `${yLabel} by epoch, a line an arm`);
  const path = (list, value) =>
    list.map((point) => `${x.at(point.x).toFixed(1)},${y.at(value(point)).toFixed(1)}`).join("L");
  for (const { number, points: own } of series) {
    const band = `M${path(own, (point) => point.high)}L${path(own.toReversed(), (point) => point.low)}z`;
    svg.append(s("path", { class: `band c${number % COLORS}`, d: band }));
  }
  for (const { number, points: own } of series) {
    svg.append(s("path", { class: `line c${number % COLORS}`, d: `M${path(own, (point) => point.y)}` }));
    const every = Math.max(1, Math.ceil(own.length / 6));
    for (let at = (number * 2) % every; at < own.length; at += every) {
      const place = `translate(${x.at(own[at].x)} ${y.at(own[at].y)}) scale(.8)`;
      svg.append(marker(number, { transform: place }));
    }
  }
  const rule = s("path", { class: "rule" });
  svg.append(rule);
  svg.addEventListener("pointermove", (event) => {
    const here = ((event.clientX - svg.getBoundingClientRect().left) / svg.getBoundingClientRect().width) * width;
    const nearest = points.reduce((best, point) =>
      Math.abs(x.at(point.x) - here) < Math.abs(x.at(best.x) - here) ? point : best,
    );
    hover(nearest.x);
  });
  return { svg, at: (epoch) => rule.setAttribute("d", `M${x.at(epoch)},${MARGIN.top}V${HEIGHT - MARGIN.bottom}`) };
}
