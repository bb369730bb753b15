//! What librdkafka says of a client now and then, as measurements. Its topics and partitions are ours to measure.

use std::sync::{Mutex, PoisonError};

use rdkafka::Statistics;
use rdkafka::statistics::Broker;

use crate::metrics::{self, KafkaClient, KafkaTotals};

/// What a client had counted when it last reported.
#[derive(Default)]
pub(super) struct Reported(Mutex<KafkaTotals>);

impl Reported {
    /// Shows a report of the client `name`.
    pub(super) fn show(&self, name: &'static str, statistics: &Statistics) {
        let now = client(statistics);
        let mut before = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        metrics::set_kafka_client(name, &now, &before);
        *before = now.totals;
        if let Some(eos) = &statistics.eos
            && !eos.txn_state.is_empty()
        {
            metrics::set_transaction_state(&eos.txn_state);
        }
    }
}

/// Whether a client has a connection to any broker, whatever for.
pub(super) fn any_is_up(statistics: &Statistics) -> bool {
    statistics.brokers.values().any(is_up)
}

fn is_up(broker: &Broker) -> bool {
    matches!(broker.state.as_str(), "UP" | "UPDATE")
}

fn client(statistics: &Statistics) -> KafkaClient {
    let mut found =
        KafkaClient { n_queued: statistics.msg_cnt, queued_bytes: statistics.msg_size, ..KafkaClient::default() };
    // Bootstrap addresses and the coordinators' connections stand beside the brokers; only these have ids of their own.
    for broker in statistics.brokers.values() {
        let Broker { txerrs, txretries, req_timeouts, rxerrs, txbytes, rxbytes, .. } = broker;
        found.totals.sent_bytes += txbytes;
        found.totals.received_bytes += rxbytes;
        found.totals.n_timeouts += req_timeouts;
        found.totals.n_retries += txretries;
        found.totals.n_errors += txerrs + rxerrs;
        found.n_outbuf += broker.outbuf_cnt.max(0).unsigned_abs();
        found.n_inflight += broker.waitresp_cnt.max(0).unsigned_abs();
        if let Some(rtt) = &broker.rtt {
            let of_broker = [rtt.avg, rtt.p99, rtt.max].map(|micros| micros as f64 / 1e6);
            found.rtt_seconds.iter_mut().zip(of_broker).for_each(|(most, seconds)| *most = most.max(seconds));
        }
        if broker.nodeid >= 0 {
            *if is_up(broker) { &mut found.n_up } else { &mut found.n_down } += 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use rdkafka::statistics::Window;

    use super::*;

    #[test]
    fn a_report_is_the_slowest_broker_and_the_sum_of_all() {
        let broker = |nodeid, state: &str, avg| Broker {
            nodeid,
            state: state.into(),
            outbuf_cnt: -1,
            waitresp_cnt: 2,
            txbytes: 100,
            txerrs: 1,
            rxerrs: 2,
            rtt: Some(Window { avg, p99: 2 * avg, ..Window::default() }),
            ..Broker::default()
        };
        let brokers = [("a", broker(1, "UP", 3_000)), ("b", broker(2, "INIT", 9_000)), ("boot", broker(-1, "UP", 1))];
        let brokers: HashMap<_, _> = brokers.into_iter().map(|(name, b)| (name.to_owned(), b)).collect();
        let found = client(&Statistics { brokers, msg_cnt: 7, msg_size: 70, ..Statistics::default() });
        assert_eq!((found.n_up, found.n_down, found.n_outbuf, found.n_inflight), (1, 1, 0, 6));
        assert_eq!((found.rtt_seconds, found.n_queued, found.queued_bytes), ([0.009, 0.018, 0.0], 7, 70));
        assert_eq!((found.totals.sent_bytes, found.totals.n_errors), (300, 9));
    }

    #[test]
    fn a_connection_to_a_coordinator_or_a_first_address_is_contact_too() {
        let statistics = |states: &[(i32, &str)]| {
            let broker = |(id, state): &(i32, &str)| {
                (format!("{id}"), Broker { nodeid: *id, state: (*state).to_owned(), ..Broker::default() })
            };
            Statistics { brokers: states.iter().map(broker).collect(), ..Statistics::default() }
        };
        assert!(any_is_up(&statistics(&[(1, "INIT"), (-1, "UP")])));
        assert!(any_is_up(&statistics(&[(1, "UPDATE"), (2, "DOWN")])));
        assert!(!any_is_up(&statistics(&[(1, "TRY_CONNECT"), (2, "DOWN"), (-1, "INIT")])));
    }
}
