//! Measurements: one named function each, so that names and labels stand in one place.
//!
//! Where they go is decided by the recorder that `server/` installs; without one they cost nothing.

use std::time::Duration;

use metrics::{counter, gauge, histogram};

/// Records of a source that met one fate: `used`, `duplicate`, `late` or `rejected`.
pub fn count_records(source: &str, fate: &'static str, n_records: u64) {
    counter!("curb_records_total", "source" => source.to_string(), "fate" => fate).increment(n_records);
}

/// Rows that a relation took in and gave out in a committed epoch.
pub fn count_relation_rows(relation: &str, n_in: u64, n_out: u64) {
    counter!("curb_relation_rows_total", "relation" => relation.to_string(), "direction" => "in").increment(n_in);
    counter!("curb_relation_rows_total", "relation" => relation.to_string(), "direction" => "out").increment(n_out);
}

/// Records committed to a sink.
pub fn count_sink_rows(sink: &str, n_rows: u64) {
    counter!("curb_sink_rows_total", "sink" => sink.to_string()).increment(n_rows);
}

/// A record that its topic does not take was left out of a committed epoch.
pub fn count_undeliverable(output: &str) {
    counter!("curb_undeliverable_total", "output" => output.to_string()).increment(1);
}

/// The watermark of a relation, in milliseconds since the Unix epoch.
pub fn set_watermark(relation: &str, watermark_ms: i64) {
    gauge!("curb_watermark_ms", "relation" => relation.to_string()).set(watermark_ms as f64);
}

/// Records of a source that are in its topic but have not been read.
pub fn set_lag(source: &str, n_records: i64) {
    gauge!("curb_source_lag_records", "source" => source.to_string()).set(n_records as f64);
}

/// The state that a relation holds.
pub fn set_state_size(relation: &str, n_rows: usize, n_bytes: usize) {
    gauge!("curb_state_rows", "relation" => relation.to_string()).set(n_rows as f64);
    gauge!("curb_state_bytes", "relation" => relation.to_string()).set(n_bytes as f64);
}

/// From each record's Kafka timestamp to the commit of what follows from it, in milliseconds.
pub fn observe_latencies(latencies_ms: impl Iterator<Item = u64>) {
    let seconds = histogram!("curb_latency_seconds");
    latencies_ms.for_each(|ms| seconds.record(ms as f64 / 1000.0));
}

/// How long an epoch took, from its first record to its commit.
pub fn observe_epoch(duration: Duration) {
    counter!("curb_epochs_total").increment(1);
    histogram!("curb_epoch_seconds").record(duration.as_secs_f64());
}

/// How long the commit of an epoch took.
pub fn observe_commit(duration: Duration) {
    histogram!("curb_commit_seconds").record(duration.as_secs_f64());
}

/// Bytes of logged state in a committed epoch.
pub fn count_delta_bytes(n_bytes: u64) {
    counter!("curb_delta_bytes_total").increment(n_bytes);
}

/// An epoch was dropped and the state restored.
pub fn count_restart() {
    counter!("curb_restarts_total").increment(1);
}

/// Whether the first load is complete.
pub fn set_loaded(loaded: bool) {
    gauge!("curb_loaded").set(f64::from(u8::from(loaded)));
}
