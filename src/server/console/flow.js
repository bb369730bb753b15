// The flow of rows as boxes and lines, drawn as SVG: the whole of a small pack, else what one box reads and what reads it.

import { LineChart } from "./chart.js";
import { byId, el, setText, svg } from "./dom.js";
import { perSecond, rate, spaced } from "./format.js";
import { facts, reach, readers, rules, steps } from "./graph.js";
import { layout } from "./layout.js";
import { sum } from "./series.js";

const MARGIN = 10;
/// As many boxes are shown at first; more of them are found by choosing.
const BOXES_AT_FIRST = 40;

/// The graph: `shows` says which nodes, `chosen` is the one whose details are shown.
export class Flow {
  constructor(series, onChosen) {
    Object.assign(this, { series, onChosen, isByStep: false, chosen: null, shown: null, boxes: new Map(), edges: [] });
    this.root = byId("flow-picture");
    this.detail = byId("detail");
    let width = 0;
    new ResizeObserver(() => {
      if (this.root.clientWidth === width) return;
      width = this.root.clientWidth;
      this.redraw();
    }).observe(this.root);
  }

  /// Shows every step, or one box for each statement.
  showSteps(isByStep) {
    if (this.isByStep === isByStep) return;
    const definition = this.chosen && (this.nodes.get(this.chosen)?.relations[0].definition ?? null);
    Object.assign(this, { isByStep, chosen: null, shown: null });
    this.take();
    const same = [...this.nodes.values()].find((node) => node.id === definition) ?? null;
    if (same) this.focus(same.id);
    else this.redraw();
  }

  update(status) {
    this.status = status;
    const key = JSON.stringify(status.relations.map((r) => [r.name, r.inputs]));
    const isOther = this.key !== key;
    this.key = key;
    this.take();
    if (isOther) this.redraw();
    else this.refresh();
  }

  /// Takes the nodes of the status.
  take() {
    if (!this.status) return;
    this.nodes = new Map((this.isByStep ? steps : rules)(this.status).map((node) => [node.id, node]));
    this.behind = readers(this.nodes);
    if (this.chosen && !this.nodes.has(this.chosen)) this.chosen = null;
    if (this.shown && ![...this.shown].every((id) => this.nodes.has(id))) this.shown = null;
    if (!this.shown && this.nodes.size > BOXES_AT_FIRST) {
      // The sink that is declared first is what the rules are there for.
      const first = this.status.sinks.map((sink) => sink.name).find((name) => this.nodes.has(name)) ?? [...this.nodes.keys()][0];
      this.shown = reach(this.nodes, this.chosen ?? first, BOXES_AT_FIRST);
      this.centre = this.chosen ?? first;
    }
  }

  /// Shows what a node reads and what reads it, and its details.
  focus(id) {
    if (!this.nodes?.has(id)) return;
    this.chosen = id;
    this.chart = null;
    this.shown = null;
    this.take();
    this.redraw();
    this.onChosen(id);
  }

  /// Shows all nodes.
  showAll() {
    this.shown = new Set(this.nodes.keys());
    this.redraw();
  }

  /// Adds what a node reads and what reads it.
  expand(id) {
    this.shown = new Set([...(this.shown ?? this.nodes.keys()), ...this.hidden(id)]);
    this.redraw();
  }

  /// The neighbours of a node that are not shown.
  hidden(id) {
    if (!this.shown) return [];
    return [...this.nodes.get(id).inputs, ...this.behind.get(id)].filter((other) => !this.shown.has(other));
  }

  redraw() {
    if (!this.status || this.root.clientWidth === 0) return;
    const nodes = [...this.nodes.values()].filter((node) => !this.shown || this.shown.has(node.id));
    const size = sizes(this.root.clientWidth, nodes);
    const focused = document.activeElement?.dataset?.node;
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
    this.showBar(nodes.length);
    this.refresh();
    this.scrollTo(plan.nodes.get(this.chosen ?? this.centre), size);
  }

  /// Brings a box into sight without moving the page.
  scrollTo(at, size) {
    if (!at) return;
    const { clientWidth, clientHeight } = this.root;
    this.root.scrollLeft = at.x + size.width / 2 - clientWidth / 2;
    this.root.scrollTop = at.y + size.height / 2 - clientHeight / 2;
  }

