// The newest rows of the sinks, and the newest late and rejected records. Each says more when it is chosen. What records
// hold is text, whatever it looks like.

import { byId, el, setText } from "./dom.js";
import { bytes, clock, compact, count, instant } from "./format.js";

/// As many rows are listed.
const LISTED_MAX = 100;
/// What stands for a private value.
const MASKED = "private";

/// A list whose entries stay where they are, so that what has the focus keeps it: new ones come in front.
class KeptList {
  constructor(root, empty) {
    this.nodes = new Map();
    this.list = el("ul", { class: "records" });
    this.empty = el("p", { class: "empty" }, empty);
    root.replaceChildren(this.list, this.empty);
  }

  /// Shows items by key, the newest first; `build` makes the entry of a new one.
  show(items, build) {
    const keys = new Set(items.map((item) => item.key));
    for (const [key, node] of this.nodes) {
      if (keys.has(key)) continue;
      node.remove();
      this.nodes.delete(key);
    }
    let next = this.list.firstChild;
    for (const item of items) {
      const known = this.nodes.get(item.key);
      if (known) {
        next = known.nextSibling;
        continue;
      }
      const node = build(item);
      this.nodes.set(item.key, node);
      this.list.insertBefore(node, next);
    }
    this.empty.hidden = items.length > 0;
    this.list.hidden = items.length === 0;
  }

  /// Says why nothing is shown.
  refuse(reason) {
    setText(this.empty, `The worker does not show this here: ${reason ?? "it gives no reason"}.`);
  }
}

/// The rows that the sinks wrote last.
export class NewestRows {
  constructor() {
    Object.assign(this, { rows: [], newest: 0, sinks: "", isHeld: false, pipeline: "NAME" });
    this.list = new KeptList(byId("rows"), "No row has left since the worker started.");
    this.select = byId("rows-sink");
    this.select.addEventListener("change", () => this.show());
    this.hold = byId("rows-hold");
    this.hold.addEventListener("click", () => {
      this.isHeld = !this.isHeld;
      this.hold.setAttribute("aria-pressed", String(this.isHeld));
      this.show();
    });
  }

  /// The sinks that can be chosen.
  offer(status) {
    this.pipeline = status.pipeline;
    const sinks = status.sinks.filter((sink) => sink.rows > 0).map((sink) => sink.name);
    if (this.sinks === sinks.join()) return;
    this.sinks = sinks.join();
    const chosen = this.select.value;
    this.select.replaceChildren(el("option", { value: "" }, "All sinks"), ...sinks.map((name) => el("option", { value: name }, name)));
    this.select.value = sinks.includes(chosen) ? chosen : "";
  }

  /// Adds the rows of an answer.
  add({ newest, rows, rows_max: most }) {
    // A worker that has begun anew counts from the beginning.
    if (newest < this.newest) this.rows = [];
    this.newest = newest;
    const perSink = new Map();
    this.rows = [...rows, ...this.rows].filter((row) => {
      const n = (perSink.get(row.sink) ?? 0) + 1;
      perSink.set(row.sink, n);
      return n <= most;
    });
    this.show();
  }

  show() {
    const wanted = this.select.value;
    const rows = this.rows.filter((row) => wanted === "" || row.sink === wanted).slice(0, LISTED_MAX);
    if (this.isHeld) {
      const n = rows.filter((row) => row.seq > this.shownTo).length;
      setText(this.hold, n > 0 ? `Go on, ${count(n)} new` : "Go on");
      return;
    }
    setText(this.hold, "Hold");
    // Nothing moves below a reader who goes through the rows by keyboard.
    if (byId("rows").contains(document.activeElement)) return;
    this.shownTo = this.newest;
    this.list.show(rows.map((row) => ({ key: `${row.seq}@${row.at_ms}`, row })), ({ row }) => this.entry(row));
  }

  entry(row) {
    // What stands in front already is not told again.
    const told = row.values.filter(([name, value]) => value !== null && value !== row.id && !row.masked.includes(name)).slice(0, 8);
    const text = row.deleted ? "deleted" : told.map(([name, value]) => `${name} ${brief(value)}`).join(" · ");
    const id = row.id ?? "";
    const button = el("button", { type: "button" },
      el("span", { class: "at" }, clock(row.at_ms)), el("span", { class: "tag" }, row.sink),
      el("b", { class: "id" }, id), el("span", { class: row.deleted ? "gone" : "text" }, text));
    button.addEventListener("click", () => this.tell(row));
    return el("li", {}, button);
  }

