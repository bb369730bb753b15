// The flow as a graph: a node for every statement of the rules, or for every step of them. No DOM, no state.

import { bytes, count, duration, instant, NONE, perSecond, spaced } from "./format.js";

/// Unread records from which on a source says so.
const UNREAD_NOTABLE = 1000;

/// A node for each relation.
export function steps(status) {
  return status.relations.map((relation) => {
    const whole = node(status, relation.name, [relation], relation.inputs);
    if (relation.name === relation.definition) return whole;
    // The step's name says again what it is a step of, and how it is computed.
    const number = relation.name.match(/\d+$/)?.[0] ?? "";
    return { ...whole, title: relation.definition, what: `${spaced(relation.operator)} ${number}`.trim() };
  });
}

/// A node for each statement of the rules; its steps are inside.
export function rules(status) {
  const definitionOf = new Map(status.relations.map((r) => [r.name, r.definition]));
  const groups = new Map();
  status.relations.forEach((r) => groups.set(r.definition, [...(groups.get(r.definition) ?? []), r]));
  return [...groups].map(([name, relations]) => {
    const inputs = relations.flatMap((r) => r.inputs.map((input) => definitionOf.get(input)));
    return node(status, name, relations, [...new Set(inputs.filter((input) => input !== name))]);
  });
}

/// What a box shows: `relations` are its steps, in order.
function node(status, id, relations, inputs) {
  const own = new Set(relations.map((r) => r.name));
  // What others read says how much flows: with CHANGES that is the net difference, not the table's own.
  const read = relations.filter((r) => status.relations.some((other) => !own.has(other.name) && other.inputs.includes(r.name)));
  const output = read.length === 1 ? read[0] : relations.find((r) => r.name === id) ?? relations.at(-1);
  const source = status.sources.find((s) => own.has(s.name));
  const sink = status.sinks.find((s) => own.has(s.name));
  // The kind is that of what carries the name: CHANGES of a table is a stream.
  const { kind } = relations.find((r) => r.name === id) ?? output;
  const role = source ? "source" : sink ? "sink" : kind;
  const what = source ? `${kind} source` : sink ? "sink" : relations.length > 1 ? `${kind}, ${relations.length} steps`
    : spaced(output.operator === "select" ? kind : output.operator);
  return {
    id, label: id, kind, inputs, relations, output, source, sink, role, what,
    // Steps that take in what comes from elsewhere.
    entries: relations.filter((r) => r.inputs.length === 0 || r.inputs.some((input) => !own.has(input))),
    rate: output.rows_out_per_second,
    alarm: sink?.paused ? "paused" : source?.lag > UNREAD_NOTABLE ? `${count(source.lag)} unread` : null,
  };
}

/// What is known of a node, as pairs of name and text.
export function facts(node) {
  const { output, relations, source, sink } = node;
  const total = (field) => relations.reduce((n, r) => n + r[field], 0);
  const found = [
    ["Kind", `${node.kind}${relations.length > 1 ? `, ${relations.length} steps` : ""}`],
    ["Reads", node.inputs.length > 0 ? node.inputs.join(", ") : null],
    ["Rows in", count(node.entries.reduce((n, r) => n + r.rows_in, 0))],
    ["Rows out", `${count(output.rows_out)} (${perSecond(output.rows_out_per_second)})`],
    ["State", `${count(total("state_rows"))} rows, ${bytes(total("state_bytes"))}`],
    ["Watermark", output.watermark ? instant(Date.parse(output.watermark)) : NONE],
    ["Behind the clock", output.watermark ? duration(output.watermark_lag_ms) : NONE],
    ["Computed by", relations.map((r) => spaced(r.operator)).join(" → ")],
  ];
  if (source) {
    found.push(["Unread", count(source.lag)], ["Used", count(source.used)], ["Duplicate", count(source.duplicate)],
      ["Late", count(source.late)], ["Rejected", count(source.rejected)]);
  }
  if (sink) found.push(["Written", count(sink.rows)]);
  if (sink?.paused) found.push(["Paused", sink.paused]);
  return found.filter(([, value]) => value !== null);
}

/// The nodes that read each node.
export function readers(nodes) {
  const found = new Map([...nodes.keys()].map((id) => [id, []]));
  for (const node of nodes.values()) node.inputs.forEach((input) => found.get(input)?.push(node.id));
  return found;
}

/// All nodes before and behind one, itself included; the nearest `most` of them.
export function reach(nodes, id, most = Infinity) {
  const behind = readers(nodes);
  const found = new Set([id]);
  // Both ways at once, step by step: what is near comes first.
  let [before, after] = [[id], [id]];
  const walk = (ids, next) => {
    const fresh = [];
    for (const other of ids.flatMap(next)) {
      if (found.has(other) || found.size >= most || !nodes.has(other)) continue;
      found.add(other);
      fresh.push(other);
    }
    return fresh;
  };
  while (before.length > 0 || after.length > 0) {
    before = walk(before, (n) => nodes.get(n).inputs);
    after = walk(after, (n) => behind.get(n));
  }
  return found;
}
