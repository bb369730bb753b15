//! Measurements of the Kafka clients, as they tell themselves.

use metrics::{counter, describe_counter, describe_gauge, gauge};

/// What the states of a transaction are called by the client, see its STATISTICS.md.
const TRANSACTION_STATES: [&str; 12] = [
    "Init",
    "WaitPID",
    "ReadyNotAcked",
    "Ready",
    "InTransaction",
    "BeginCommit",
    "CommittingTransaction",
    "CommitNotAcked",
    "AbortingTransaction",
    "AbortedNotAcked",
    "AbortableError",
    "FatalError",
];

/// Says what each of these measurements means.
pub(super) fn describe() {
    describe_gauge!(
        "curb_kafka_client_rtt_seconds",
        "Time from a request to its answer, of the broker where it is longest: average, 99th percentile and greatest"
    );
    describe_gauge!("curb_kafka_client_brokers", "Brokers that the client knows, by whether it is connected to them");
    describe_gauge!("curb_kafka_client_outbuf_requests", "Requests that wait to be sent");
    describe_gauge!("curb_kafka_client_inflight_requests", "Requests that wait for an answer");
    describe_gauge!("curb_kafka_client_queued_records", "Records that wait to be sent or acknowledged");
    describe_gauge!("curb_kafka_client_queued_bytes", "Bytes of the records that wait to be sent or acknowledged");
    describe_counter!("curb_kafka_client_bytes_total", "Bytes sent to and received from brokers");
    describe_counter!("curb_kafka_client_request_timeouts_total", "Requests that were not answered in time");
    describe_counter!("curb_kafka_client_request_retries_total", "Requests that were sent again");
    describe_counter!("curb_kafka_client_request_errors_total", "Requests and answers that failed on their way");
    describe_gauge!("curb_kafka_transaction_state", "1 for the state of the transactional producer");
}

/// What a Kafka client says of itself now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct KafkaClient {
    /// Time from a request to its answer in seconds, of the slowest broker: average, 99th percentile and greatest.
    pub rtt_seconds: [f64; 3],
    /// Brokers that it is connected to.
    pub n_up: usize,
    /// Brokers that it knows and is not connected to.
    pub n_down: usize,
    /// Requests that wait to be sent.
    pub n_outbuf: u64,
    /// Requests that wait for an answer.
    pub n_inflight: u64,
    /// Records that wait to be sent or acknowledged.
    pub n_queued: u64,
    /// Their bytes.
    pub queued_bytes: u64,
    /// What grows, since the client was made.
    pub totals: KafkaTotals,
}

/// What a Kafka client counts since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KafkaTotals {
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Requests that were not answered in time.
    pub n_timeouts: u64,
    /// Requests that were sent again.
    pub n_retries: u64,
    /// Requests and answers that failed on their way.
    pub n_errors: u64,
}

/// What a Kafka client, `source` or `sink`, says of itself; `before` is what it had counted the last time.
pub fn set_kafka_client(client: &'static str, now: &KafkaClient, before: &KafkaTotals) {
    for (stat, seconds) in ["avg", "p99", "max"].into_iter().zip(now.rtt_seconds) {
        gauge!("curb_kafka_client_rtt_seconds", "client" => client, "stat" => stat).set(seconds);
    }
    gauge!("curb_kafka_client_brokers", "client" => client, "state" => "up").set(now.n_up as f64);
    gauge!("curb_kafka_client_brokers", "client" => client, "state" => "down").set(now.n_down as f64);
    gauge!("curb_kafka_client_outbuf_requests", "client" => client).set(now.n_outbuf as f64);
    gauge!("curb_kafka_client_inflight_requests", "client" => client).set(now.n_inflight as f64);
    gauge!("curb_kafka_client_queued_records", "client" => client).set(now.n_queued as f64);
    gauge!("curb_kafka_client_queued_bytes", "client" => client).set(now.queued_bytes as f64);
    let KafkaTotals { sent_bytes, received_bytes, n_timeouts, n_retries, n_errors } = now.totals;
    counter!("curb_kafka_client_bytes_total", "client" => client, "direction" => "out")
        .increment(sent_bytes.saturating_sub(before.sent_bytes));
    counter!("curb_kafka_client_bytes_total", "client" => client, "direction" => "in")
        .increment(received_bytes.saturating_sub(before.received_bytes));
    counter!("curb_kafka_client_request_timeouts_total", "client" => client)
        .increment(n_timeouts.saturating_sub(before.n_timeouts));
    counter!("curb_kafka_client_request_retries_total", "client" => client)
        .increment(n_retries.saturating_sub(before.n_retries));
    counter!("curb_kafka_client_request_errors_total", "client" => client)
        .increment(n_errors.saturating_sub(before.n_errors));
}

/// The state of the transactional producer, as the client names it.
pub fn set_transaction_state(state: &str) {
    for known in TRANSACTION_STATES {
        gauge!("curb_kafka_transaction_state", "state" => known).set(f64::from(u8::from(known == state)));
    }
}
