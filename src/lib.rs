//! Curb runs SQL rules over Kafka topics, exactly once.
//!
//! # The way of a record
//!
//! `kafka/source.rs` polls raw records, `format/` decodes the columns in use (`format/json` by a way of its own, what else there
//! is by `format/rows.rs`), a segment (a stateless DataFusion plan,
//! `plan/segment.rs`) filters and projects, an operator (`operators/`) with its state computes what changed,
//! `format/` encodes the rows of the sinks, and `kafka/sink.rs` commits outputs, logged state and input offsets in one
//! transaction. `engine/worker.rs` names these steps, in this order, in one function. The tests run the same
//! loop with memory at its ends (`local/`), a replay the same steps with files; as it logs nothing, its epochs overlap
//! (`engine/overlap.rs`): while one is written, the next are computed and another is read.
//!
//! # What holds everywhere
//!
//! - A **table** is a Z-set: rows with a weight, +1 appeared, -1 disappeared. Relations pass on net differences only, so
//!   that withdrawing one record withdraws what followed from it, whatever the order of arrival.
//! - A **stream** only grows. Its rows carry the number of the source record that they follow from.
//! - An **epoch** is a value: positions, outputs and deltas, committed as a whole or not at all. There is no other
//!   checkpoint. Operators hold the state after it; the value is kept until its commit is known, and written again if it was
//!   aborted. A commit without an answer is decided by the committed offsets, which carry the epoch's number. Only a worker
//!   that has lost its partitions rebuilds its operators.
//! - **Absence is a table's row whose time has come.** `PASSED(t, column)` (`operators/temporal_filter.rs`) holds the rows of a table
//!   back until the watermark of all that the table follows from has passed an instant in them.
//! - **Event time is held back by what may still leave.** The watermark of a relation is that of its inputs, or the least event
//!   time among the rows that its operator keeps to give later (`engine/dataflow/reached.rs`). So a row of an outer join that
//!   leaves an hour after its time is not late for what reads it, and a bucket does not close before it.
//! - **Work is bounded**: by records and bytes an epoch takes in, and by rows a sink writes in one; the rest waits as
//!   differences. So do the rows of a sink that is paused, by hand or because it exceeded its `max_rate`.
//! - **What enters is logged, the rest is derived.** Rows of source tables, operator state over streams, and the last row
//!   per key of sinks and `CHANGES` are written to the state topic; joins, aggregates and windows over tables are computed
//!   again at a restore by one run of the plan.
//! - **The log stays small and restarts quick.** A shard whose deltas have outgrown its state is written to the state topic
//!   again in slices, and what lies before is deleted once the last slice is committed (`engine/rewrite.rs`). Local
//!   snapshots save a restart most of the reading (`engine/snapshot.rs`); they may be lost or damaged at any time.
//! - **Buckets end.** A row of a time bucket is handed on once, when event time has passed the bucket's end
//!   (`operators/window_aggregate`, over tables `operators/final_rows`), or changes until then as a row of a table. Overlapping
//!   buckets share their rows by pane; sessions grow together. Lines are those of the zone's clock and calendar.
//! - **What any later row may come before is a table.** The last row of a key of a stream, its ten greatest
//!   (`operators/top_rows`): rows give way, and those that cannot come back are not kept. `OVER` in the order of time gives one row
//!   for each, when the watermark has passed it or, where its frame ends behind it, what the frame ends with is there.
//! - **PRIVATE is followed by column.** `plan/private.rs` finds out which columns hold values of PRIVATE ones, from the plans as they
//!   are written; a sink that is not allowed to have them is refused.
//! - **A file is a table as a whole.** Its position is a fingerprint of its content (`local/file_tables.rs`); rows that it
//!   lacks are deleted, so a restart takes in only what has changed.
//! - **Forgotten is not deleted.** Where a table declares a retention, rows leave memory behind the end of their time bucket
//!   and nothing that followed from them is withdrawn. `plan/retention.rs` finds out how far that may go through the
//!   relations, `engine/dataflow/forget.rs` does it; what would change such a row later is late.
//! - A record that cannot be used lands in a topic with its reason. No record stops a pipeline, and no row: expressions that
//!   would fail for what a row holds are null (`plan/forgiving.rs`), and where one fails all the same, that row is left out.
//! - **A record waits for its schema.** Records that carry the number of a schema are decoded when the registry has told it; until then
//!   they wait as they came (`engine/worker/preparing.rs`) while the source is polled on, and none is rejected because the
//!   registry is away. Fields become columns by name, once a schema (`format/avro/resolve.rs`), never silently null.
//! - **A setting has one place.** A field of `cli/settings.rs` is its flag, its variable and its key in the file; what the file says
//!   arrives as the flag would, and where each value came from can be shown.
//! - **Where a row comes from is derived, not kept.** The audit trail (`engine/audit.rs`) says what had been read when it left;
//!   `curb why` runs the rules over fewer and fewer of those records, as long as the row stays (`testing/derivation.rs`).
//! - **A query sees one epoch.** Who asks a running worker (`engine/adhoc`) has rows copied between two epochs (`engine/lookup.rs`);
//!   views are computed from them beside the worker, by the same operators as at a restore, and PRIVATE values are masked
//!   before the query runs. What functions and joins would make of little, and what a short text hides, is counted before it is
//!   made (`bounded.rs`, `copied.rs`, `extent.rs`): an allocation that fails ends the worker, not the query.
//!
//! # Layers
//!
//! A module imports only from layers below it, never from a sibling; `tests/layers.rs` holds the table and fails on any
//! other edge. A foreign crate is named in one folder: rdkafka in `kafka/`, axum in `server/`, clap in `cli/`.
//!
//! The modules follow in the order in which data flows through them, upwards from the words they share.

/// Layer 0: change batches, positions, watermarks, keys, shards, and the ports at both ends.
pub mod stream;
/// Layer 0: one named function per measurement.
pub mod metrics;
/// Layer 0: named steps at which a test may end the program.
pub mod fail_point;
/// Layer 1: text to statements, with spans.
pub mod dialect;
/// Layer 1: what rules may call beside DataFusion's functions: calendar, identity, places, statistics.
pub mod functions;
/// Layer 1: bytes to Arrow and back.
pub mod format;
/// Layer 1: keyed rows in memory.
pub mod state;
/// Layer 1: sources, sinks and the state log on Kafka.
pub mod kafka;
/// Layer 1: the same ports on files and in memory.
pub mod local;
/// Layer 2: one streaming operator per file.
pub mod operators;
/// Layer 2: names, schemas, options.
pub mod catalog;
/// Layer 3: from a catalog to a pipeline of relations.
pub mod plan;
/// Layer 4: a pipeline while it lives.
pub mod engine;
/// Layer 5: HTTP: health, measurements, status, answers to SQL, and the console page; who may ask.
pub mod server;
/// Layer 5: tests of rule packs, and what stands in for the roadside.
pub mod testing;
/// Layer 6: the commands, and the only place that prints.
pub mod cli;
