// Asks the worker. A token, where the worker wants one, is kept for the tab and sent to its own origin only.

import { byId, setText } from "./dom.js";

const ANSWER_WITHIN_MS = 3000;
const KEPT_AS = "curb-token";
const NEEDED = "This worker asks for a token.";
const REFUSED = "The worker does not accept this token.";

/// An answer that is no success: `status` is that of HTTP, `body` what came with it.
export class Refused extends Error {
  constructor(path, status, body) {
    super(`${path} answered ${status}`);
    Object.assign(this, { status, body });
  }
}

let token = read();
/// Whether nothing is asked until a token has been accepted. One that is kept from before is tried by one request first: a
/// worker lets an address that comes with ten wrong ones wait.
let isLocked = token !== null;
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
export async function ask(path, options = {}) {
  if (isLocked) await new Promise((resolve) => release.push(resolve));
  const sent = token;
  const response = await send(path, options, sent);
  if (asksForToken(response)) {
    // Who asked before the present token was there has learnt nothing about it.
    if (sent === token) lock(sent === null ? NEEDED : REFUSED);
    return ask(path, options);
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

function send(path, { method = "GET", body, headers = {}, withinMs = ANSWER_WITHIN_MS }, by) {
  const sent = by === null ? headers : { ...headers, authorization: `Bearer ${by}` };
  return fetch(path, { method, body, headers: sent, signal: AbortSignal.timeout(withinMs), cache: "no-store",
    credentials: "same-origin", redirect: "error" });
}

const asksForToken = (response) => response.status === 401 && /^bearer/i.test(response.headers.get("www-authenticate") ?? "");

/// Whether the page waits for a token.
export const isWaitingForToken = () => isLocked;

function lock(why) {
  isLocked = true;
  setText(byId("token-why"), why);
  const dialog = byId("token");
  if (dialog.open) return;
  byId("token-text").value = "";
  dialog.showModal();
}

function unlock() {
  isLocked = false;
  byId("token").close();
  const waiting = release;
  release = [];
  waiting.forEach((resolve) => resolve());
}

/// Asks with a token; why it is of no use, null if it is.
async function refusalOf(text) {
  const response = await send("/api/status", {}, text);
  if (asksForToken(response)) return REFUSED;
  if (response.status !== 429) return null;
  const seconds = response.headers.get("retry-after");
  return `Too many wrong tokens came from this address. The worker listens again ${seconds ? `in ${seconds} s` : "later"}.`;
}

byId("token-form").addEventListener("submit", async (event) => {
  // The dialog stays until the token is accepted.
  event.preventDefault();
  const text = byId("token-text").value.trim();
  const button = byId("token-go");
  if (text === "" || button.disabled) return;
  button.disabled = true;
  try {
    const why = await refusalOf(text);
    if (why === null) {
      keep(text);
      byId("token-text").value = "";
      unlock();
    } else {
      setText(byId("token-why"), why);
      byId("token-text").select();
    }
  } catch {
    setText(byId("token-why"), "The worker does not answer. Try again.");
  } finally {
    button.disabled = false;
  }
});
byId("token").addEventListener("cancel", (event) => event.preventDefault());
byId("sign-out").addEventListener("click", () => {
  keep(null);
  // What the page shows was for the holder of the token.
  location.reload();
});
byId("sign-out").hidden = token === null;
if (token !== null) {
  refusalOf(token).then((why) => {
    if (why === null) return unlock();
    if (why === REFUSED) keep(null);
    lock(why);
  }, unlock);
}
