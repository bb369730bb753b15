// Asks the worker. A token, where the worker wants one, is kept for the tab and sent to its own origin only.

import { byId, setText } from "./dom.js";

const ANSWER_WITHIN_MS = 3000;
const KEPT_AS = "curb-token";

/// An answer that is no success: `status` is that of HTTP, `body` what came with it.
export class Refused extends Error {
  constructor(path, status, body) {
    super(`${path} answered ${status}`);
    Object.assign(this, { status, body });
  }
}

let token = read();
/// Whether the worker has refused what was last sent; nothing is asked until there is another token.
let isLocked = false;
let release = [];

function read() {
  try {
    return sessionStorage.getItem(KEPT_AS);
  } catch {
    return null;
  }
}

function keep(text) {
  token = text;
  try {
    if (text === null) sessionStorage.removeItem(KEPT_AS);
    else sessionStorage.setItem(KEPT_AS, text);
  } catch {
    // Without storage it is kept for as long as the page is open.
  }
  byId("sign-out").hidden = text === null;
}

/// Asks for a path; gives the parsed answer.
export async function ask(path, { method = "GET", body, headers = {}, withinMs = ANSWER_WITHIN_MS } = {}) {
  if (isLocked) await new Promise((resolve) => release.push(resolve));
  const sent = token === null ? headers : { ...headers, authorization: `Bearer ${token}` };
  const response = await fetch(path, { method, body, headers: sent, signal: AbortSignal.timeout(withinMs), cache: "no-store",
    credentials: "same-origin", redirect: "error" });
  if (response.status === 401 && /^bearer/i.test(response.headers.get("www-authenticate") ?? "")) {
    lock(token === null ? "This worker asks for a token." : "The worker does not accept this token.");
    return ask(path, { method, body, headers, withinMs });
  }
  const text = await response.text();
  let parsed = text;
  try {
    parsed = JSON.parse(text);
  } catch {
    // A proxy in between may answer with a page.
  }
  if (!response.ok) throw new Refused(path, response.status, parsed);
  if (typeof parsed === "string") throw new Error(`${path} did not answer with JSON`);
  return parsed;
}

/// Whether the page waits for a token.
export const isWaitingForToken = () => isLocked;

function lock(why) {
  isLocked = true;
  setText(byId("token-why"), why);
  const dialog = byId("token");
  if (!dialog.open) {
    byId("token-text").value = "";
    dialog.showModal();
  }
}

byId("token-form").addEventListener("submit", () => {
  keep(byId("token-text").value.trim());
  byId("token-text").value = "";
  isLocked = false;
  const waiting = release;
  release = [];
  waiting.forEach((resolve) => resolve());
});
byId("token").addEventListener("cancel", (event) => event.preventDefault());
byId("sign-out").addEventListener("click", () => {
  keep(null);
  // What the page shows was for the holder of the token.
  location.reload();
});
byId("sign-out").hidden = token === null;
