//! Measurements: one named function each, so that names and labels stand in one place.
//!
//! Units are seconds, bytes, rows and records. Labels are names from the pack or words from a fixed list, never a key or a
//! device. Where measurements go is decided by the recorder that `server/` installs; without one they cost nothing.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

mod kafka;
mod process;

pub use kafka::{KafkaClient, KafkaTotals, set_kafka_client, set_transaction_state};
pub use process::{AllocatorUse, ProcessUse, ask_allocator_by, set_allocator, set_process};

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

/// The upper bounds of the buckets of all histograms, in seconds: the same everywhere, so that workers can be summed up. They
/// lie close where latencies are promised, so that a percentile read from them is right to about a third.
pub const BUCKETS_SECONDS: [f64; 30] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002, 0.003, 0.005, 0.007_5, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.06,
    0.08, 0.1, 0.125, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0,
];

/// The histogram whose values are hours and days as often as milliseconds: devices send late.
pub const EVENT_LATENCY: &str = "curb_event_latency_seconds";

/// The upper bounds of the buckets of [`EVENT_LATENCY`], in seconds, up to a week.
pub const EVENT_LATENCY_BUCKETS_SECONDS: [f64; 22] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0,
    21_600.0, 86_400.0, 259_200.0, 604_800.0,
];

/// Says what each measurement means, for whoever reads the exposition.
pub fn describe() {
    describe_pipeline();
    kafka::describe();
    process::describe();
}

