// Finds a box of the flow: a list of sinks, sources and rules with their rates, a search, and all relations as a table.

import { byId, el, setText, sortable } from "./dom.js";
import { bytes, count, duration, perSecond, spaced } from "./format.js";
import { rules } from "./graph.js";

const GROUPS = [["sink", "Sinks"], ["source", "Sources"], ["rule", "Rules"]];
const COLUMNS = [
  { name: "Relation", of: (r) => r.name },
  { name: "Kind", of: (r) => r.kind },
  { name: "In per second", of: (r) => r.rows_in_per_second, show: perSecond },
  { name: "Out per second", of: (r) => r.rows_out_per_second, show: perSecond },
  { name: "Unread", of: (r) => r.lag, show: count },
  { name: "Behind the clock", of: (r) => r.watermark_lag_ms, show: duration },
  { name: "State rows", of: (r) => r.state_rows, show: count },
  { name: "State", of: (r) => r.state_bytes, show: bytes },
  { name: "Computed by", of: (r) => spaced(r.operator) },
  { name: "Reads", of: (r) => r.inputs.join(", ") },
];

/// The list beside the graph, and the table that stands for it.
export class Finder {
  constructor(flow) {
    Object.assign(this, { flow, items: new Map(), key: null });
    this.search = byId("flow-search");
    this.search.addEventListener("input", () => this.filter());
    this.search.addEventListener("keydown", (event) => {
      const first = event.key === "Enter" && [...this.items.values()].find((item) => !item.row.hidden);
      if (first) location.hash = first.link.hash;
    });
    this.table = sortable(byId("flow-relations"), "All relations", COLUMNS);
  }

  update(status, isTable) {
    this.relations = status.relations;
    const nodes = rules(status);
    const key = nodes.map((node) => `${node.role}:${node.id}`).join();
    if (this.key !== key) {
      this.key = key;
      this.build(nodes, status.sinks.map((sink) => sink.name));
    }
    for (const node of nodes) {
      const item = this.items.get(node.id);
      setText(item.figure, node.alarm ?? perSecond(node.rate));
      item.figure.classList.toggle("notable", Boolean(node.alarm));
      item.link.classList.toggle("still", node.rate === 0 && !node.alarm);
    }
    if (isTable) this.fillTable();
  }

  build(nodes, order) {
    this.items.clear();
    const roleOf = (node) => (["sink", "source"].includes(node.role) ? node.role : "rule");
    this.groups = GROUPS.map(([role, title]) => {
      const members = nodes.filter((node) => roleOf(node) === role);
      // Sinks in the order in which they are declared.
      if (role === "sink") members.sort((a, b) => order.indexOf(a.id) - order.indexOf(b.id));
      const rows = members.map((node) => {
        const figure = el("span", { class: "figure" });
        const link = el("a", { href: `#flow/${encodeURIComponent(node.id)}`, class: node.role }, el("span", { class: "name" }, node.id), figure);
        const row = el("li", {}, link);
        this.items.set(node.id, { row, link, figure });
        return row;
      });
      const shown = el("span", { class: "hint" });
      const details = el("details", { open: role !== "rule" }, el("summary", {}, `${title} `, shown), el("ul", {}, rows));
      return { details, rows, shown, isRule: role === "rule" };
    });
    byId("flow-list").replaceChildren(...this.groups.map((group) => group.details));
    this.filter();
  }

  filter() {
    const wanted = this.search.value.trim().toLowerCase();
    for (const [id, item] of this.items) item.row.hidden = !id.toLowerCase().includes(wanted);
    let n = 0;
    for (const group of this.groups ?? []) {
      const found = group.rows.filter((row) => !row.hidden).length;
      n += found;
      setText(group.shown, String(found));
      group.details.hidden = found === 0;
      if (group.isRule) group.details.open = wanted !== "" || group.details.open;
    }
    setText(byId("flow-found"), wanted === "" ? "" : n === 0 ? "Nothing has that in its name." : `${n} found`);
    if (!byId("flow-relations").hidden) this.fillTable();
  }

  /// Marks the chosen box in the list.
  mark(id) {
    for (const [name, item] of this.items) {
      if (name === id) item.link.setAttribute("aria-current", "true");
      else item.link.removeAttribute("aria-current");
    }
  }

  fillTable() {
    const wanted = this.search.value.trim().toLowerCase();
    this.table((this.relations ?? []).filter((r) => r.name.toLowerCase().includes(wanted)));
  }
}
