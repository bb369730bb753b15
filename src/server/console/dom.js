// Elements from names, attributes and children. Text only ever becomes a text node: nothing that a record holds is markup.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

/// An HTML element. An attribute that is null, undefined or false is left out; children are elements or texts.
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/// An SVG element.
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/// Sets a text only if it differs, so that readers of the screen are not told the same again.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/// A table of texts and elements. A column is `{ name, number }`, a row a list of cells.
export function table(caption, columns, rows, empty) {
  const head = columns.map((c) => el("th", { scope: "col", class: c.number ? "number" : null }, c.name));
  const cell = (content, i) => {
    const attributes = { class: columns[i].number ? "number" : null, "data-column": columns[i].name || null };
    return i === 0 ? el("th", { scope: "row", ...attributes }, content) : el("td", attributes, content);
  };
  const body = rows.length > 0
    ? rows.map((row) => el("tr", {}, row.map((content, i) => cell(content ?? "–", i))))
    : [el("tr", {}, el("td", { colspan: columns.length, class: "empty" }, empty))];
  return el("table", {}, el("caption", { class: "unseen" }, caption), el("thead", {}, el("tr", {}, head)),
    el("tbody", {}, body));
}
