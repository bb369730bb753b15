// The console: asks the worker how it is, and shows the answers.

import { BarChart, LineChart } from "./chart.js";
import { byId, setText } from "./dom.js";
import { Flow } from "./flow.js";
import { compact, duration, perSecond, spaced } from "./format.js";
import { showContact, showHealth } from "./health.js";
import { showRefused, showSinks, showSources, showStages, showTiles } from "./panels.js";
import { Series, sum } from "./series.js";

const STATUS_EVERY_MS = 1000;
const HISTORY_EVERY_MS = 2000;
const ANSWER_WITHIN_MS = 3000;

const series = new Series();
const flow = new Flow(byId("flow"), byId("detail"), series);
const latency = new LineChart(byId("latency"), { label: "Latency", format: duration });
const traffic = new LineChart(byId("traffic"), { label: "Traffic", format: perSecond });
const kinds = new BarChart(byId("kinds"), { label: "Actions by kind", format: compact });

const openedAt = Date.now();
let answeredAt = null;
let status = null;

async function ask(path) {
  const response = await fetch(path, { signal: AbortSignal.timeout(ANSWER_WITHIN_MS), cache: "no-store" });
  if (!response.ok) throw new Error(`${path} answered ${response.status}`);
  return response.json();
}

async function askStatus() {
  status = await ask("/api/status");
  answeredAt = Date.now();
  showHealth(status);
  showTiles(status, series);
  showSources(status, series);
  showSinks(status, series);
  flow.update(status);
}

async function askHistory() {
  const since = series.since;
  series.merge(await ask(since === null ? "/api/history" : `/api/history?since=${since}`));
  latency.update(series, [
    { label: "p50", values: series.get("latency:p50_ms"), tone: 0 },
    { label: "p99", values: series.get("latency:p99_ms"), tone: 1 },
  ]);
  showKinds();
  showStages(series);
  if (status) {
    const all = (prefix, items) => sum(items.map((item) => series.get(`${prefix}:${item.name}`)));
    traffic.update(series, [
      { label: "read", values: all("in", status.sources), tone: 0 },
      { label: "written", values: all("sink", status.sinks), tone: 2 },
    ]);
  }
}

function showKinds() {
  const names = series.under("kind:");
  const ofSink = new Map(names.map((name) => [name, name.split("@")]));
  const several = new Set(names.map((name) => ofSink.get(name)[0])).size < names.length;
  const lines = names.sort().map((name, i) => {
    const [kind, sink] = ofSink.get(name);
    return { label: several ? `${spaced(kind)} (${sink})` : spaced(kind), values: series.get(`kind:${name}`), tone: i % 10 };
  });
  kinds.update(series, lines);
  const sinks = [...new Set(names.map((name) => ofSink.get(name)[1]))];
  setText(byId("kinds-hint"), sinks.length > 0
    ? `Rows written to ${sinks.join(" and ")}, in steps of 10 s.`
    : "A sink with the option count_by = '<column>' is counted by that column’s values.");
}

/// Asks again and again, each time after the answer, and not while nobody looks.
function repeat(work, everyMs) {
  const turn = async () => {
    if (!document.hidden) {
      try {
        await work();
      } catch (error) {
        console.warn(error.message);
      }
    }
    setTimeout(turn, everyMs);
  };
  turn();
}

byId("flow-rules").addEventListener("click", () => choose(false));
byId("flow-steps").addEventListener("click", () => choose(true));

function choose(isByStep) {
  byId("flow-rules").setAttribute("aria-pressed", String(!isByStep));
  byId("flow-steps").setAttribute("aria-pressed", String(isByStep));
  flow.showSteps(isByStep);
}

document.addEventListener("visibilitychange", () => {
  // What was missed while nobody looked is no loss of contact.
  if (!document.hidden && answeredAt !== null) answeredAt = Date.now();
});
repeat(askStatus, STATUS_EVERY_MS);
repeat(askHistory, HISTORY_EVERY_MS);
repeat(async () => showRefused(await ask("/api/refused")), HISTORY_EVERY_MS);
setInterval(() => {
  if (!document.hidden) showContact(answeredAt, openedAt);
}, 500);
