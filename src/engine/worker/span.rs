//! An epoch as a span for a collector of traces: its number, how much went in, how it ended, and which traces led to it.

use tracing::field::Empty;
use tracing::{Span, info_span};

use crate::metrics::SPAN_TARGET;
use crate::stream::Polled;

/// So many traces of its records are named by an epoch.
const LINKS_MAX: usize = 32;
/// The header in which a record says which trace it belongs to, see W3C Trace Context.
const HEADER: &str = "traceparent";

/// The span of the epoch that takes in what was polled; none where that is nothing.
pub(super) fn epoch_span(polled: &Polled) -> Span {
    if polled.records.is_empty() {
        return Span::none();
    }
    // What the fields hold is looked at only where somebody takes spans. The names are those of the conventions for messaging
    // where there is one. The field of the links is `LINKS_FIELD`.
    info_span!(
        target: SPAN_TARGET,
        "epoch",
        otel.kind = "consumer",
        otel.status_code = Empty,
        messaging.system = "kafka",
        messaging.batch.message_count = polled.records.values().map(|records| records.len() as u64).sum::<u64>(),
        curb.epoch = Empty,
        curb.result = Empty,
        curb.rows_written = Empty,
        curb.links = links(polled),
    )
}

/// The traces that the records say they belong to, where their headers were asked for.
fn links(polled: &Polled) -> Option<String> {
    let mut found: Vec<&str> = Vec::new();
    let headers = polled.records.values().flat_map(|records| &records.headers).flatten();
    for (_, value) in headers.filter(|(name, _)| name.eq_ignore_ascii_case(HEADER)) {
        let Some(value) = std::str::from_utf8(value).ok().filter(|v| is_traceparent(v)) else { continue };
        if !found.contains(&value) {
            found.push(value);
        }
        if found.len() == LINKS_MAX {
            break;
        }
    }
    (!found.is_empty()).then(|| found.join(","))
}

/// Whether a text is of the form `00-<32 digits>-<16 digits>-<2 digits>`, so that it can hold nothing else.
fn is_traceparent(text: &str) -> bool {
    let is_hex = |part: &str| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let parts: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    lengths == [2, 32, 16, 2] && parts.into_iter().all(is_hex)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::RecordBatchBytes;

    #[test]
    fn links_are_traceparents_and_nothing_else_each_once_and_not_too_many() {
        let parent = |n: u8| format!("00-{n:032x}-{n:016x}-01");
        let header = |name: &str, value: &str| vec![(name.to_owned(), value.as_bytes().to_vec())];
        let mut headers = vec![
            header("traceparent", "Zhang Wei, 330522199001011234"),
            header("traceparent", &parent(1)),
            header("other", &parent(9)),
            header("TraceParent", &parent(2)),
            header("traceparent", &parent(1)),
        ];
        let polled = |headers| {
            let records = RecordBatchBytes { headers, ..RecordBatchBytes::default() };
            Polled { records: [("rides".into(), records)].into(), ..Polled::default() }
        };
        assert_eq!(links(&polled(headers.clone())), Some(format!("{},{}", parent(1), parent(2))));
        headers.extend((3..200).map(|n| header("traceparent", &parent(n))));
        assert_eq!(links(&polled(headers)).unwrap().split(',').count(), LINKS_MAX);
        assert_eq!(links(&polled(vec![])), None);
    }
}