  showBar(n) {
    const isWhole = n === this.nodes.size;
    const text = isWhole ? `All ${n} boxes` : `${n} of ${this.nodes.size} boxes: what ${this.centre} reads, and what reads it`;
    const more = el("button", { type: "button", class: "plain" }, isWhole ? "Show less" : "Show all");
    more.addEventListener("click", () => {
      if (!isWhole) return this.showAll();
      this.shown = null;
      this.take();
      this.redraw();
    });
    byId("flow-bar").replaceChildren(el("span", { class: "hint" }, text), ...(this.nodes.size > BOXES_AT_FIRST ? [more] : []));
  }

  box(node, at, size) {
    const n = this.hidden(node.id).length;
    const label = svg("text", { x: 12, y: 19, class: "name" }, fitted(node.title ?? node.label, size.width - (n > 0 ? 46 : 22)));
    const figure = svg("text", { x: size.width - 10, y: size.height - 10, class: "figure", "text-anchor": "end" });
    const what = svg("text", { x: 12, y: size.height - 10, class: "what" }, node.what);
    const more = n > 0 && svg("text", { x: size.width - 10, y: 19, class: "hidden", "text-anchor": "end" }, `+${n}`);
    const group = svg("g", { class: `box ${node.role}`, transform: `translate(${at.x} ${at.y})`, tabindex: 0,
      role: "button", "data-node": node.id },
    svg("title", {}, n > 0 ? `${node.label}: ${n} more read it or are read by it` : node.label),
    svg("rect", { class: "body", width: size.width, height: size.height, rx: 6 }),
    svg("path", { class: "edge-mark", d: `M6 0H5A5 5 0 0 0 0 5V${size.height - 5}A5 5 0 0 0 5 ${size.height}H6Z` }),
    label, what, figure, more);
    group.addEventListener("click", () => this.choose(node.id));
    group.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        this.choose(node.id);
      }
      if (event.key === "Escape") this.choose(null);
    });
    this.boxes.set(node.id, { group, figure });
    return group;
  }

  /// Brings figures and edges up to date.
  refresh() {
    if (!this.nodes || this.boxes.size === 0) return;
    for (const [id, box] of this.boxes) {
      const node = this.nodes.get(id);
      if (!node) continue;
      setText(box.figure, node.alarm ?? perSecond(node.rate));
      box.group.classList.toggle("still", node.rate === 0);
      box.group.classList.toggle("alarm", Boolean(node.alarm));
      box.group.setAttribute("aria-pressed", String(id === this.chosen));
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
    if (!this.status) return;
    this.refresh();
    this.onChosen(this.chosen);
  }

  showDetail() {
    const node = this.chosen && this.nodes.get(this.chosen);
    this.detail.hidden = !node;
    if (!node) return;
    const n = this.hidden(node.id).length;
    if (!this.chart || this.chart.of !== `${node.id}+${n}`) {
      const button = (text, work, more = {}) => {
        const made = el("button", { type: "button", class: "plain", ...more }, text);
        made.addEventListener("click", work);
        return made;
      };
      this.facts = el("dl", { class: "facts" });
      const picture = el("div", { class: "detail-chart" });
      this.detail.replaceChildren(
        el("div", { class: "detail-head" }, el("h3", {}, node.label),
          n > 0 && button(`Show ${n} more neighbour${n > 1 ? "s" : ""}`, () => this.expand(node.id)),
          this.shown && button("Centre on this", () => this.focus(node.id)),
          button("×", () => {
            const box = this.boxes.get(node.id);
            this.choose(null);
            box?.group.focus();
          }, { class: "quiet icon close", "aria-label": "Close the details" })),
        this.facts, picture);
      this.chart = new LineChart(picture, { label: `Rows of ${node.label}`, format: perSecond });
      this.chart.of = `${node.id}+${n}`;
    }
    this.facts.replaceChildren(...facts(node).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
    const of = (side, relations) => sum(relations.map((r) => this.series.get(`${side}:${r.name}`)));
    this.chart.update(this.series, [
      { label: "in", values: of("in", node.entries), tone: 0 },
      { label: "out", values: of("out", [node.output]), tone: 2 },
    ]);
  }
}

/// Box sizes that fill the width if the boxes fit, and scroll otherwise.
function sizes(available, nodes) {
  const narrow = available < 700;
  const size = { width: narrow ? 150 : 168, height: 44, gapX: narrow ? 30 : 36, gapY: nodes.length > 60 ? 8 : 10 };
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
