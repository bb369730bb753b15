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
  const head = columns.map((c) => el(c.name ? "th" : "td", { scope: c.name ? "col" : null, class: c.number ? "number" : null }, c.name));
  return el("table", {}, el("caption", { class: "unseen" }, caption), el("thead", {}, el("tr", {}, head)),
    el("tbody", {}, body(columns, rows, empty)));
}

function body(columns, rows, empty) {
  const cell = (content, i) => {
    const attributes = { class: columns[i].number ? "number" : null, "data-column": columns[i].name || null };
    return i === 0 ? el("th", { scope: "row", ...attributes }, content) : el("td", attributes, content);
  };
  return rows.length > 0
    ? rows.map((row) => el("tr", {}, row.map((content, i) => cell(content ?? "–", i))))
    : [el("tr", {}, el("td", { colspan: columns.length, class: "empty" }, empty))];
}

/// A table whose rows are sorted by the column that is chosen in its head. A column is `{ name, of, show }`: the value of
/// a row, and how a number is shown. Gives what fills it.
export function sortable(root, caption, columns) {
  let [by, isDown, items] = [null, false, []];
  const shown = columns.map((c) => ({ name: c.name, number: Boolean(c.show) }));
  const fillIn = () => {
    const sorted = [...items];
    if (by !== null) {
      const { of } = columns[by];
      const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
      // Rows without a value come last, whichever way.
      const isMissing = (row) => of(row) === null || of(row) === undefined;
      sorted.sort((a, b) => isMissing(a) - isMissing(b) || (isMissing(a) ? 0 : compare(of(a), of(b)) * (isDown ? -1 : 1)));
    }
    const cells = (row) => columns.map((c) => (c.show ? c.show(c.of(row)) : c.of(row)));
    tbody.replaceChildren(...body(shown, sorted.map(cells), "Nothing."));
  };
  const heads = columns.map((c, i) => {
    const button = el("button", { type: "button", class: "sort" }, c.name);
    const head = el("th", { scope: "col", class: c.show ? "number" : null }, button);
    button.addEventListener("click", () => {
      isDown = by === i ? !isDown : Boolean(c.show);
      by = i;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", isDown ? "descending" : "ascending");
      fillIn();
    });
    return head;
  });
  const tbody = el("tbody");
  root.replaceChildren(el("table", {}, el("caption", { class: "unseen" }, caption), el("thead", {}, el("tr", {}, heads)), tbody));
  return (rows) => {
    items = rows;
    fillIn();
  };
}

/// Puts other content into a box that scrolls without moving what its reader looks at.
export function keepScroll(root, content) {
  const { scrollLeft, scrollTop } = root;
  root.replaceChildren(content);
  Object.assign(root, { scrollLeft, scrollTop });
}