fn describe_pipeline() {
    describe_gauge!("curb_build_info", "The version of the program, as a label");
    describe_counter!(
        "curb_records_consumed_total",
        "Records read and committed, by source and by what became of them"
    );
    describe_counter!("curb_records_produced_total", "Records committed, by sink");
    describe_gauge!("curb_sink_paused", "1 if a sink is paused, by hand or because it exceeded its max_rate");
    describe_gauge!("curb_sink_waiting_keys", "Keys whose change waits to be written, by sink");
    describe_counter!(
        "curb_sink_rows_total",
        "Records committed, by sink and value of the column that `count_by` names"
    );
    describe_counter!("curb_failed_rows_total", "Rows left out because an expression cannot be computed for them");
    describe_counter!("curb_records_undeliverable_total", "Records left out because their topic does not take them");
    describe_counter!("curb_relation_rows_total", "Rows that a relation took in and gave out");
    describe_gauge!(
        "curb_changes_after_close",
        "Changes of a table that came when the final rows of their bucket had left, since the worker's last restore"
    );
    describe_gauge!("curb_relation_watermark_timestamp_seconds", "The watermark of a relation, since the Unix epoch");
    describe_gauge!("curb_relation_watermark_lag_seconds", "How far a relation's watermark is behind the clock");
    describe_gauge!("curb_consumer_lag_records", "Records of a source that have not been read");
    describe_gauge!("curb_state_rows", "Rows or keys of state of a relation");
    describe_gauge!("curb_state_bytes", "Bytes of memory of the state of a relation");
    describe_counter!("curb_state_logged_bytes_total", "Bytes of logged state in committed epochs");
    describe_gauge!("curb_state_restore_seconds", "How long the last restore took");
    describe_counter!(
        "curb_state_rewrites_total",
        "Shards whose state was written to the state topic again as a whole"
    );
    describe_counter!("curb_state_cuts_total", "Deletions of what was rewritten from the state topic, by result");
    describe_counter!("curb_snapshots_total", "Local snapshots of shards, by what became of them");
    describe_gauge!("curb_snapshot_bytes", "Bytes of the local snapshots of all shards");
    describe_histogram!(
        "curb_e2e_latency_seconds",
        "From a record's timestamp to the commit of what follows from it, without the first load"
    );
    describe_histogram!(
        "curb_stage_duration_seconds",
        "Time per epoch in each stage; poll includes waiting for records"
    );
    describe_histogram!("curb_epoch_duration_seconds", "From the records of an epoch to its commit");
    describe_counter!("curb_transactions_total", "Epochs handed to the broker, by result");
    describe_counter!(
        "curb_producer_replaced_total",
        "Transactional producers replaced because their state was in doubt"
    );
    describe_counter!("curb_restarts_total", "Epochs dropped, after which the state was restored");
    describe_gauge!("curb_waiting_for_schemas", "1 while records wait for a schema registry that does not answer");
    describe_gauge!("curb_loaded", "1 if all tables have been read to the end noted at start");
    describe_gauge!(
        "curb_pack_info",
        "1; the pipeline, the worker's number, the shards and a hash of the rules, as labels"
    );
    describe_gauge!("curb_pack_objects", "Sources, relations and sinks of the pack");
    describe_counter!(
        "curb_records_rejected_total",
        "Records that could not be used, by source and reason: unreadable, encoding, no_value, key, null, type, schema, future"
    );
    describe_histogram!(
        "curb_event_latency_seconds",
        "From a record's event time to the commit of what follows from it, without the first load; of at most 256 records of \
         a source and epoch. It shows how fresh data is, not how fast the program"
    );
    describe_gauge!("curb_partition_lag_records", "Records of a partition of a source that have not been read");
    describe_gauge!(
        "curb_consumer_lag_seconds",
        "How old the newest record read is of the partition of a source that is most behind; 0 if all is read"
    );
    describe_gauge!(
        "curb_worker_phase",
        "1 for what the worker is doing: starting, restoring, loading, running or stopped"
    );
    describe_gauge!("curb_loop_age_seconds", "How long ago the worker's loop last came round");
    describe_gauge!("curb_last_commit_timestamp_seconds", "When an epoch was last committed, since the Unix epoch");
    describe_histogram!("curb_snapshot_duration_seconds", "How long it took to write the local snapshot of a shard");
    describe_gauge!(
        "curb_snapshot_timestamp_seconds",
        "When the oldest of the local snapshots was written that this run wrote, since the Unix epoch"
    );
    describe_gauge!(
        "curb_snapshot_behind_bytes",
        "Bytes of logged state behind the local snapshots: what a restart reads"
    );
    describe_counter!("curb_http_requests_total", "Requests over HTTP that were answered, by address and status code");
    describe_histogram!("curb_http_request_duration_seconds", "From a request over HTTP to its answer");
    describe_histogram!("curb_transaction_duration_seconds", "From the begin of a transaction to its end, by result");
    describe_counter!("curb_rebalances_total", "Assignments and revocations of partitions by the group");
    describe_gauge!("curb_assigned_partitions", "Partitions that the group has given to this worker, of all topics");
    describe_gauge!("curb_paused_partitions", "Partitions that are not read at the moment, while tables are loaded");
}

/// The version of the program.
pub fn set_build_info(version: &'static str) {
    gauge!("curb_build_info", "version" => version).set(1.0);
}

/// Records of a source that met one fate: `used`, `duplicate`, `late` or `rejected`. The fates sum to all that was read.
pub fn count_consumed(source: &str, fate: &'static str, n_records: u64) {
    counter!("curb_records_consumed_total", "source" => source.to_string(), "fate" => fate).increment(n_records);
}

/// Records committed to a sink.
pub fn count_produced(sink: &str, n_records: u64) {
    counter!("curb_records_produced_total", "sink" => sink.to_string()).increment(n_records);
}

/// Whether a sink is paused, and how many keys wait to be written.
pub fn set_waiting(sink: &str, is_paused: bool, n_waiting: u64) {
    gauge!("curb_sink_paused", "sink" => sink.to_string()).set(f64::from(u8::from(is_paused)));
    gauge!("curb_sink_waiting_keys", "sink" => sink.to_string()).set(n_waiting as f64);
}

/// Records committed to a sink whose column named by `count_by` holds `kind`.
///
/// A rule writes that column, so its values are few words; `engine/kinds.rs` sees to it that they are.
pub fn count_sink_rows(sink: &str, kind: &str, n_records: u64) {
    counter!("curb_sink_rows_total", "sink" => sink.to_string(), "kind" => kind.to_string()).increment(n_records);
}

