// The flow of rows: a box for every rule or every step of it, drawn as SVG, and the details of the chosen one.

import { el, setText, svg } from "./dom.js";
import { bytes, count, duration, instant, NONE, perSecond, rate, spaced } from "./format.js";
import { layout } from "./layout.js";
import { LineChart } from "./chart.js";
import { sum } from "./series.js";

const MARGIN = 10;

/// Draws into `root`, shows the details of the chosen box in `detail`.
export class Flow {
  constructor(root, detail, series) {
    this.root = root;
    this.detail = detail;
    this.series = series;
    this.isByStep = false;
    this.chosen = null;
    this.drawn = null;
    this.boxes = new Map();
    new ResizeObserver(() => this.redraw()).observe(root);
  }

  /// Shows every step, or one box for each statement.
  showSteps(isByStep) {
    this.isByStep = isByStep;
    this.choose(null);
    this.redraw();
  }

  update(status) {
    this.status = status;
    const key = JSON.stringify(status.relations.map((r) => [r.name, r.inputs]));
    if (this.key !== key) {
      this.key = key;
      this.redraw();
    } else {
      this.refresh();
    }
  }

  redraw() {
    if (!this.status) return;
    const nodes = this.isByStep ? steps(this.status) : rules(this.status);
    const size = sizes(this.root.clientWidth, nodes);
    const focused = document.activeElement?.dataset?.node;
    this.nodes = new Map(nodes.map((node) => [node.id, node]));
    const plan = layout(nodes, size);
    const [width, height] = [plan.width + 2 * MARGIN, plan.height + 2 * MARGIN];
    const picture = svg("svg", { width, height, viewBox: `${-MARGIN} ${-MARGIN} ${width} ${height}`, role: "group",
      "aria-label": "Boxes from sources to sinks" });
    this.edges = plan.edges.map((edge) => ({ ...edge, path: svg("path", { d: curve(edge.points), class: "edge" }) }));
    picture.append(svg("g", { "aria-hidden": "true" }, this.edges.map((edge) => edge.path)));
    this.boxes.clear();
    for (const node of nodes) picture.append(this.box(node, plan.nodes.get(node.id), size));
    this.root.replaceChildren(picture);
    if (focused) this.boxes.get(focused)?.group.focus();
    this.refresh();
  }

