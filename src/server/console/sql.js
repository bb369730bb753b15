// The box for ad-hoc SQL: reads the tables of the running worker by POST /api/sql. Earlier queries are kept in the page only.

import { ask, Refused } from "./api.js";
import { byId, el, setText, table } from "./dom.js";
import { count, duration } from "./format.js";
import { offer } from "./views.js";

/// A query may take as long before the page gives up.
const ANSWER_WITHIN_MS = 60_000;
/// As many rows are shown, and as many queries kept.
const ROWS_SHOWN_MAX = 1000;
const PAST_MAX = 20;

export class SqlBox {
  constructor() {
    Object.assign(this, { names: "", past: [] });
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
    byId("sql-past").addEventListener("change", (event) => {
      if (event.target.value === "") return;
      this.text.value = this.past[Number(event.target.value)];
      event.target.value = "";
      this.text.focus();
    });
  }

  /// The tables that can be asked.
  offer(status) {
    const tables = status.queryable ?? null;
    offer("sql", tables !== null);
    if (tables === null || this.names === tables.join()) return;
    this.names = tables.join();
    const item = (name) => {
      const button = el("button", { type: "button" }, name);
      button.addEventListener("click", () => this.take(name));
      return el("li", {}, button);
    };
    byId("sql-tables").replaceChildren(el("ul", {}, tables.map(item)));
    if (this.text.value === "" && tables.length > 0) this.text.value = `SELECT * FROM ${tables[0]} LIMIT 20`;
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
      const answer = await ask("/api/sql", { method: "POST", body: query, headers: { "content-type": "text/plain", "x-curb-request": "console" },
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
    const rows = Array.isArray(answer) ? answer : answer.rows;
    const names = answer.columns?.map((column) => column.name ?? column) ?? [...new Set(rows.flatMap((row) => Object.keys(row)))];
    const valueOf = (row, i) => (Array.isArray(row) ? row[i] : row[names[i]]);
    const isNumber = names.map((_, i) => rows.some((row) => typeof valueOf(row, i) === "number") && rows.every((row) => ["number", "undefined"].includes(typeof (valueOf(row, i) ?? undefined))));
    const cell = (value) => (value === null || value === undefined ? el("span", { class: "hint" }, "null") : typeof value === "object" ? JSON.stringify(value) : String(value));
    const shown = rows.slice(0, ROWS_SHOWN_MAX).map((row) => names.map((_, i) => cell(valueOf(row, i))));
    const cut = answer.truncated ? ", the first of more" : rows.length > ROWS_SHOWN_MAX ? `, the first ${count(ROWS_SHOWN_MAX)} are shown` : "";
    setText(byId("sql-state"), `${count(rows.length)} row${rows.length === 1 ? "" : "s"}${cut} in ${duration(ms)}`);
    byId("sql-result").replaceChildren(table("Result", names.map((name, i) => ({ name, number: isNumber[i] })), shown, "No rows."));
  }

  refuse(error, query) {
    const box = byId("sql-error");
    box.hidden = false;
    const told = error instanceof Refused && error.body && typeof error.body === "object" ? error.body : {};
    const fault = told.error && typeof told.error === "object" ? told.error : told;
    const message = fault.message ?? (typeof told.error === "string" ? told.error : error.name === "TimeoutError" ? "The worker did not answer in time." : error.message);
    const { line, column, code, hint } = fault;
    const source = Number.isInteger(line) && Number.isInteger(column) ? query.split("\n")[line - 1] : null;
    box.replaceChildren(el("p", {}, code ? el("b", {}, `${code} `) : null, message),
      ...(source === null || source === undefined ? [] : [el("pre", {}, `${source}\n${" ".repeat(Math.max(0, column - 1))}^`)]),
      ...(hint ? [el("p", {}, hint)] : []));
  }

  keep(query) {
    this.past = [query, ...this.past.filter((other) => other !== query)].slice(0, PAST_MAX);
    const select = byId("sql-past");
    select.hidden = false;
    select.replaceChildren(el("option", { value: "" }, "Earlier queries"),
      ...this.past.map((past, i) => el("option", { value: String(i) }, past.replaceAll(/\s+/g, " ").slice(0, 80))));
  }
}
