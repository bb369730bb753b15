// Key figures, stages, and the tables of sources, sinks and refused records.

import { sparkline } from "./chart.js";
import { byId, el, setText, svg, table } from "./dom.js";
import { bytes, compact, count, duration, instant, NONE, perSecond, spaced } from "./format.js";
import { sum } from "./series.js";

/// The stages of an epoch as they follow one another; others come behind.
const STAGES = ["poll", "decode", "execute", "encode", "commit"];

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
    ["Latency p99", duration(latency.p99_ms ?? null), `p50 ${duration(latency.p50_ms ?? null)}, last minute`,
      series.get("latency:p99_ms"), 1],
    ["Unread", lags.length > 0 ? compact(total(lags)) : NONE, "records wait in the sources",
      sum(sources.map((name) => series.get(`lag:${name}`))), 3],
    ["Late or rejected", count(refused[0] + refused[1]), `${count(refused[0])} late, ${count(refused[1])} rejected in 10 min`,
      sum([series.get("late"), series.get("rejected")]), 4],
    ["State", bytes(state), `${compact(sumOf(status.relations, "state_rows"))} rows in memory`, null, 5],
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
  byId("stages").replaceChildren(table("Time of each stage of an epoch in the last minute", columns, rows, "No epoch in the last minute."));
}

export function showSources(status, series) {
  const relation = new Map(status.relations.map((r) => [r.name, r]));
  const columns = ["Source", "Read", "Per second", "Unread", "", "Watermark", "Behind the clock", "", "Duplicate", "Late", "Rejected"]
    .map((name, i) => ({ name, number: [1, 2, 3, 6, 8, 9, 10].includes(i) }));
  const rows = status.sources.map((source) => {
    const own = relation.get(source.name);
    const watermark = own?.watermark ? instant(Date.parse(own.watermark)) : NONE;
    return [
      el("span", {}, source.name, " ", el("small", {}, own?.kind ?? "")),
      count(source.read), perSecond(own?.rows_in_per_second), figure(source.lag, 1000),
      sparkline(series.get(`lag:${source.name}`), `Unread records of ${source.name} over time`, 3, 90, 20) ?? "",
      watermark, own?.watermark ? duration(own.watermark_lag_ms) : NONE,
      sparkline(series.get(`watermark:${source.name}`), `How far ${source.name} is behind the clock, over time`, 1, 90, 20) ?? "",
      count(source.duplicate), figure(source.late, 1), figure(source.rejected, 1),
    ];
  });
  keepScroll(byId("sources"), table("Sources", columns, rows, "The rules read no source."));
}

/// A count that stands out from a limit on.
function figure(n, limit) {
  return n >= limit ? el("b", { class: "notable" }, count(n)) : count(n);
}

export function showSinks(status, series) {
  const columns = ["Sink", "Written", "Per second", "", "By kind", "State"].map((name, i) => ({ name, number: i === 1 || i === 2 }));
  const rows = status.sinks.map((sink) => {
    const own = status.relations.find((r) => r.name === sink.name);
    const kinds = Object.entries(sink.kinds).sort(([, a], [, b]) => b - a)
      .map(([kind, n]) => el("span", { class: "tag" }, spaced(kind), " ", el("b", {}, count(n))));
    return [
      sink.name, count(sink.rows), perSecond(own?.rows_out_per_second),
      sparkline(series.get(`sink:${sink.name}`), `Records of ${sink.name} over time`, 2, 90, 20) ?? "",
      kinds.length > 0 ? el("span", { class: "tags" }, kinds) : "",
      sinkState(sink),
    ];
  });
  keepScroll(byId("sinks"), table("Sinks", columns, rows, "The rules write no sink."));
}

function sinkState(sink) {
  const waiting = sink.waiting > 0 ? `${count(sink.waiting)} keys wait` : null;
  if (sink.paused) return el("b", { class: "notable" }, `paused: ${sink.paused}${waiting ? `, ${waiting}` : ""}`);
  return waiting ?? "writing";
}

/// The newest late and rejected records. What they hold is text, whatever it looks like.
export function showRefused(records) {
  const columns = ["Time", "Source", "Partition", "Offset", "Fate", "Reason", "Length", "Begins with"]
    .map((name, i) => ({ name, number: [2, 3, 6].includes(i) }));
  const rows = records.map((r) => [
    instant(r.at_ms), r.relation, String(r.partition), String(r.offset), el("span", { class: `fate ${r.fate === "late" ? "late" : "rejected"}` }, r.fate),
    r.reason, bytes(r.length), r.raw === null ? el("i", {}, r.length > 0 ? "withheld" : "no value") : el("code", {}, r.raw),
  ]);
  keepScroll(byId("refused"), table("Newest late and rejected records", columns, rows, "None. Every record could be used."));
}

/// Shows another table in a box without moving what its reader looks at.
function keepScroll(root, content) {
  const { scrollLeft, scrollTop } = root;
  root.replaceChildren(content);
  Object.assign(root, { scrollLeft, scrollTop });
}
