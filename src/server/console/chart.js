// Charts over the last minutes: lines and stacked bars, drawn by uPlot (vendor/uplot).
//
// The legend says what the chart shows at the cursor (pointer or arrow keys), else what is newest. Every chart has a
// sentence that stands for it and its figures as a table. Colours are read from the page whenever it is drawn.

import { el, setText, table } from "./dom.js";
import { clock, duration, minute } from "./format.js";

/* global uPlot */

/// Steps that one bar sums up.
const STEPS_PER_BAR = 5;
/// A chart shows at least this long, also if nothing is known of it yet.
const SPAN_MS_MIN = 120_000;
/// A value of the last steps is one of now.
const NOW_STEPS = 5;
/// Rows of the table that stands for a chart.
const TABLE_ROWS = 20;

const charts = new Set();
const colour = (name) => getComputedStyle(probe(name)).color;
const probes = new Map();

/// A colour of the page as a canvas understands it: that of an element that has it.
function probe(name) {
  if (!probes.has(name)) {
    const element = el("i", { hidden: true });
    element.style.color = `var(--${name})`;
    document.body.append(element);
    probes.set(name, element);
  }
  return probes.get(name);
}

window.addEventListener("themechange", () => charts.forEach((chart) => chart.plot?.redraw(false)));

/// What all charts have: a legend, a picture with axes, a cursor, a table.
class Chart {
  constructor(root, { label, format, empty = "Nothing has been measured in this time." }) {
    const top = format === duration ? durationTop : niceTop;
    Object.assign(this, { label, format, empty, top, lines: [], times: [], shown: [], key: null });
    this.legend = el("ul", { class: "legend" });
    this.picture = el("div", { class: "picture", role: "img", tabindex: 0, "aria-label": `${label}: no figures yet` });
    this.waiting = el("p", { class: "empty" }, "The first figures come in a few seconds.");
    this.picture.append(this.waiting);
    this.tableBody = el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `${label} as a table` });
    this.details = el("details", {}, el("summary", {}, "As a table"), this.tableBody);
    this.details.addEventListener("toggle", () => this.fillTable());
    root.replaceChildren(this.legend, this.picture, this.details);
    new ResizeObserver(() => this.fit()).observe(this.picture);
    this.picture.addEventListener("keydown", (event) => this.press(event));
    this.picture.addEventListener("blur", () => this.moveCursor(null));
    charts.add(this);
  }

  /// Shows lines `{ label, values, tone }` over the steps of a series.
  update(series, lines) {
    Object.assign(this, this.prepare(series, lines));
    const known = this.times.length > 0 ? this.times.at(-1) - this.times[0] : 0;
    this.spanMs = Math.min(series.stepMs * series.stepsMax, Math.max(SPAN_MS_MIN, known));
    this.draw();
    if (this.details.open && !this.tableBody.contains(document.activeElement)) this.fillTable();
  }

  draw() {
    if (this.picture.clientWidth === 0 || this.times.length === 0) return;
    const key = JSON.stringify(this.lines.map((line) => [line.label, line.tone]));
    const data = this.data();
    if (this.key !== key) {
      this.key = key;
      this.plot?.destroy();
      this.plot = new uPlot(this.options(), data, this.picture);
    } else {
      this.plot.setData(data);
    }
    setText(this.waiting, this.empty);
    this.waiting.hidden = this.lines.some((line) => line.values.some((value) => value !== null && value !== undefined));
    this.picture.setAttribute("aria-label", this.summary());
    this.showLegend(this.plot.cursor.idx ?? null);
  }

  fit() {
    const width = this.picture.clientWidth;
    if (width === 0) return;
    if (this.plot) this.plot.setSize({ width, height: this.picture.clientHeight });
    else this.draw();
  }

  options() {
    const font = `11px ${getComputedStyle(document.body).fontFamily}`;
    const axis = { stroke: () => colour("muted"), font, ticks: { show: false } };
    const grid = { stroke: () => colour("line"), width: 1 };
    return {
      width: this.picture.clientWidth, height: this.picture.clientHeight, legend: { show: false }, padding: [10, 18, 0, 0],
      cursor: { y: false, drag: { x: false, y: false, setScale: false }, points: { show: this.hasPoints } },
      scales: {
        x: { time: true, range: () => [(this.times.at(-1) - this.spanMs) / 1000, this.times.at(-1) / 1000] },
        y: { range: (u, low, high) => [0, this.top(high)] },
      },
      axes: [
        { ...axis, grid: { show: false }, space: 70, incrs: [60, 120, 300, 600], size: 26,
          values: (u, ticks) => ticks.map((at) => minute(at * 1000)) },
        { ...axis, grid, size: 64, gap: 6, space: 38, splits: (u, i, low, high) => [0, 1, 2, 3, 4].map((n) => (n * high) / 4),
          values: (u, ticks) => ticks.map((tick) => this.format(tick)) },
      ],
      series: [{}, ...this.seriesOptions()],
      hooks: { setCursor: [(u) => this.showLegend(u.cursor.idx ?? null)] },
    };
  }

  press(event) {
    if (!this.plot) return;
    const now = this.plot.cursor.idx ?? this.times.length;
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity }[event.key];
    if (event.key === "Escape") this.moveCursor(null);
    if (!step) return;
    event.preventDefault();
    this.moveCursor(Math.min(this.times.length - 1, Math.max(0, now + step)));
  }

  /// Puts the cursor on a step; nowhere if that is null.
  moveCursor(idx) {
    if (!this.plot) return;
    const left = idx === null ? -10 : this.plot.valToPos(this.times[idx] / 1000, "x");
    this.plot.setCursor({ left, top: idx === null ? -10 : 1 });
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
  hasPoints = true;

  prepare(series, lines) {
    return { times: [...series.times], lines };
  }

  data() {
    const whole = (values) => this.times.map((_, i) => values[i] ?? null);
    return [this.times.map((at) => at / 1000), ...this.lines.map((line) => whole(line.values))];
  }

  seriesOptions() {
    return this.lines.map((line) => ({
      stroke: () => colour(`tone${line.tone}`), width: 1.75,
      points: { show: true, size: 4, width: 0, fill: () => colour(`tone${line.tone}`), filter: alone },
    }));
  }

  legendTime() {
    return "now";
  }

  legendFigure(line, idx) {
    if (idx !== null) return this.format(line.values[idx] ?? null);
    // What is older is not now.
    return this.format(line.values.slice(-NOW_STEPS).findLast((value) => value !== null && value !== undefined) ?? null);
  }

  summary() {
    const parts = this.lines.map((line) => {
      const values = line.values.filter((value) => value !== null && value !== undefined);
      if (values.length === 0) return `${line.label}: nothing measured`;
      return `${line.label}: now ${this.format(values.at(-1))}, greatest ${this.format(Math.max(...values))}`;
    });
    return `${this.label}, the last ${duration(this.spanMs)}. ${parts.join(". ")}.`;
  }
}

