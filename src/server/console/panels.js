// Key figures, stages, and the tables of sources, sinks and state.

import { byId, el, keepScroll, setText, svg, table } from "./dom.js";
import { bytes, compact, count, duration, instant, NONE, perSecond, spaced } from "./format.js";
import { sum } from "./series.js";
import { sparkline } from "./spark.js";

/// The stages of an epoch as they follow one another; others come behind.
const STAGES = ["poll", "decode", "execute", "encode", "commit"];
/// As many statements are listed by the state that they hold.
const STATES_MAX = 8;

/// The figures that an operator looks at first, with the line of the last ten minutes.
export function showTiles(status, series) {
  const sources = status.sources.map((s) => s.name);
  const sinks = status.sinks.map((s) => s.name);
  const traffic = (names, side) => sum(names.map((name) => series.get(`${side}:${name}`)));
  const now = (names, field) =>
    status.relations.filter((r) => names.includes(r.name)).reduce((n, r) => n + r[field], 0);
  const total = (values) => values.reduce((a, b) => a + (b ?? 0), 0);
  const latency = series.minute.latency;
  const lags = status.sources.map((s) => s.lag).filter((lag) => lag !== null);
  const state = status.relations.reduce((n, r) => n + r.state_bytes, 0);
  const refused = [total(series.get("late")), total(series.get("rejected"))];
  tiles([
    ["Records in", perSecond(now(sources, "rows_in_per_second")), `${compact(sumOf(status.sources, "read"))} in all`,
      traffic(sources, "in"), 0],
    ["Records out", perSecond(now(sinks, "rows_out_per_second")), `${compact(sumOf(status.sinks, "rows"))} in all`,
      traffic(sinks, "sink"), 2],
    ["Latency p99, 1 min", duration(latency.p99_ms ?? null), `p50 ${duration(latency.p50_ms ?? null)}`,
      series.get("latency:p99_ms"), 1],
    ["Unread", lags.length > 0 ? compact(total(lags)) : NONE, "records wait in sources",
      sum(sources.map((name) => series.get(`lag:${name}`))), 3],
    ["Refused in 10 min", count(refused[0] + refused[1]), `${count(refused[0])} late, ${count(refused[1])} rejected`,
      sum([series.get("late"), series.get("rejected")]), 4],
    ["State", bytes(state), `${compact(sumOf(status.relations, "state_rows"))} rows in memory`, series.get("state"), 5],
  ]);
}

const sumOf = (items, field) => items.reduce((n, item) => n + item[field], 0);

function tiles(figures) {
  const list = byId("tiles");
  if (list.children.length !== figures.length) {
    list.replaceChildren(...figures.map(([label]) => el("li", {}, el("span", { class: "label" }, label), el("strong"),
      el("span", { class: "more" }), el("span", { class: "trend", "aria-hidden": "true" }))));
  }
  figures.forEach(([, value, more, trend, tone], i) => {
    const [, figure, second, picture] = list.children[i].children;
    setText(figure, value);
    setText(second, more);
    const line = trend && sparkline(trend, "", tone, 150, 30);
    picture.replaceChildren(...(line ? [line] : []));
  });
}

/// How long each stage of an epoch takes.
export function showStages(series) {
  const place = (stage) => (STAGES.includes(stage) ? STAGES.indexOf(stage) : STAGES.length);
  const stages = series.minute.stages.filter((stage) => stage.n > 0).sort((a, b) => place(a.stage) - place(b.stage));
  const high = Math.max(0.1, ...stages.map((stage) => stage.p99_ms));
  const width = (ms) => `${((100 * ms) / high).toFixed(1)}%`;
  const bar = (stage) => svg("svg", { class: "stage-bar", height: 14, width: "100%", "aria-hidden": "true" },
    svg("rect", { class: "track", y: 1, height: 12, width: "100%", rx: 2 }),
    svg("rect", { class: "half tone0", y: 1, height: 12, width: width(stage.p50_ms), rx: 2 }),
    svg("rect", { class: "tail tone0", y: 6, height: 2, width: width(stage.p99_ms) }));
  const rows = stages.map((s) => [spaced(s.stage), bar(s), duration(s.p50_ms), duration(s.p99_ms), duration(s.max_ms), count(s.n)]);
  const columns = ["Stage", "", "p50", "p99", "max", "times"].map((title, i) => ({ name: title, number: i > 1 }));
  keepScroll(byId("stages"), table("Time of each stage of an epoch in the last minute", columns, rows, "No epoch in the last minute."));
}

