// Charts over the last minutes, drawn as SVG: lines, stacked bars, and small lines for tables.
//
// The legend says what the chart shows at the cursor (pointer or arrow keys), else what is newest. Every chart has a
// sentence that stands for it and its figures as a table.

import { el, setText, svg, table } from "./dom.js";
import { clock, duration, minute } from "./format.js";

const LEFT = 58;
const RIGHT = 8;
const TOP = 8;
const BOTTOM = 22;
/// Steps that one bar sums up.
const STEPS_PER_BAR = 5;
/// A chart shows at least this long, also if nothing is known of it yet.
const SPAN_MS_MIN = 120_000;
/// Rows of the table that stands for a chart.
const TABLE_ROWS = 20;

/// What all charts have: a legend, a picture with axes, a cursor, a table.
class Chart {
  constructor(root, { label, format, height = 190 }) {
    Object.assign(this, { label, format, height, cursor: null, lines: [], times: [] });
    this.legend = el("ul", { class: "legend" });
    this.picture = el("div", { class: "picture" });
    this.svg = svg("svg", { height, role: "img", tabindex: 0 });
    this.tableBody = el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `${label} as a table` });
    this.details = el("details", {}, el("summary", {}, "As a table"), this.tableBody);
    this.details.addEventListener("toggle", () => this.fillTable());
    root.replaceChildren(this.legend, this.picture, this.details);
    new ResizeObserver(() => this.draw()).observe(this.picture);
    this.picture.addEventListener("pointermove", (event) => this.point(event.offsetX));
    this.picture.addEventListener("pointerleave", () => this.moveCursor(null));
    this.picture.addEventListener("keydown", (event) => this.key(event));
  }

  /// Shows lines `{ label, values, tone }` over the steps of a series.
  update(series, lines) {
    Object.assign(this, this.prepare(series, lines));
    const known = this.times.length > 0 ? this.times.at(-1) - this.times[0] : 0;
    this.spanMs = Math.min(series.stepMs * series.stepsMax, Math.max(SPAN_MS_MIN, known));
    this.gapMs = series.stepMs * 4;
    this.draw();
    if (this.details.open && !this.details.contains(document.activeElement)) this.fillTable();
  }

  draw() {
    const width = this.picture.clientWidth;
    if (width === 0 || this.times.length === 0) {
      if (width > 0) this.picture.replaceChildren(el("p", { class: "empty" }, "The first figures come in a few seconds."));
      return;
    }
    const to = this.times.at(-1);
    this.x = (at) => LEFT + ((at - (to - this.spanMs)) / this.spanMs) * (width - LEFT - RIGHT);
    const ticks = niceTicks(this.greatest());
    const high = ticks.at(-1);
    this.y = (value) => TOP + (1 - value / high) * (this.height - TOP - BOTTOM);
    const marks = [];
    for (const tick of ticks) {
      const y = Math.round(this.y(tick)) + 0.5;
      marks.push(svg("line", { x1: LEFT, x2: width - RIGHT, y1: y, y2: y, class: tick === 0 ? "axis" : "guide" }),
        svg("text", { x: LEFT - 8, y: y + 4, class: "tick", "text-anchor": "end" }, this.format(tick)));
    }
    const every = (width < 480 ? 2 : 1) * (this.spanMs > 300_000 ? 2 : 1);
    for (const at of minutes(to - this.spanMs, to, every)) {
      if (this.x(at) < LEFT + 14) continue;
      marks.push(svg("text", { x: Math.min(this.x(at), width - 20), y: this.height - 4, class: "tick", "text-anchor": "middle" },
        minute(at)));
    }
    this.rule = svg("line", { y1: TOP, y2: this.height - BOTTOM, class: "cursor", visibility: "hidden" });
    this.svg.setAttribute("width", width);
    this.svg.setAttribute("aria-label", this.summary());
    this.svg.replaceChildren(...marks, ...this.marks(), this.rule);
    // The picture itself stays, so that it keeps the focus.
    if (this.svg.parentNode !== this.picture) this.picture.replaceChildren(this.svg);
    this.moveCursor(this.cursor);
  }

  point(x) {
    if (!this.x || this.times.length === 0) return;
    const distance = (at) => Math.abs(this.x(at) - x);
    const nearest = this.times.reduce((best, at) => (distance(at) < distance(best) ? at : best));
    this.moveCursor(nearest);
  }

  key(event) {
    const now = this.cursor === null ? this.times.length : this.times.indexOf(this.cursor);
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 }[event.key];
    if (event.key === "Escape") this.moveCursor(null);
    if (!step) return;
    event.preventDefault();
    this.moveCursor(this.times[Math.min(this.times.length - 1, Math.max(0, now + step))] ?? null);
  }

  /// Puts the cursor at an instant; nowhere if that is null or has left the chart.
  moveCursor(at) {
    const idx = at === null ? -1 : this.times.indexOf(at);
    this.cursor = idx < 0 ? null : at;
    if (this.rule) {
      this.rule.setAttribute("visibility", idx < 0 ? "hidden" : "visible");
      if (idx >= 0) ["x1", "x2"].forEach((name) => this.rule.setAttribute(name, this.x(at)));
    }
    this.showLegend(idx < 0 ? null : idx);
  }

  showLegend(idx) {
    const shown = this.lines.map((line) => [line, this.legendFigure(line, idx)]);
    const when = idx === null ? this.legendTime() : clock(this.times[idx]);
    while (this.legend.children.length > shown.length + 1) this.legend.lastChild.remove();
    while (this.legend.children.length < shown.length + 1) this.legend.append(el("li", {}, el("span"), el("b")));
    const [first, ...rest] = this.legend.children;
    first.className = "when";
    setText(first.firstChild, when);
    rest.forEach((item, i) => {
      item.className = `tone${shown[i][0].tone}`;
      setText(item.firstChild, shown[i][0].label);
      setText(item.lastChild, shown[i][1]);
    });
  }

  fillTable() {
    if (!this.details.open) return;
    const every = Math.max(1, Math.ceil(this.times.length / TABLE_ROWS));
    const rows = this.times.map((at, i) => [at, i]).reverse().filter((_, i) => i % every === 0)
      .map(([at, i]) => [clock(at), ...this.lines.map((line) => this.format(line.values[i]))]);
    const columns = [{ name: "Time" }, ...this.lines.map((line) => ({ name: line.label, number: true }))];
    this.tableBody.replaceChildren(table(this.label, columns, rows, "Nothing yet."));
  }
}

