//! Tests of the server against a status that is written down, over plain TCP.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::answer::{StatusAnswer, alive, ready};
use super::{ServeError, ServerHandle, serve};
use crate::engine::{
    LatencyStatus, Phase, RelationStatus, SinkStatus, SourceCounts, SourceStatus, Status, StatusBoard,
};

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// The status code and the body of an answer.
fn get(server: &ServerHandle, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(!head.contains("chunked"), "{head}");
    (code, body.to_owned())
}

fn relation(name: &str, watermark_ms: Option<i64>) -> RelationStatus {
    RelationStatus {
        name: name.into(),
        kind: "stream",
        rows_in: 10,
        rows_out: 7,
        rows_in_per_second: 2.5,
        watermark_ms,
        state_rows: 3,
        state_bytes: 300,
    }
}

fn status(phase: Phase) -> Status {
    let counts = SourceCounts { read: 10, used: 5, duplicate: 2, late: 1, rejected: 2 };
    Status {
        phase,
        epoch: 12,
        loaded: phase == Phase::Running,
        relations: vec![relation("passages", Some(1_700_000_000_000)), relation("rates", None)],
        sources: vec![SourceStatus { name: "passages".into(), counts, lag: Some(40) }],
        sinks: vec![SinkStatus { name: "helmet_rates".into(), rows: 7, can_wait: false, paused: None, waiting: 0 }],
        latency: LatencyStatus { n_records: 10, p50_ms: 4, p99_ms: 9, max_ms: 11 },
        ..Status::default()
    }
}

fn served(phase: Phase) -> (ServerHandle, StatusBoard) {
    let board = StatusBoard::default();
    board.show(status(phase));
    (serve(any_port(), "riding", board.clone()).unwrap(), board)
}

#[test]
fn a_worker_is_ready_from_the_end_of_its_restore_until_it_stops() {
    let (server, board) = served(Phase::Starting);
    for (phase, code) in [
        (Phase::Starting, 503),
        (Phase::Restoring, 503),
        (Phase::Loading, 200),
        (Phase::Running, 200),
        (Phase::Stopped, 503),
    ] {
        board.show(status(phase));
        assert_eq!(get(&server, "/readyz").0, code, "{phase:?}");
        assert_eq!(ready(phase).is_ok(), code == 200);
    }
    assert!(get(&server, "/readyz").1.contains("stopped"));
}

#[test]
fn a_loop_that_has_not_come_round_for_30_seconds_is_not_alive_unless_it_restores() {
    let second = Duration::from_secs(1);
    assert!(alive(Phase::Running, Some(29 * second)).is_ok());
    assert!(alive(Phase::Running, Some(30 * second)).unwrap_err().contains("30 s"));
    assert!(alive(Phase::Loading, Some(31 * second)).is_err());
    assert!(alive(Phase::Restoring, Some(300 * second)).is_ok());
    assert!(alive(Phase::Starting, None).is_ok());
    assert!(alive(Phase::Stopped, Some(second)).is_err());
    let (server, board) = served(Phase::Running);
    board.turned();
    assert_eq!(get(&server, "/livez"), (200, "ok\n".to_owned()));
}

#[test]
fn the_status_names_the_pipeline_and_tells_how_far_watermarks_and_sources_are_behind() {
    let answer = StatusAnswer::new("riding".into(), status(Phase::Running), 1_700_000_002_500);
    let json = serde_json::to_value(answer).unwrap();
    assert_eq!((&json["pipeline"], &json["phase"], &json["epoch"]), (&"riding".into(), &"running".into(), &12.into()));
    let passages = &json["relations"][0];
    assert_eq!(passages["watermark"], "2023-11-14T22:13:20.000Z");
    assert_eq!((&passages["watermark_lag_ms"], &passages["lag"]), (&2_500.into(), &40.into()));
    assert_eq!((&passages["rows_in"], &passages["rows_out"]), (&10.into(), &7.into()));
    assert_eq!(passages["rows_in_per_second"], 2.5);
    let rates = &json["relations"][1];
    assert!(rates["watermark"].is_null() && rates["watermark_lag_ms"].is_null() && rates["lag"].is_null());
    assert_eq!(
        json["sources"][0],
        serde_json::json!({"name": "passages", "read": 10, "used": 5, "duplicate": 2, "late": 1, "rejected": 2, "lag": 40})
    );
    assert_eq!(json["sinks"][0], serde_json::json!({"name": "helmet_rates", "rows": 7}));
    assert_eq!((&json["latency"]["p50_ms"], &json["latency"]["p99_ms"]), (&4.into(), &9.into()));
    assert_eq!(json["latency"]["max_ms"], 11);
}

#[test]
fn the_status_is_served_as_json_and_the_first_page_leads_to_it() {
    let (server, _board) = served(Phase::Running);
    let (code, body) = get(&server, "/api/status");
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((code, &json["relations"][1]["name"]), (200, &"rates".into()));
    let (code, page) = get(&server, "/");
    assert_eq!(code, 200);
    for path in ["/api/status", "/metrics", "/livez", "/readyz"] {
        assert!(page.contains(&format!("href=\"{path}\"")), "{path}");
    }
    assert_eq!(get(&server, "/none").0, 404);
}

#[test]
fn measurements_have_base_units_explicit_buckets_and_the_state_of_now() {
    let (server, _board) = served(Phase::Running);
    crate::metrics::count_transaction("commit");
    crate::metrics::observe_latencies([3, 30].into_iter());
    drop(crate::metrics::StageTimer::start("decode"));
    let (code, text) = get(&server, "/metrics");
    assert_eq!(code, 200);
    for line in [
        "# TYPE curb_e2e_latency_seconds histogram",
        "# TYPE curb_transactions_total counter",
        "curb_transactions_total{result=\"commit\"}",
        "curb_e2e_latency_seconds_bucket{le=\"0.005\"}",
        "curb_e2e_latency_seconds_bucket{le=\"60\"}",
        "curb_stage_duration_seconds_bucket{stage=\"decode\",le=\"0.01\"}",
        "curb_consumer_lag_records{source=\"passages\"} 40",
        "curb_state_bytes{relation=\"passages\"} 300",
        "curb_relation_watermark_timestamp_seconds{relation=\"passages\"} 1700000000",
        "curb_build_info{version=",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    let lag =
        text.lines().find(|l| l.starts_with("curb_relation_watermark_lag_seconds{relation=\"passages\"}")).unwrap();
    assert!(lag.rsplit(' ').next().unwrap().parse::<f64>().unwrap() > 0.0, "{lag}");
}

#[test]
fn a_taken_port_is_an_error_that_names_it_and_a_dropped_server_frees_it() {
    let (server, board) = served(Phase::Running);
    let address = server.address();
    let error = serve(address, "other", board.clone()).unwrap_err();
    assert!(matches!(error, ServeError::Bind { .. }));
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    drop(server);
    assert!(TcpStream::connect(address).is_err());
    serve(address, "other", board).unwrap();
}