  box(node, at, size) {
    const label = svg("text", { x: 12, y: 19, class: "name" }, fitted(node.title ?? node.label, size.width - 22));
    const figure = svg("text", { x: size.width - 10, y: size.height - 10, class: "figure", "text-anchor": "end" });
    const what = svg("text", { x: 12, y: size.height - 10, class: "what" }, node.what);
    const group = svg("g", { class: `box ${node.role}`, transform: `translate(${at.x} ${at.y})`, tabindex: 0,
      role: "button", "data-node": node.id },
    svg("title", {}, node.label),
    svg("rect", { class: "body", width: size.width, height: size.height, rx: 6 }),
    svg("path", { class: "edge-mark", d: `M6 0H5A5 5 0 0 0 0 5V${size.height - 5}A5 5 0 0 0 5 ${size.height}H6Z` }),
    label, what, figure);
    group.addEventListener("click", () => this.choose(node.id));
    group.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        this.choose(node.id);
      } else if (event.key === "Escape") {
        this.choose(null);
      }
    });
    this.boxes.set(node.id, { group, figure });
    return group;
  }

  /// Brings figures and edges up to date.
  refresh() {
    const nodes = this.isByStep ? steps(this.status) : rules(this.status);
    this.nodes = new Map(nodes.map((node) => [node.id, node]));
    for (const node of nodes) {
      const box = this.boxes.get(node.id);
      if (!box) continue;
      setText(box.figure, node.alarm ?? perSecond(node.rate));
      box.group.classList.toggle("idle", node.rate === 0);
      box.group.classList.toggle("alarm", Boolean(node.alarm));
      box.group.setAttribute("aria-pressed", String(node.id === this.chosen));
      box.group.setAttribute("aria-label",
        `${spaced(node.label)}, ${node.what}, ${rate(node.rate)} rows per second${node.alarm ? `, ${node.alarm}` : ""}`);
    }
    const related = this.chosen ? reach(this.nodes, this.chosen) : null;
    for (const edge of this.edges) {
      const flowing = this.nodes.get(edge.from)?.rate ?? 0;
      edge.path.setAttribute("stroke-width", (flowing > 0 ? 1.5 + Math.log10(1 + flowing) : 1.2).toFixed(2));
      edge.path.classList.toggle("live", flowing > 0);
      edge.path.classList.toggle("related", Boolean(related?.has(edge.from) && related.has(edge.to)));
    }
    for (const [id, box] of this.boxes) box.group.classList.toggle("apart", Boolean(related && !related.has(id)));
    this.showDetail();
  }

  choose(id) {
    this.chosen = this.chosen === id ? null : id;
    this.chart = null;
    if (this.status) this.refresh();
  }

  showDetail() {
    const node = this.chosen && this.nodes.get(this.chosen);
    this.detail.hidden = !node;
    if (!node) return;
    if (!this.chart || this.chart.of !== node.id) {
      const close = el("button", { type: "button", class: "close", "aria-label": "Close the details" }, "×");
      close.addEventListener("click", () => {
        this.boxes.get(node.id)?.group.focus();
        this.choose(null);
      });
      this.facts = el("dl", { class: "facts" });
      const picture = el("div", { class: "detail-chart" });
      this.detail.replaceChildren(el("h3", {}, node.label), close, this.facts, picture);
      this.chart = new LineChart(picture, { label: `Rows of ${node.label}`, format: perSecond, height: 130 });
      this.chart.of = node.id;
    }
    this.facts.replaceChildren(...facts(node).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
    const of = (side, relations) => sum(relations.map((r) => this.series.get(`${side}:${r.name}`)));
    this.chart.update(this.series, [
      { label: "in", values: of("in", node.entries), tone: 0 },
      { label: "out", values: of("out", [node.output]), tone: 2 },
    ]);
  }
}

/// A box for each relation.
function steps(status) {
  return status.relations.map((relation) => {
    const whole = box(status, relation.name, [relation], relation.inputs);
    if (relation.name === relation.definition) return whole;
    // The step's name says again what it is a step of, and how it is computed.
    const number = relation.name.match(/\d+$/)?.[0] ?? "";
    return { ...whole, title: relation.definition, what: `${spaced(relation.operator)} ${number}`.trim() };
  });
}

/// A box for each statement of the rules; its steps are inside.
function rules(status) {
  const definitionOf = new Map(status.relations.map((r) => [r.name, r.definition]));
  const groups = new Map();
  status.relations.forEach((r) => groups.set(r.definition, [...(groups.get(r.definition) ?? []), r]));
  return [...groups].map(([name, relations]) => {
    const inputs = relations.flatMap((r) => r.inputs.map((input) => definitionOf.get(input)));
    return box(status, name, relations, inputs.filter((input) => input !== name));
  });
}

/// What a box shows: `relations` are its steps, in order.
function box(status, label, relations, inputs) {
  const own = new Set(relations.map((r) => r.name));
  // What others read says how much flows: with CHANGES that is the net difference, not the table's own.
  const read = relations.filter((r) => status.relations.some((other) => !own.has(other.name) && other.inputs.includes(r.name)));
  const output = read.length === 1 ? read[0] : relations.find((r) => r.name === label) ?? relations.at(-1);
  const source = status.sources.find((s) => own.has(s.name));
  const sink = status.sinks.find((s) => own.has(s.name));
  // The kind is that of what carries the name: CHANGES of a table is a stream.
  const { kind } = relations.find((r) => r.name === label) ?? output;
  const role = source ? "source" : sink ? "sink" : kind;
  const what = source ? `${kind} source` : sink ? `sink` : relations.length > 1 ? `${kind}, ${relations.length} steps`
    : spaced(output.operator === "select" ? kind : output.operator);
  return {
    id: label, label, kind, inputs, relations, output, source, sink, role, what,
    // Steps that take in what comes from elsewhere.
    entries: relations.filter((r) => r.inputs.length === 0 || r.inputs.some((input) => !own.has(input))),
    rate: output.rows_out_per_second,
    alarm: sink?.paused ? "paused" : source?.lag > 1000 ? `${count(source.lag)} unread` : null,
  };
}

