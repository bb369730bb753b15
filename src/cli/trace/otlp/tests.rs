//! Spans on their way to a collector that is a thread of the test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use tracing::field::Empty;
use tracing::subscriber::with_default;
use tracing_subscriber::layer::SubscriberExt;

use super::*;
use crate::metrics::StageTimer;

/// What a collector was sent: the first line of the request, its headers in lower case, its body.
struct Sent {
    request: String,
    headers: Vec<String>,
    body: Vec<u8>,
}

impl Sent {
    /// How often a text stands in the body.
    fn n(&self, text: &str) -> usize {
        self.body.windows(text.len()).filter(|part| *part == text.as_bytes()).count()
    }
}

/// A collector that answers every request with `status`.
fn collector(status: &'static str) -> (String, Receiver<Sent>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    let (sender, sent) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut lines = Vec::new();
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                match line.trim_end() {
                    "" => break,
                    line => lines.push(line.to_owned()),
                }
            }
            let headers: Vec<String> = lines.iter().skip(1).map(|line| line.to_lowercase()).collect();
            let length =
                headers.iter().find_map(|h| h.strip_prefix("content-length:")).unwrap().trim().parse().unwrap();
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
            if sender.send(Sent { request: lines.swap_remove(0), headers, body }).is_err() {
                return;
            }
        }
    });
    (endpoint, sent)
}

/// One epoch, as the engine describes it.
fn epoch(number: u64) {
    let links = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01,nonsense";
    let span = tracing::info_span!(
        target: SPAN_TARGET, "epoch", otel.kind = "consumer", otel.status_code = Empty, curb.epoch = number,
        curb.result = Empty, curb.links = links,
    );
    let _entered = span.enter();
    drop(StageTimer::start("decode"));
    tracing::error!("a line of the log is no part of a span");
    span.record("curb.result", "commit").record("otel.status_code", "OK");
}

#[test]
fn spans_of_an_epoch_and_its_stages_arrive_with_their_numbers_and_nothing_of_the_log() {
    let (endpoint, sent) = collector("200 OK");
    let provider = provider(Some(&endpoint)).unwrap();
    let spans = Spans(Ok(provider.clone()));
    with_default(Registry::default().with(layer_of(&provider)), || {
        epoch(77);
        // Outside of an epoch a stage is of no interest.
        drop(StageTimer::start("poll"));
        drop(tracing::info_span!("somebody else's").entered());
    });
    drop(spans);
    let sent: Vec<Sent> = sent.try_iter().collect();
    let [batch] = sent.as_slice() else { panic!("{} batches", sent.len()) };
    assert_eq!(batch.request, "POST /v1/traces HTTP/1.1");
    assert!(batch.headers.iter().any(|h| h == "content-type: application/x-protobuf"), "{:?}", batch.headers);
    for (text, n) in [("epoch", 2), ("decode", 1), ("curb.result", 1), ("commit", 1), ("service.version", 1)] {
        assert_eq!(batch.n(text), n, "{text}");
    }
    for text in ["poll", "somebody", "log"] {
        assert_eq!(batch.n(text), 0, "{text}");
    }
    let linked: String = "0af7651916cd43dd8448eb211c80319c".to_owned();
    let linked: Vec<u8> = (0..16).map(|i| u8::from_str_radix(&linked[2 * i..2 * i + 2], 16).unwrap()).collect();
    assert!(batch.body.windows(16).any(|part| part == linked), "the epoch is linked to the trace of its record");
}

#[test]
fn a_collector_that_is_away_or_refuses_costs_no_time() {
    let (refusing, _sent) = collector("503 Service Unavailable");
    // Nobody listens there any more.
    let away = format!("http://{}/v1/traces", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    for endpoint in [refusing, away] {
        let provider = provider(Some(&endpoint)).unwrap();
        let spans = Spans(Ok(provider.clone()));
        let started = Instant::now();
        with_default(Registry::default().with(layer_of(&provider)), || (0..20_000).for_each(epoch));
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        let ending = Instant::now();
        drop(spans);
        assert!(ending.elapsed() < FAREWELL + Duration::from_secs(1), "{:?}", ending.elapsed());
    }
}

#[test]
fn a_link_needs_a_whole_traceparent() {
    let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let context = span_context(good).unwrap();
    assert!(context.is_remote() && context.is_sampled());
    for bad in ["", "00", "00-0-0-0", "00-00000000000000000000000000000000-b7ad6b7169203331-01", "00-x-y-01"] {
        assert!(span_context(bad).is_none(), "{bad}");
    }
}
