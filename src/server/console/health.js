// How the pipeline is, in one word at the top, and whether what the page shows is still true.

import { byId, el, setText } from "./dom.js";
import { clock, count, duration } from "./format.js";

/// Without an answer for this long there is no contact: two of them have been missed.
const CONTACT_MS = 7000;

const WORDS = { healthy: "Healthy", starting: "Starting", attention: "Needs attention", failing: "Failing" };
const PHASES = { starting: "starting", restoring: "restoring", loading: "loading tables", running: "running", stopped: "stopped" };

/// Shows word, reasons and facts of a status.
export function showHealth(status) {
  const { level, reasons } = status.health;
  setLevel(level, WORDS[level] ?? level);
  const list = byId("reasons");
  list.hidden = reasons.length === 0;
  list.dataset.level = level;
  if (list.dataset.told !== reasons.join()) {
    list.dataset.told = reasons.join();
    list.replaceChildren(...reasons.map((reason) => el("li", {}, reason)));
  }
  setText(byId("pipeline"), status.pipeline);
  setText(byId("version"), `Curb ${status.version}`);
  document.title = `${WORDS[level] ?? level} · ${status.pipeline} · Curb`;
  facts([
    ["Phase", PHASES[status.phase] ?? status.phase],
    ["Epoch", count(status.epoch)],
    ["Restarts", count(status.restarts)],
    ["Undeliverable", count(status.undeliverable)],
    ["Up", duration(status.uptime_ms)],
  ]);
}

function facts(pairs) {
  const list = byId("facts");
  if (list.children.length === 0) {
    list.append(...pairs.map(([name]) => el("div", {}, el("dt", {}, name), el("dd"))));
  }
  pairs.forEach(([, value], i) => setText(list.children[i].lastChild, value));
}

/// Says whether the worker still answers: `answeredAt` is when it last did, null if it never has.
export function showContact(answeredAt, openedAt) {
  const silentMs = Date.now() - (answeredAt ?? openedAt);
  const isLost = silentMs > CONTACT_MS;
  const banner = byId("contact");
  document.body.classList.toggle("stale", isLost);
  if (isLost) {
    const since = answeredAt === null ? "It has not answered yet." : `Everything below is as of ${clock(answeredAt)}.`;
    setText(banner, `No contact with the worker for ${Math.floor(silentMs / 1000)} s. ${since}`);
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