/// Lines over time. A step without a value is a gap.
export class LineChart extends Chart {
  prepare(series, lines) {
    return { times: [...series.times], lines };
  }

  greatest() {
    return Math.max(0, ...this.lines.flatMap((line) => line.values.filter((value) => value !== null)));
  }

  marks() {
    return this.lines.map((line) => svg("path", { d: this.path(line.values), class: `line tone${line.tone}` }));
  }

  path(values) {
    let [d, before] = ["", null];
    this.times.forEach((at, i) => {
      const value = values[i];
      if (value === null || value === undefined) {
        before = null;
        return;
      }
      const begins = before === null || at - before > this.gapMs;
      d += `${begins ? "M" : "L"}${this.x(at).toFixed(1)} ${this.y(value).toFixed(1)}`;
      // A lone value would not be seen.
      if (begins) d += "h0.1";
      before = at;
    });
    return d;
  }

  legendTime() {
    return "now";
  }

  legendFigure(line, idx) {
    const newest = idx ?? line.values.findLastIndex((value) => value !== null);
    return this.format(line.values[newest] ?? null);
  }

  summary() {
    const parts = this.lines.map((line) => {
      const values = line.values.filter((value) => value !== null);
      if (values.length === 0) return `${line.label}: nothing measured`;
      return `${line.label}: now ${this.format(values.at(-1))}, greatest ${this.format(Math.max(...values))}`;
    });
    return `${this.label}, the last ${duration(this.spanMs)}. ${parts.join(". ")}.`;
  }
}

/// Stacked bars of counts over time.
export class BarChart extends Chart {
  /// Sums up steps to bars, whose ends stay where they are while time goes on.
  prepare(series, lines) {
    const barMs = series.stepMs * STEPS_PER_BAR;
    const [times, bars] = [[], lines.map((line) => ({ ...line, values: [] }))];
    series.times.forEach((at, i) => {
      const end = Math.ceil(at / barMs) * barMs;
      if (times.at(-1) !== end) {
        times.push(end);
        bars.forEach((bar) => bar.values.push(0));
      }
      bars.forEach((bar, k) => (bar.values[bar.values.length - 1] += lines[k].values[i] ?? 0));
    });
    return { times, lines: bars, barMs };
  }

  greatest() {
    return Math.max(0, ...this.times.map((_, i) => this.lines.reduce((sum, line) => sum + line.values[i], 0)));
  }

  marks() {
    const width = Math.max(1, this.x(this.barMs) - this.x(0) - 1.5);
    return this.times.flatMap((at, i) => {
      let base = 0;
      return this.lines.filter((line) => line.values[i] > 0).map((line) => {
        const [low, high] = [this.y(base), this.y(base + line.values[i])];
        base += line.values[i];
        return svg("rect", { x: Math.max(LEFT, this.x(at) - width), y: high, width, height: Math.max(0.5, low - high),
          class: `bar tone${line.tone}` });
      });
    });
  }

  legendTime() {
    return `last ${duration(this.spanMs)}`;
  }

  legendFigure(line, idx) {
    return this.format(idx === null ? line.values.reduce((a, b) => a + b, 0) : line.values[idx]);
  }

  summary() {
    const parts = this.lines.map((line) => `${line.label}: ${this.legendFigure(line, null)}`);
    return `${this.label}, the last ${duration(this.spanMs)}. ${parts.join(", ") || "None"}.`;
  }
}

/// A small line without axes, as the neighbour of the figure that it leads to.
export function sparkline(values, label, tone = 0, width = 120, height = 26) {
  const known = values.filter((value) => value !== null && value !== undefined);
  if (known.length < 2) return null;
  const [low, high] = [Math.min(0, ...known), Math.max(...known)];
  const x = (i) => 1 + (i / (values.length - 1)) * (width - 2);
  const y = (value) => (high === low ? height - 2 : height - 2 - ((value - low) / (high - low)) * (height - 4));
  let d = "";
  values.forEach((value, i) => {
    if (value === null || value === undefined) return;
    const before = values[i - 1];
    d += `${before === null || before === undefined ? "M" : "L"}${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
  });
  return svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, class: "spark", preserveAspectRatio: "none", role: "img",
    "aria-label": label },
    svg("path", { d, class: `line tone${tone}`, "vector-effect": "non-scaling-stroke" }));
}

/// Round numbers from 0 to at least `greatest`.
function niceTicks(greatest) {
  if (!(greatest > 0)) return [0, 1];
  const raw = greatest / 3;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.999);
  return Array.from({ length: Math.ceil(greatest / step - 0.001) + 1 }, (_, i) => i * step);
}

/// The full minutes between two instants, every `every` of them.
function minutes(from, to, every) {
  const step = every * 60_000;
  const found = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) found.push(at);
  return found;
}
