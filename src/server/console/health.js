// How the pipeline is, in one word at the top, and whether what the page shows is still true.

import { byId, el, setText } from "./dom.js";
import { clock, compact, count, duration } from "./format.js";

/// Without an answer for this long there is no contact: two of them have been missed.
const CONTACT_MS = 7000;

/// As many reasons stand open.
const REASONS_MAX = 3;

const WORDS = { healthy: "Healthy", starting: "Starting", attention: "Needs attention", failing: "Failing" };
const PHASES = [["starting", "Start"], ["restoring", "Restore state"], ["loading", "Load tables"], ["running", "Run"]];
const PHASE_WORDS = { starting: "starting", restoring: "restoring", loading: "loading", running: "running", stopped: "stopped" };

/// Shows word, reasons and facts of a status.
export function showHealth(status) {
  const { level, reasons } = status.health;
  setLevel(level, WORDS[level] ?? level);
  const list = byId("reasons");
  const told = JSON.stringify([level, status.phase, reasons]);
  if (list.dataset.told !== told) {
    list.dataset.told = told;
    list.hidden = reasons.length === 0;
    list.dataset.level = level;
    const isOpen = list.querySelector("details")?.open ?? false;
    const hasFocus = list.contains(document.activeElement) && document.activeElement.matches("summary");
    list.replaceChildren(...listed(reasons, isOpen), ...explained(status));
    if (hasFocus) list.querySelector("summary")?.focus();
  }
  const left = list.querySelector(".left");
  if (left) {
    setText(left, unread(status));
    const progress = list.querySelector("progress");
    const { read, total } = status.restore ?? { read: 0, total: 0 };
    progress.hidden = total === 0;
    if (total > 0) progress.value = read / total;
  }
  setText(byId("pipeline"), status.pipeline);
  setText(byId("version"), `Curb ${status.version}`);
  document.title = `${WORDS[level] ?? level} · ${status.pipeline} · Curb`;
  facts([
    ["Phase", PHASE_WORDS[status.phase] ?? status.phase],
    ["Epoch", count(status.epoch)],
    ["Restarts", count(status.restarts)],
    ["Undeliverable", count(status.undeliverable)],
    ["Up", duration(Math.floor(status.uptime_ms / 1000) * 1000)],
  ]);
}

/// The gravest reasons, and the others to be opened: a pack with a hundred sinks may have as many.
function listed(reasons, isOpen) {
  const items = reasons.map((reason) => el("li", {}, withCommands(reason)));
  if (items.length <= REASONS_MAX + 1) return items;
  const rest = items.slice(REASONS_MAX);
  return [...items.slice(0, REASONS_MAX), el("li", {}, el("details", { open: isOpen }, el("summary", {}, `${rest.length} more`), el("ul", {}, rest)))];
}

/// A sentence whose parts in backticks are commands.
const withCommands = (sentence) => sentence.split("`").map((part, i) => (i % 2 === 1 ? el("code", {}, part) : part));

/// What stands below the reasons: how far a start has come, or what to do about a stop.
function explained(status) {
  if (status.phase === "stopped") {
    return [el("li", { class: "advice" }, "Nothing is read and nothing is written. The last lines of the worker’s log say why; a restart goes on from the last committed epoch.")];
  }
  const now = PHASES.findIndex(([phase]) => phase === status.phase);
  if (now < 0 || now === PHASES.length - 1) return [];
  const steps = PHASES.map(([, word], i) => el("li", { class: i < now ? "done" : i === now ? "now" : null, "aria-current": i === now ? "step" : null }, word));
  return [el("li", { class: "way" }, el("ol", { class: "phases", "aria-label": "How far the start has come" }, steps),
    el("progress", { max: 1, hidden: true, "aria-label": "How much of the state has been read" }), el("span", { class: "left" }, unread(status)))];
}

function unread(status) {
  if (status.phase === "restoring" && status.restore) {
    const { read, total } = status.restore;
    if (total > 0 && read < total * 0.999) return `${Math.floor((100 * read) / total)} % of ${compact(total)} offsets of the state topic have been read. Records wait in their topics.`;
    return "The state topic has been read; what follows from it is being computed. Records wait in their topics.";
  }
  if (status.phase !== "loading") return "Nothing is lost meanwhile: records wait in their topics.";
  const tables = new Set(status.relations.filter((r) => r.kind === "table").map((r) => r.name));
  const left = status.sources.filter((s) => tables.has(s.name)).reduce((n, s) => n + (s.lag ?? 0), 0);
  return left > 0 ? `${compact(left)} records of tables are left to read.` : "The last records of the tables are being handled.";
}

function facts(pairs) {
  const list = byId("facts");
  pairs.forEach(([name, value], i) => {
    setText(list.children[i].firstChild, name);
    setText(list.children[i].lastChild, value);
  });
}

/// Says whether the worker still answers: `answeredAt` is when it last did, null if it never has; `refused` is what came instead.
export function showContact(answeredAt, openedAt, refused) {
  const silentMs = Date.now() - (answeredAt ?? openedAt);
  const isLost = silentMs > CONTACT_MS;
  const banner = byId("contact");
  document.body.classList.toggle("stale", isLost);
  if (isLost) {
    const since = answeredAt === null ? "It has not answered yet." : `Everything below is as of ${clock(answeredAt)}.`;
    const lastly = refused === null ? "" : ` What answers refuses to (${refused.status}${typeof refused.body?.error === "string" ? `: ${refused.body.error}` : ""}).`;
    setText(banner, `No contact with the worker for ${duration(Math.floor(silentMs / 1000) * 1000)}.${lastly} ${since} The page goes on trying.`);
    setLevel("lost", "No contact");
    document.title = "No contact · Curb";
  }
  // The text changes every second; only that the banner comes and goes is to be announced.
  banner.setAttribute("aria-live", banner.hidden && isLost ? "assertive" : "off");
  banner.hidden = !isLost;
}

function setLevel(level, word) {
  byId("health").dataset.level = level;
  setText(byId("health-word"), word);
}