function facts(node) {
  const { output, relations, source, sink } = node;
  const total = (field) => relations.reduce((n, r) => n + r[field], 0);
  const found = [
    ["Kind", `${node.kind}${relations.length > 1 ? `, ${relations.length} steps` : ""}`],
    ["Computed by", relations.map((r) => spaced(r.operator)).join(" → ")],
    ["Reads", node.inputs.length > 0 ? [...new Set(node.inputs)].join(", ") : null],
    ["Rows in", `${count(node.entries.reduce((n, r) => n + r.rows_in, 0))}`],
    ["Rows out", `${count(output.rows_out)} (${perSecond(output.rows_out_per_second)})`],
    ["State", `${count(total("state_rows"))} rows, ${bytes(total("state_bytes"))}`],
    ["Watermark", output.watermark ? instant(Date.parse(output.watermark)) : NONE],
    ["Behind the clock", output.watermark ? duration(output.watermark_lag_ms) : NONE],
  ];
  if (source) {
    found.push(["Unread", count(source.lag)], ["Used", count(source.used)], ["Duplicate", count(source.duplicate)],
      ["Late", count(source.late)], ["Rejected", count(source.rejected)]);
  }
  if (sink) found.push(["Written", count(sink.rows)]);
  return found.filter(([, value]) => value !== null);
}

/// All boxes before and behind one, itself included.
function reach(nodes, id) {
  const found = new Set([id]);
  const walk = (from, next) => next(from).filter((n) => !found.has(n)).forEach((n) => {
    found.add(n);
    walk(n, next);
  });
  walk(id, (n) => nodes.get(n)?.inputs ?? []);
  const readers = (n) => [...nodes.values()].filter((node) => node.inputs.includes(n)).map((node) => node.id);
  readers(id).forEach((n) => {
    found.add(n);
    walk(n, readers);
  });
  return found;
}

/// Box sizes that fill the width if the boxes fit, and scroll otherwise.
function sizes(available, nodes) {
  const narrow = available < 700;
  const size = { width: narrow ? 150 : 172, height: 46, gapX: narrow ? 34 : 40, gapY: 12 };
  const { width } = layout(nodes, size);
  const n = Math.round((width + size.gapX) / (size.width + size.gapX));
  const spare = available - 2 * MARGIN - width;
  if (spare > 0 && n > 1) {
    size.width += Math.min(48, Math.floor((spare / n) * 0.6));
    size.gapX = Math.min(110, Math.floor((available - 2 * MARGIN - n * size.width) / (n - 1)));
  }
  return size;
}

const pen = document.createElement("canvas").getContext("2d");

/// The text as far as it fits a width in pixels.
function fitted(text, width) {
  pen.font = `600 12.5px ${getComputedStyle(document.body).fontFamily}`;
  if (pen.measureText(text).width <= width) return text;
  let n = text.length;
  while (n > 1 && pen.measureText(`${text.slice(0, n)}…`).width > width) n -= 1;
  return `${text.slice(0, n)}…`;
}

/// A curve through points that is level at each of them.
function curve(points) {
  const [[x, y], ...rest] = points;
  let [px, py] = [x, y];
  return rest.reduce((d, [nx, ny]) => {
    const middle = (px + nx) / 2;
    const next = `${d}C${middle} ${py} ${middle} ${ny} ${nx} ${ny}`;
    [px, py] = [nx, ny];
    return next;
  }, `M${x} ${y}`);
}
