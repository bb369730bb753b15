// The views of the page: one is shown, the address names it, so that it can be linked and left with the back button.

import { byId } from "./dom.js";

const links = [...byId("views").querySelectorAll("a")];
const names = links.map((link) => link.hash.slice(1));
const entered = new Map();

/// The view that is shown.
export let view = "overview";

/// Does something whenever a view is entered.
export function onEnter(name, work) {
  entered.set(name, work);
}

/// Lets a view be chosen, or takes it away.
export function offer(name, isOffered) {
  const link = links[names.indexOf(name)];
  if (link.hidden === !isOffered) return;
  link.hidden = !isOffered;
  show(false);
}

function show(byHand) {
  const asked = location.hash.slice(1).split("/")[0];
  const isThere = names.includes(asked) && !links[names.indexOf(asked)].hidden;
  const before = view;
  view = isThere ? asked : "overview";
  links.forEach((link, i) => {
    if (names[i] === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    byId(names[i]).hidden = names[i] !== view;
  });
  // The browser goes to where the address points; the top is where a view begins.
  if (byHand || view !== before) window.scrollTo(0, 0);
  entered.get(view)?.();
}

window.addEventListener("hashchange", () => {
  // The link that skips to the content is no view.
  if (location.hash !== "#main") show(true);
});

/// Shows the view that the address names.
export const start = () => show(false);