/// Which statements hold the most state.
export function showState(status) {
  const sizes = new Map();
  for (const r of status.relations) {
    const [held, rows] = sizes.get(r.definition) ?? [0, 0];
    sizes.set(r.definition, [held + r.state_bytes, rows + r.state_rows]);
  }
  const greatest = [...sizes].filter(([, [held]]) => held > 0).sort(([, [a]], [, [b]]) => b - a).slice(0, STATES_MAX);
  const total = status.relations.reduce((n, r) => n + r.state_bytes, 0);
  const bar = (held) => svg("svg", { class: "stage-bar", height: 14, width: "100%", "aria-hidden": "true" },
    svg("rect", { class: "track", y: 1, height: 12, width: "100%", rx: 2 }),
    svg("rect", { class: "half tone5", y: 1, height: 12, width: `${((100 * held) / greatest[0][1][0]).toFixed(1)}%`, rx: 2 }));
  const rows = greatest.map(([name, [held, n]]) => [flowLink(name), bar(held), bytes(held), count(n)]);
  const columns = ["Statement", "", "Size", "Rows"].map((name, i) => ({ name, number: i > 1 }));
  setText(byId("state-total"), bytes(total));
  keepPlace(byId("state"), table("State by statement", columns, rows, "No state yet."));
}

/// A name that leads to its box in the flow.
const flowLink = (name) => el("a", { href: `#flow/${encodeURIComponent(name)}` }, name);

export function showSources(status, series) {
  const relation = new Map(status.relations.map((r) => [r.name, r]));
  const columns = ["Source", "Per second", "Read", "Used", "Duplicate", "Late", "Rejected", "Unread", "", "Watermark", "Behind the clock", ""]
    .map((name, i) => ({ name, number: [1, 2, 3, 4, 5, 6, 7, 10].includes(i) }));
  const rows = status.sources.map((source) => {
    const own = relation.get(source.name);
    const watermark = own?.watermark ? instant(Date.parse(own.watermark)) : NONE;
    return [
      el("span", {}, flowLink(source.name), " ", el("small", {}, own?.kind ?? "")),
      perSecond(own?.rows_in_per_second), count(source.read), count(source.used), count(source.duplicate),
      figure(source.late, 1), figure(source.rejected, 1), figure(source.lag, 1000),
      sparkline(series.get(`lag:${source.name}`), `Unread records of ${source.name} over time`, 3, 90, 20) ?? "",
      watermark, own?.watermark ? duration(own.watermark_lag_ms) : NONE,
      sparkline(series.get(`watermark:${source.name}`), `How far ${source.name} is behind the clock, over time`, 1, 90, 20) ?? "",
    ];
  });
  keepPlace(byId("sources-table"), table("Sources", columns, rows, "The rules read no source."));
}

/// A count that stands out from a limit on.
function figure(n, limit) {
  return n >= limit ? el("b", { class: "notable" }, count(n)) : count(n);
}

export function showSinks(status, series) {
  const columns = ["Sink", "Per second", "Written", "", "By kind", "State"].map((name, i) => ({ name, number: i === 1 || i === 2 }));
  const rows = status.sinks.map((sink) => {
    const own = status.relations.find((r) => r.name === sink.name);
    const kinds = Object.entries(sink.kinds).sort(([, a], [, b]) => b - a)
      .map(([kind, n]) => el("span", { class: "tag" }, spaced(kind), " ", el("b", {}, count(n))));
    return [
      flowLink(sink.name), perSecond(own?.rows_out_per_second), count(sink.rows),
      (sink.rows > 0 && sparkline(series.get(`sink:${sink.name}`), `Records of ${sink.name} over time`, 2, 90, 20)) || "",
      kinds.length > 0 ? el("span", { class: "tags" }, kinds) : "",
      sinkState(sink),
    ];
  });
  keepPlace(byId("sinks-table"), table("Sinks", columns, rows, "The rules write no sink."));
}

function sinkState(sink) {
  const waiting = sink.waiting > 0 ? `${count(sink.waiting)} keys wait` : null;
  if (sink.paused) return el("b", { class: "notable" }, `paused: ${sink.paused}${waiting ? `, ${waiting}` : ""}`);
  return waiting ?? (sink.rows > 0 ? "writing" : el("span", { class: "hint" }, "nothing yet"));
}

/// Another table in the place of one, with the scroll and the focus of its reader.
function keepPlace(root, content) {
  const focused = root.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  keepScroll(root, content);
  if (focused !== null) [...root.querySelectorAll("a")].find((a) => a.getAttribute("href") === focused)?.focus({ preventScroll: true });
}
