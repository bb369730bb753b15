// The last minutes, step by step: what /api/history has answered, put together.

/// Columns of equal length, one entry a step. A column that appears later had nothing before.
export class Series {
  constructor() {
    this.times = [];
    this.columns = new Map();
    this.stepMs = 2000;
    this.stepsMax = 300;
    this.minute = { latency: {}, stages: [] };
  }

  /// The instant after which steps are still unknown; none before the first answer.
  get since() {
    return this.times.at(-1) ?? null;
  }

  /// The column of a name; empty if nothing of that name was ever told.
  get(name) {
    return this.columns.get(name) ?? [];
  }

  /// The names that begin with a prefix, without it.
  under(prefix) {
    return [...this.columns.keys()].filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
  }

  /// Adds the steps of an answer.
  merge(answer) {
    this.stepMs = answer.step_ms;
    this.stepsMax = answer.steps_max;
    this.minute = answer.minute;
    const fresh = answer.times_ms.map((at) => at > (this.since ?? -Infinity));
    const first = fresh.indexOf(true);
    if (first < 0) return;
    const before = this.times.length;
    this.times.push(...answer.times_ms.slice(first));
    for (const [name, values, nothing] of columnsOf(answer)) {
      const column = this.columns.get(name) ?? new Array(before).fill(nothing);
      while (column.length < before) column.push(nothing);
      column.push(...values.slice(first));
      this.columns.set(name, column);
    }
    const surplus = Math.max(0, this.times.length - this.stepsMax);
    this.times.splice(0, surplus);
    for (const column of this.columns.values()) {
      while (column.length < before + answer.times_ms.length - first) column.push(null);
      column.splice(0, surplus);
    }
  }
}

/// Every column of an answer: its name, its values, and what stands where it was not told.
function* columnsOf(answer) {
  yield ["epochs", answer.epochs_per_second, 0];
  yield ["late", answer.late, 0];
  yield ["rejected", answer.rejected, 0];
  yield ["restarts", answer.restarts, 0];
  yield ["state", answer.state_bytes ?? [], null];
  for (const quantile of ["p50_ms", "p99_ms", "max_ms", "n"]) {
    yield [`latency:${quantile}`, answer.latency.map((step) => step[quantile]), null];
  }
  for (const [name, relation] of Object.entries(answer.relations)) {
    yield [`in:${name}`, relation.rows_in_per_second, 0];
    yield [`out:${name}`, relation.rows_out_per_second, 0];
  }
  for (const [name, source] of Object.entries(answer.sources)) {
    yield [`lag:${name}`, source.lag, null];
    yield [`watermark:${name}`, source.watermark_lag_ms, null];
  }
  for (const [name, sink] of Object.entries(answer.sinks)) {
    yield [`sink:${name}`, sink.rows_per_second, 0];
    for (const [kind, rows] of Object.entries(sink.kinds)) yield [`kind:${kind}@${name}`, rows, 0];
  }
}

/// The sum of columns, entry by entry; nothing where none of them has a value.
export function sum(columns) {
  const length = Math.max(0, ...columns.map((column) => column.length));
  return Array.from({ length }, (_, i) => {
    const values = columns.map((column) => column[i]).filter((value) => value !== null && value !== undefined);
    return values.length > 0 ? values.reduce((a, b) => a + b, 0) : null;
  });
}
