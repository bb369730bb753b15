// The console: asks the worker how it is, and shows the answers.

import { ask, isWaitingForToken, Refused } from "./api.js";
import { BarChart, LineChart } from "./chart.js";
import { byId, setText } from "./dom.js";
import { Finder } from "./finder.js";
import { Flow } from "./flow.js";
import { compact, duration, perSecond, spaced } from "./format.js";
import { showContact, showHealth } from "./health.js";
import { CellMap } from "./map.js";
import { showSinks, showSources, showStages, showState, showTiles } from "./panels.js";
import { NewestRows, Refusals } from "./records.js";
import { Series, sum } from "./series.js";
import { SqlBox } from "./sql.js";
import { onEnter, start, view } from "./views.js";

const STATUS_EVERY_MS = 1000;
const HISTORY_EVERY_MS = 2000;
const MAP_EVERY_MS = 5000;
/// As many sources are shown with how far they are behind the clock.
const BEHIND_MAX = 5;

const series = new Series();
const flow = new Flow(series, (id) => finder.mark(id));
const finder = new Finder(flow);
const latency = new LineChart(byId("latency"), { label: "Latency", format: duration });
const traffic = new LineChart(byId("traffic"), { label: "Traffic", format: perSecond });
const behind = new LineChart(byId("behind"), { label: "Behind the clock", format: duration });
const kinds = new BarChart(byId("kinds"), { label: "Actions by kind", format: compact,
  empty: "A sink with the option count_by = '<column>' is counted by that column’s values. None has written a row yet." });
const rows = new NewestRows();
const refusals = new Refusals();
const map = new CellMap();
const sql = new SqlBox();

const openedAt = Date.now();
let answeredAt = null;
/// What was answered in place of a status, if anything was.
let refused = null;
let status = null;
let isTable = false;
/// The box that the address names, until it is shown.
let named = null;

async function askStatus() {
  try {
    status = await ask("/api/status");
  } catch (error) {
    refused = error instanceof Refused ? error : null;
    throw error;
  }
  answeredAt = Date.now();
  showHealth(status);
  showTiles(status, series);
  rows.offer(status);
  refusals.count(status);
  showView();
}

/// Brings the view that is looked at up to date; the others are when they are entered.
function showView() {
  if (!status) return;
  if (view === "overview") showState(status);
  if (view === "sources") showSources(status, series);
  if (view === "sql") sql.enter(status.sinks);
  if (view === "sinks") showSinks(status, series);
  if (view === "flow") {
    flow.update(status);
    finder.update(status, isTable);
    showNamed();
  }
}

async function askHistory() {
  const since = series.since;
  series.merge(await ask(since === null ? "/api/history" : `/api/history?since=${since}`));
  if (view === "overview") showCharts();
}

function showCharts() {
  latency.update(series, [
    { label: "p50", values: series.get("latency:p50_ms"), tone: 0 },
    { label: "p99", values: series.get("latency:p99_ms"), tone: 1 },
  ]);
  showKinds();
  showStages(series);
  if (!status) return;
  const all = (prefix, items) => sum(items.map((item) => series.get(`${prefix}:${item.name}`)));
  traffic.update(series, [
    { label: "read", values: all("in", status.sources), tone: 0 },
    { label: "written", values: all("sink", status.sinks), tone: 2 },
  ]);
  const lagOf = new Map(status.relations.map((r) => [r.name, r.watermark_lag_ms]));
  const last = status.sources.filter((s) => lagOf.get(s.name) !== null).sort((a, b) => lagOf.get(b.name) - lagOf.get(a.name));
  behind.update(series, last.slice(0, BEHIND_MAX).map(({ name }, i) => ({ label: name, values: series.get(`watermark:${name}`), tone: i })));
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
    ? `Rows written to ${sinks.join(" and ")}, every 10 s`
    : "Rows that the sinks count by kind, every 10 s");
}

function showNamed() {
  if (named === null) return;
  const name = decodeURIComponent(named);
  named = null;
  if (isTable) chooseForm(false);
  if (flow.isByStep) chooseDetail(false);
  flow.focus(name);
}

/// Asks again and again, each time after the answer, and not while nobody looks.
function repeat(work, everyMs) {
  const turn = async () => {
    if (!document.hidden) {
      try {
        await work();
      } catch (error) {
        // The banner says so when it lasts.
        console.debug(error.message);
      }
    }
    setTimeout(turn, everyMs);
  };
  turn();
}

/// Asks for what only some may see, and says so where the worker does not show it.
async function askFor(path, show, list) {
  try {
    show(await ask(path));
  } catch (error) {
    if (error.status !== 403) throw error;
    list.refuse(error.body?.error);
  }
}

function press(one, other, isOther) {
  byId(one).setAttribute("aria-pressed", String(!isOther));
  byId(other).setAttribute("aria-pressed", String(isOther));
}

function chooseDetail(isByStep) {
  press("flow-rules", "flow-steps", isByStep);
  flow.showSteps(isByStep);
}

function chooseForm(asTable) {
  isTable = asTable;
  press("flow-graph", "flow-table", asTable);
  for (const id of ["flow-picture", "flow-bar", "flow-key", "flow-detail"]) byId(id).hidden = asTable;
  byId("flow-relations").hidden = !asTable;
  showView();
}

byId("flow-rules").addEventListener("click", () => chooseDetail(false));
byId("flow-steps").addEventListener("click", () => chooseDetail(true));
byId("flow-graph").addEventListener("click", () => chooseForm(false));
byId("flow-table").addEventListener("click", () => chooseForm(true));

onEnter("overview", () => {
  showView();
  showCharts();
});
onEnter("flow", () => {
  named = location.hash.split("/")[1] ?? null;
  showView();
});
onEnter("sources", showView);
onEnter("sinks", showView);
onEnter("map", () => map.enter());
onEnter("sql", showView);

document.addEventListener("visibilitychange", () => {
  // What was missed while nobody looked is no loss of contact.
  if (!document.hidden && answeredAt !== null) answeredAt = Date.now();
});
start();
repeat(askStatus, STATUS_EVERY_MS);
repeat(askHistory, HISTORY_EVERY_MS);
repeat(() => askFor("/api/refused", (answer) => refusals.show(answer), refusals.list), HISTORY_EVERY_MS);
repeat(() => askFor(`/api/rows?after=${rows.newest}`, (answer) => rows.add(answer), rows.list), HISTORY_EVERY_MS);
repeat(() => map.ask(view === "map"), MAP_EVERY_MS);
setInterval(() => {
  if (isWaitingForToken()) answeredAt = answeredAt === null ? null : Date.now();
  else if (!document.hidden) showContact(answeredAt, openedAt, refused);
}, 500);