/// A record that its topic does not take was left out of a committed epoch.
pub fn count_undeliverable(output: &str) {
    counter!("curb_records_undeliverable_total", "output" => output.to_string()).increment(1);
}

/// Rows that were left out because an expression cannot be computed for what they hold.
pub fn count_failed_rows(n_rows: u64) {
    counter!("curb_failed_rows_total").increment(n_rows);
}

/// Rows that a relation took in and gave out in a committed epoch.
pub fn count_relation_rows(relation: &str, n_in: u64, n_out: u64) {
    counter!("curb_relation_rows_total", "relation" => relation.to_string(), "direction" => "in").increment(n_in);
    counter!("curb_relation_rows_total", "relation" => relation.to_string(), "direction" => "out").increment(n_out);
}

/// The watermark of a relation, and how far it is behind the clock, both in milliseconds.
pub fn set_watermark(relation: &str, watermark_ms: i64, lag_ms: i64) {
    let relation = || relation.to_string();
    gauge!("curb_relation_watermark_timestamp_seconds", "relation" => relation()).set(watermark_ms as f64 / 1000.0);
    gauge!("curb_relation_watermark_lag_seconds", "relation" => relation()).set(lag_ms as f64 / 1000.0);
}

/// Changes of a table that came after the final rows of their bucket.
pub fn set_changes_after_close(relation: &str, n_changes: u64) {
    gauge!("curb_changes_after_close", "relation" => relation.to_string()).set(n_changes as f64);
}

/// Records of a source that are in its topic but have not been read.
pub fn set_lag(source: &str, n_records: i64) {
    gauge!("curb_consumer_lag_records", "source" => source.to_string()).set(n_records as f64);
}

/// The state that a relation holds.
pub fn set_state_size(relation: &str, n_rows: usize, n_bytes: usize) {
    gauge!("curb_state_rows", "relation" => relation.to_string()).set(n_rows as f64);
    gauge!("curb_state_bytes", "relation" => relation.to_string()).set(n_bytes as f64);
}

/// From each record's Kafka timestamp to the commit of what follows from it, in milliseconds.
pub fn observe_latencies(latencies_ms: impl Iterator<Item = u64>) {
    let seconds = histogram!("curb_e2e_latency_seconds");
    latencies_ms.for_each(|ms| seconds.record(ms as f64 / 1000.0));
}

/// The target of spans that are for a collector of traces, and not for the log. Their fields are numbers and names of the
/// program.
pub const SPAN_TARGET: &str = "curb::trace";

/// The field of a span that names the spans which led to it, as a list of `traceparent`s.
pub const LINKS_FIELD: &str = "curb.links";

/// Measures a stage of an epoch (`poll`, `decode`, `execute`, `encode`, `commit`) until it is dropped.
pub struct StageTimer {
    stage: &'static str,
    started: Instant,
    /// Within the span of an epoch, that of its stage.
    _span: Option<tracing::span::EnteredSpan>,
}

impl StageTimer {
    /// Begins now.
    pub fn start(stage: &'static str) -> Self {
        let is_traced = tracing::Span::current().metadata().is_some_and(|m| m.target() == SPAN_TARGET);
        let span = || tracing::info_span!(target: SPAN_TARGET, "stage", otel.name = stage).entered();
        Self { stage, started: Instant::now(), _span: is_traced.then(span) }
    }
}

impl Drop for StageTimer {
    fn drop(&mut self) {
        histogram!("curb_stage_duration_seconds", "stage" => self.stage).record(self.started.elapsed().as_secs_f64());
    }
}

/// How long an epoch took, from its first record to its commit.
pub fn observe_epoch(duration: Duration) {
    histogram!("curb_epoch_duration_seconds").record(duration.as_secs_f64());
}

/// How the commit of an epoch ended: `commit`, `abort`, `unknown`, `fenced` or `fatal`.
pub fn count_transaction(result: &'static str) {
    counter!("curb_transactions_total", "result" => result).increment(1);
}

