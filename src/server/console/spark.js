// A small line without axes, as the neighbour of the figure that it leads to.

import { svg } from "./dom.js";

/// A line of the values known; null if there are none to draw.
export function sparkline(values, label, tone = 0, width = 120, height = 26) {
  const isKnown = (value) => value !== null && value !== undefined;
  const known = values.filter(isKnown);
  if (known.length < 2) return null;
  const [low, high] = [Math.min(0, ...known), Math.max(...known)];
  const x = (i) => 1 + (i / (values.length - 1)) * (width - 2);
  const y = (value) => (high === low ? height - 2 : height - 2 - ((value - low) / (high - low)) * (height - 4));
  let d = "";
  values.forEach((value, i) => {
    if (isKnown(value)) d += `${isKnown(values[i - 1]) ? "L" : "M"}${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
  });
  const said = label ? { role: "img", "aria-label": label } : { "aria-hidden": "true" };
  return svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, class: "spark", preserveAspectRatio: "none", ...said },
    svg("path", { d, class: `line tone${tone}`, "vector-effect": "non-scaling-stroke" }));
}
