//! The demo from end to end, as a user calls it, without a terminal.

use std::net::TcpListener;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Parser;

use super::figures::Outcome;
use super::screen::Screen;
use super::{DemoArgs, HTTP_DEFAULT, serve_http, show};
use crate::cli::Failure;
use crate::engine::{Phase, StatusBoard};
use crate::server::HttpOptions;

/// A demo of three seconds, with what it printed.
fn demo() -> (Outcome, String) {
    #[derive(Parser)]
    struct Given {
        #[command(flatten)]
        demo: DemoArgs,
    }
    let Given { demo: args } = Given::parse_from(["demo", "--exit-after=3s", "--seed=7", "--http=127.0.0.1:0"]);
    let mut out = Vec::new();
    let outcome = show(&args, &AtomicBool::new(false), &mut Screen::new(&mut out, false));
    let outcome = outcome.unwrap_or_else(|failure| panic!("{failure:?}"));
    let text = String::from_utf8(out).unwrap() + &outcome.summary();
    (outcome, text)
}

#[test]
fn a_demo_issues_actions_and_its_counts_add_up() {
    let (outcome, text) = demo();
    let status = &outcome.status;
    assert_eq!((status.phase, status.restarts), (Phase::Stopped, 0));
    let counts = |name: &str| status.sources.iter().find(|s| &*s.name == name).unwrap().counts;
    let (captures, passages) = (counts("captures"), counts("passages"));
    assert!((100..2_000).contains(&passages.read), "{passages:?}");
    assert!(captures.read > 10 && captures.read < passages.read / 2, "{captures:?}");
    for source in &status.sources {
        let c = source.counts;
        assert_eq!((c.used, c.late, c.rejected), (c.read, 0, 0), "{}: simulated records are sound", source.name);
    }
    // A ride is a reminder at first, and every action follows from a capture.
    let kinds = outcome.tally.kinds();
    assert_eq!(kinds[0].kind, "reminder");
    assert!(kinds[0].issued > 5 && kinds[0].issued <= captures.read, "{kinds:?}");
    let written: u64 = status.sinks.iter().filter(|s| s.name.ends_with("_actions")).map(|s| s.rows).sum();
    assert_eq!(outcome.tally.n_records(), written, "every committed action was read back");
    assert!(status.latency.n_records >= captures.read + passages.read);
    assert!(status.latency.p50_ms <= status.latency.p99_ms && status.latency.p99_ms <= status.latency.max_ms);
    assert!(outcome.first_action.is_some_and(|after| after < Duration::from_secs(3)));
    assert!(!text.contains('\x1b'), "nothing is drawn where there is no terminal");
    assert!(text.contains("the newest: ") && text.contains("reminder") && text.contains("commits; "), "{text}");
}

#[test]
fn a_usual_port_that_is_taken_is_replaced_but_one_that_was_asked_for_is_an_error() {
    // It may be taken by another program already, which serves as well.
    let _taken = TcpListener::bind(HTTP_DEFAULT);
    let board = StatusBoard::default();
    let server =
        serve_http(None, &HttpOptions::default(), &board, None).unwrap_or_else(|failure| panic!("{failure:?}"));
    assert_ne!(server.address().port(), HTTP_DEFAULT.port());
    assert!(matches!(
        serve_http(Some(server.address()), &HttpOptions::default(), &board, None),
        Err(Failure::Configuration(_))
    ));
}