/// The transactional producer was replaced, because its state was in doubt.
pub fn count_producer_replaced() {
    counter!("curb_producer_replaced_total").increment(1);
}

/// Bytes of logged state in a committed epoch.
pub fn count_delta_bytes(n_bytes: u64) {
    counter!("curb_state_logged_bytes_total").increment(n_bytes);
}

/// How long a restore took.
pub fn set_restore_duration(duration: Duration) {
    gauge!("curb_state_restore_seconds").set(duration.as_secs_f64());
}

/// The state of a shard was written again as a whole.
pub fn count_rewrite() {
    counter!("curb_state_rewrites_total").increment(1);
}

/// What was rewritten is `deleted`, or that has `failed`.
pub fn count_state_cut(result: &'static str) {
    counter!("curb_state_cuts_total", "result" => result).increment(1);
}

/// A local snapshot was `written`, `used`, `discarded` or has `failed`.
pub fn count_snapshot(result: &'static str) {
    counter!("curb_snapshots_total", "result" => result).increment(1);
}

/// Bytes of the local snapshots of all shards.
pub fn set_snapshot_bytes(n_bytes: u64) {
    gauge!("curb_snapshot_bytes").set(n_bytes as f64);
}

/// An epoch was dropped and the state restored.
pub fn count_restart() {
    counter!("curb_restarts_total").increment(1);
}

/// Whether the first load is complete.
pub fn set_loaded(loaded: bool) {
    gauge!("curb_loaded").set(f64::from(u8::from(loaded)));
}

/// Whether records wait for a schema registry that does not answer.
pub fn set_waiting_for_schemas(waits: bool) {
    gauge!("curb_waiting_for_schemas").set(f64::from(u8::from(waits)));
}

/// What a running pipeline is; all of it in labels that never change while it runs.
pub struct PackInfo<'a> {
    /// The pipeline's name.
    pub pipeline: &'a str,
    /// The number of the worker.
    pub instance: u32,
    /// The number of shards.
    pub n_shards: u32,
    /// The hash of the text of all rules, in hex.
    pub pack_sha256: &'a str,
    /// The numbers of its sources, relations and sinks.
    pub n_sources: usize,
    /// Relations, sources and sinks among them.
    pub n_relations: usize,
    /// Sinks.
    pub n_sinks: usize,
}

/// What runs here.
pub fn set_pack_info(info: &PackInfo<'_>) {
    // As many digits as tell two versions apart for a reader.
    let rules = info.pack_sha256.get(..12).unwrap_or(info.pack_sha256).to_owned();
    let (pipeline, instance, shards) = (info.pipeline.to_owned(), info.instance.to_string(), info.n_shards.to_string());
    gauge!("curb_pack_info", "pipeline" => pipeline, "instance" => instance, "shards" => shards, "rules" => rules)
        .set(1.0);
    for (kind, n) in [("source", info.n_sources), ("relation", info.n_relations), ("sink", info.n_sinks)] {
        gauge!("curb_pack_objects", "kind" => kind).set(n as f64);
    }
}

/// A record of a source was rejected; `reason` is a word of a fixed list.
pub fn count_rejected(source: &str, reason: &'static str, n_records: u64) {
    counter!("curb_records_rejected_total", "source" => source.to_string(), "reason" => reason).increment(n_records);
}

/// From the event times of records of a source to the commit of what follows from them, in milliseconds.
pub fn observe_event_latencies(source: &str, latencies_ms: impl Iterator<Item = u64>) {
    let seconds = histogram!(EVENT_LATENCY, "source" => source.to_string());
    latencies_ms.for_each(|ms| seconds.record(ms as f64 / 1000.0));
}

/// Records of a partition of a source that are in its topic but have not been read.
pub fn set_partition_lag(source: &str, partition: i32, n_records: i64) {
    let labels = [("source", source.to_string()), ("partition", partition.to_string())];
    gauge!("curb_partition_lag_records", &labels).set(n_records as f64);
}

/// How old the newest record read is of the partition of a source that is most behind, in milliseconds.
pub fn set_lag_ms(source: &str, lag_ms: i64) {
    gauge!("curb_consumer_lag_seconds", "source" => source.to_string()).set(lag_ms as f64 / 1000.0);
}