/// The steps whose neighbours have no value: no line leads to them.
function alone(plot, series) {
  const values = plot.data[series];
  return values.flatMap((value, i) => (value !== null && (values[i - 1] ?? null) === null && (values[i + 1] ?? null) === null ? [i] : []));
}

/// Stacked bars of counts over time.
export class BarChart extends Chart {
  hasPoints = false;

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

  /// The highest first, so that each is drawn over by those below it.
  data() {
    const base = this.times.map(() => 0);
    const stacks = this.lines.map((line) => line.values.map((value, i) => (base[i] += value)));
    return [this.times.map((at) => at / 1000), ...stacks.reverse()];
  }

  seriesOptions() {
    const paths = uPlot.paths.bars({ size: [0.86, 40, 1], align: -1 });
    return [...this.lines].reverse().map((line) => ({ fill: () => colour(`tone${line.tone}`), width: 0, paths, points: { show: false } }));
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

/// A round number that is not below the greatest value, at least 4, and whose quarters are round as well.
function niceTop(greatest) {
  if (!(greatest > 4)) return 4;
  const power = 10 ** Math.floor(Math.log10(greatest));
  const tops = [1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10, 12].map((m) => m * power);
  return tops.find((top) => top >= greatest * 0.999 && top % 4 === 0) ?? 10 * power;
}

const [SECOND, MINUTE, HOUR, DAY] = [1_000, 60_000, 3_600_000, 86_400_000];
const DURATIONS = [4, 8, 12, 20, 40, 80, 120, 200, 400, 800, ...[1.2, 2, 4, 8, 12, 20, 40, 60].map((n) => n * SECOND),
  ...[2, 4, 8, 12, 20, 40, 60].map((n) => n * MINUTE), ...[2, 4, 8, 12, 24].map((n) => n * HOUR), ...[2, 4, 8, 12, 20, 40, 80].map((n) => n * DAY)];

/// The same for milliseconds: round in the unit in which they are written.
const durationTop = (greatest) => DURATIONS.find((top) => top >= greatest * 0.999) ?? niceTop(greatest / DAY) * DAY;
