// The box for ad-hoc SQL: reads the tables of the running worker by POST /api/sql. Earlier queries are kept in the page only.

import { ask, Refused } from "./api.js";
import { byId, el, setText, table } from "./dom.js";
import { count, duration } from "./format.js";

/// Asks for columns, rows, and whether there are more.
const RICH = "application/vnd.curb.rows+json";
/// A query may take as long before the page gives up.
const ANSWER_WITHIN_MS = 60_000;
/// As many rows are shown, and as many queries kept.
const ROWS_SHOWN_MAX = 1000;
const PAST_MAX = 20;

export class SqlBox {
  constructor() {
    Object.assign(this, { past: [], isListed: false, isBusy: false });
    this.text = byId("sql-text");
    byId("sql-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.run();
    });
    this.text.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        this.run();
      }
    });
    byId("sql-search").addEventListener("input", () => this.filter());
    byId("sql-search").addEventListener("keydown", (event) => {
      // Not what the form is there for.
      if (event.key === "Enter") event.preventDefault();
    });
    byId("sql-past").addEventListener("change", (event) => {
      if (event.target.value === "") return;
      this.text.value = this.past[Number(event.target.value)];
      event.target.value = "";
      this.text.focus();
    });
  }

  /// Asks what can be asked, once.
  async enter(sinks) {
    if (this.isListed) return;
    this.isListed = true;
    try {
      const { relations } = await ask("/api/relations", { withinMs: ANSWER_WITHIN_MS });
      this.list(relations, sinks);
    } catch (error) {
      this.isListed = false;
      byId("sql-tables").replaceChildren(el("p", { class: "hint" }, this.reason(error)));
    }
  }

  /// The relations with their columns; those that cannot be asked say why.
  list(relations, sinks) {
    const open = relations.filter((relation) => !relation.refusal);
    // What the rules are there for comes first.
    const names = sinks.map((sink) => sink.name);
    const place = (name) => (names.includes(name) ? names.indexOf(name) : names.length);
    open.sort((a, b) => place(a.name) - place(b.name) || a.name.localeCompare(b.name));
    const item = (relation) => {
      const button = el("button", { type: "button", title: relation.columns.map((c) => `${c.name} ${c.type}${c.private ? ", private" : ""}`).join("\n") }, relation.name);
      button.addEventListener("click", () => this.take(relation.name));
      return el("li", {}, button);
    };
    const refused = relations.filter((relation) => relation.refusal);
    byId("sql-tables").replaceChildren(el("ul", {}, open.map(item)), refused.length > 0
      ? el("details", {}, el("summary", {}, `Not to be asked ${refused.length}`),
        el("ul", {}, refused.map(({ name, refusal }) => el("li", { class: "refusal" }, el("code", {}, name), " ", refusal)))) : "");
    this.filter();
    const first = open.find((relation) => sinks.some((sink) => sink.name === relation.name && sink.rows > 0)) ?? open[0];
    if (this.text.value === "" && first) this.text.value = `SELECT * FROM ${first.name} LIMIT 20`;
  }

  /// Leaves the tables in sight that have in their name what is searched for.
  filter() {
    const wanted = byId("sql-search").value.trim().toLowerCase();
    for (const button of byId("sql-tables").querySelectorAll("button")) button.parentElement.hidden = !button.textContent.toLowerCase().includes(wanted);
  }

  /// Puts a table's name where the cursor is, or asks for its rows if nothing else is there.
  take(name) {
    const before = this.text.value.trim();
    if (before === "" || /^SELECT \* FROM "?[\w.]+"? LIMIT 20$/.test(before)) this.text.value = `SELECT * FROM ${name} LIMIT 20`;
    else this.text.setRangeText(name, this.text.selectionStart, this.text.selectionEnd, "end");
    this.text.focus();
  }

  async run() {
    const query = this.text.value.trim();
    if (query === "" || this.isBusy) return;
    this.isBusy = true;
    byId("sql-run").disabled = true;
    setText(byId("sql-state"), "Running");
    byId("sql-error").hidden = true;
    const began = performance.now();
    try {
      const answer = await ask("/api/sql", { method: "POST", body: query, headers: { "content-type": "text/plain; charset=utf-8", accept: RICH, "x-curb-request": "console" },
        withinMs: ANSWER_WITHIN_MS });
      this.keep(query);
      this.show(answer, performance.now() - began);
    } catch (error) {
      setText(byId("sql-state"), "");
      byId("sql-result").replaceChildren();
      this.refuse(error, query);
    } finally {
      this.isBusy = false;
      byId("sql-run").disabled = false;
    }
  }

  show(answer, ms) {
    const { columns, rows } = answer;
    const isNumber = (column) => /INT|DOUBLE|FLOAT|REAL|DECIMAL/.test(column.type);
    const cell = (value) => (value === null || value === undefined ? el("span", { class: "hint" }, "null") : typeof value === "object" ? JSON.stringify(value) : String(value));
    const shown = rows.slice(0, ROWS_SHOWN_MAX).map((row) => columns.map((column) => cell(row[column.name])));
    const n = answer.truncated ? `The first ${count(rows.length)} of more rows` : `${count(rows.length)} row${rows.length === 1 ? "" : "s"}`;
    const cut = rows.length > ROWS_SHOWN_MAX ? `, ${count(ROWS_SHOWN_MAX)} of them shown` : "";
    setText(byId("sql-state"), `${n}${cut}; in ${duration(ms)}, as of epoch ${count(answer.as_of.epoch)}`);
    byId("sql-result").replaceChildren(table("Result", columns.map((column) => ({ name: column.name, number: isNumber(column) })), shown, "No rows."));
  }

  refuse(error, query) {
    const box = byId("sql-error");
    box.hidden = false;
    const { line, column, code, hint } = error instanceof Refused && error.body ? error.body : {};
    const source = Number.isInteger(line) && Number.isInteger(column) ? query.split("\n")[line - 1] ?? null : null;
    box.replaceChildren(el("p", {}, code ? el("b", {}, `${code} `) : null, this.reason(error)),
      ...(source === null ? [] : [el("pre", {}, `${source}\n${" ".repeat(Math.max(0, column - 1))}^`)]),
      ...(hint ? [el("p", {}, hint)] : []));
  }

  reason(error) {
    if (error instanceof Refused && typeof error.body?.error === "string") return error.body.error;
    return error.name === "TimeoutError" ? "The worker did not answer in time." : error.message;
  }

  keep(query) {
    this.past = [query, ...this.past.filter((other) => other !== query)].slice(0, PAST_MAX);
    const select = byId("sql-past");
    select.hidden = false;
    select.replaceChildren(el("option", { value: "" }, "Earlier queries"),
      ...this.past.map((past, i) => el("option", { value: String(i) }, past.replaceAll(/\s+/g, " ").slice(0, 80))));
  }
}