  tell(row) {
    const values = row.values.map(([name, value]) => [name, row.masked.includes(name)
      ? el("span", { class: "masked" }, MASKED) : value === null ? el("span", { class: "hint" }, "null") : el("span", { class: "value" }, whole(value))]);
    const command = row.id === null ? null : `curb why ${quoted(row.id)} PACK --brokers HOST:PORT --pipeline ${quoted(this.pipeline)}`;
    openSheet(row.deleted ? "Deleted row" : "Row", [
      pairs([["Sink", row.sink], ["Committed", instant(row.at_ms)], ["Key", row.key ?? "–"]]),
      row.deleted ? el("p", {}, "A tombstone: the key has no row any more.") : null,
      values.length > 0 ? el("h3", {}, "Columns") : null, values.length > 0 ? pairs(values) : null,
      command ? el("h3", {}, "Why is it there?") : null,
      command ? el("p", { class: "hint" }, "With curb run --audit, this names the records that it follows from:") : null,
      command ? copyable(command) : null,
    ]);
  }
}

/// The newest late and rejected records.
export class Refusals {
  constructor() {
    this.list = new KeptList(byId("refused"), "None. Every record could be used.");
  }

  show(records) {
    const items = records.map((r) => ({ key: `${r.fate}:${r.relation}:${r.partition}:${r.offset}:${r.at_ms}`, r }));
    this.list.show(items, ({ r }) => this.entry(r));
  }

  /// Says beside the name of the view how many records there have been; of the newest there is a list.
  count(status) {
    const n = status.sources.reduce((sum, source) => sum + source.late + source.rejected, 0);
    const badge = byId("records-badge");
    badge.hidden = n === 0;
    setText(badge, n === 0 ? "" : `${compact(n)} refused`);
  }

  entry(r) {
    const button = el("button", { type: "button" },
      el("span", { class: "at" }, clock(r.at_ms)), el("span", { class: `tag ${r.fate}` }, r.fate),
      el("b", { class: "id" }, `${r.relation} ${r.partition}:${r.offset}`), el("span", { class: "text" }, r.reason === "late" ? "behind the watermark" : r.reason));
    button.addEventListener("click", () => this.tell(r));
    return el("li", {}, button);
  }

  tell(r) {
    const why = r.fate === "late"
      ? "It came when its event time was already behind the watermark, or changed a row that its retention had let go. No rule has used it."
      : "It could not be read as a row of its source. No rule has used it; all others went on.";
    openSheet(r.fate === "late" ? "Late record" : "Rejected record", [
      el("p", {}, why),
      pairs([["Source", r.relation], ["Reason", r.reason], ["Partition", String(r.partition)], ["Offset", String(r.offset)],
        ["Handled", instant(r.at_ms)], ["Length", bytes(r.length)]]),
      el("h3", {}, "Begins with"),
      r.raw === null
        ? el("p", { class: "hint" }, r.length > 0 ? "Withheld: the source has a private column." : "It has no value.")
        : el("pre", { tabindex: 0 }, r.raw),
      el("p", { class: "hint" }, `The topic of the source with .${r.fate} behind its name holds it whole where that is allowed, with reason, position and SHA-256 as headers.`),
    ]);
  }
}

/// A list of names and what they stand for.
const pairs = (items) => el("dl", { class: "pairs" }, items.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));

function whole(value) {
  if (Array.isArray(value) && value.every((item) => typeof item !== "object")) return value.join(", ");
  return typeof value === "object" ? JSON.stringify(value, null, 1) : String(value);
}

function brief(value) {
  const text = typeof value === "object" ? JSON.stringify(value) : String(value);
  return text.length > 48 ? `${text.slice(0, 47)}…` : text;
}

/// A word as a shell takes it.
const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

function copyable(command) {
  const button = el("button", { type: "button", class: "plain" }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(command);
      setText(button, "Copied");
    } catch {
      getSelection().selectAllChildren(button.previousSibling);
      setText(button, "Selected");
    }
  });
  return el("div", { class: "command" }, el("code", { tabindex: 0 }, command), button);
}

/// Shows a sheet at the side; Escape, its button or a click beside it close it.
function openSheet(title, content) {
  const sheet = byId("record");
  const close = el("button", { type: "button", class: "quiet icon close", "aria-label": "Close" }, "×");
  close.addEventListener("click", () => sheet.close());
  sheet.replaceChildren(el("div", { class: "sheet-body" }, el("div", { class: "sheet-head" }, el("h2", { id: "record-title" }, title), close),
    ...content.filter((part) => part !== null)));
  if (!sheet.open) sheet.showModal();
}

byId("record").addEventListener("click", (event) => {
  if (event.target === event.currentTarget) event.currentTarget.close();
});