/// Which of `phases` the worker is in.
pub fn set_phase(phases: &[&'static str], phase: &'static str) {
    for known in phases {
        gauge!("curb_worker_phase", "phase" => *known).set(f64::from(u8::from(*known == phase)));
    }
}

/// How long ago the worker's loop last came round.
pub fn set_loop_age(age: Duration) {
    gauge!("curb_loop_age_seconds").set(age.as_secs_f64());
}

/// An epoch was committed now.
pub fn note_commit() {
    gauge!("curb_last_commit_timestamp_seconds").set(since_unix_epoch(SystemTime::now()));
}

/// How long it took to write a snapshot, and when the oldest one was written.
pub fn observe_snapshot(duration: Duration, oldest: SystemTime) {
    histogram!("curb_snapshot_duration_seconds").record(duration.as_secs_f64());
    gauge!("curb_snapshot_timestamp_seconds").set(since_unix_epoch(oldest));
}

/// Bytes of logged state behind the snapshots.
pub fn set_snapshot_behind(n_bytes: u64) {
    gauge!("curb_snapshot_behind_bytes").set(n_bytes as f64);
}

/// How long a transaction took that ended with `result`, as [`count_transaction`] names it.
pub fn observe_transaction(result: &'static str, duration: Duration) {
    histogram!("curb_transaction_duration_seconds", "result" => result).record(duration.as_secs_f64());
}

/// The group has `assigned` partitions to this worker, or `revoked` them.
pub fn count_rebalance(kind: &'static str, n_partitions: usize) {
    counter!("curb_rebalances_total", "kind" => kind).increment(1);
    gauge!("curb_assigned_partitions").set(n_partitions as f64);
}

/// Partitions that are not read at the moment.
pub fn set_paused_partitions(n_partitions: usize) {
    gauge!("curb_paused_partitions").set(n_partitions as f64);
}

/// A request over HTTP was answered; `route` is an address of the program without what varies in it.
pub fn observe_request(route: &'static str, code: u16, duration: Duration) {
    counter!("curb_http_requests_total", "route" => route, "code" => code.to_string()).increment(1);
    histogram!("curb_http_request_duration_seconds", "route" => route).record(duration.as_secs_f64());
}

fn since_unix_epoch(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// The names in the calls of the macros `kinds` in this file.
    fn named(kinds: &[&str]) -> BTreeSet<String> {
        let text = include_str!("metrics.rs");
        let text = &text[..text.find("#[cfg(test)]").unwrap()];
        let text = &[text, include_str!("metrics/kafka.rs"), include_str!("metrics/process.rs")].concat();
        let mut found = BTreeSet::new();
        for kind in kinds {
            for (at, _) in text.match_indices(&format!("{kind}!(")) {
                let before = text[..at].chars().next_back().unwrap();
                let rest = text[at + kind.len() + 2..].trim_start();
                let name = match rest.strip_prefix('"') {
                    Some(rest) => rest.split('"').next().unwrap(),
                    None if rest.starts_with("EVENT_LATENCY") => super::EVENT_LATENCY,
                    None => panic!("{kind} without a name"),
                };
                if !(before.is_alphanumeric() || before == '_') {
                    found.insert(name.to_owned());
                }
            }
        }
        found
    }

    #[test]
    fn every_measurement_says_what_it_means_and_has_a_name_of_the_usual_form() {
        let used = named(&["counter", "gauge", "histogram"]);
        let described = named(&["describe_counter", "describe_gauge", "describe_histogram"]);
        assert!(used.len() > 50, "{used:?}");
        assert_eq!(used, described);
        for name in &used {
            assert!(name.starts_with("curb_") || name.starts_with("process_"), "{name}");
        }
        for name in named(&["counter"]) {
            assert!(name.ends_with("_total"), "{name}");
        }
        for name in named(&["histogram"]) {
            assert!(name.ends_with("_seconds"), "{name}");
        }
    }
}
