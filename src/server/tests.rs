//! Tests of the server against a status that is written down, over plain TCP.

mod security;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::answer::{Circumstances, StatusAnswer, alive, ready};
use super::assets::ASSETS;
use super::health::{Level, judge};
use super::history::{History, Lately, STEP, STEPS_MAX};
use super::{ServeError, ServerHandle, serve};
use crate::engine::{
    Interval, LatencyStatus, PartitionLag, Phase, RefusedRecord, RelationStatus, SinkStatus, SourceCounts,
    SourceStatus, Status, StatusBoard,
};

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// The status code and the body of an answer.
fn get(server: &ServerHandle, path: &str) -> (u16, String) {
    let (head, body) = get_with_head(server, path);
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
}

/// Status line and headers in lower case, and the body.
fn get_with_head(server: &ServerHandle, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(!head.contains("chunked"), "{head}");
    (head.to_lowercase(), body.to_owned())
}

fn relation(name: &str, watermark_ms: Option<i64>) -> RelationStatus {
    RelationStatus {
        name: name.into(),
        kind: "stream",
        operator: "select",
        definition: name.into(),
        inputs: vec!["passages".into()],
        rows_in: 10,
        rows_out: 7,
        rows_in_per_second: 2.5,
        rows_out_per_second: 1.5,
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
        sinks: vec![SinkStatus { name: "helmet_rates".into(), rows: 7, ..SinkStatus::default() }],
        latency: LatencyStatus { n_records: 10, p50_ms: 4, p99_ms: 9, max_ms: 11 },
        partitions: vec![PartitionLag { source: "passages".into(), partition: 3, lag: 40, newest_ms: Some(1_000) }],
        ..Status::default()
    }
}

fn circumstances(now_ms: i64) -> Circumstances {
    Circumstances {
        pipeline: "riding".into(),
        uptime: Duration::from_secs(9),
        since_last_turn: None,
        lately: Lately::default(),
        now_ms,
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
    let answer = StatusAnswer::new(status(Phase::Running), circumstances(1_700_000_002_500));
    let json = serde_json::to_value(answer).unwrap();
    assert_eq!((&json["pipeline"], &json["phase"], &json["epoch"]), (&"riding".into(), &"running".into(), &12.into()));
    let passages = &json["relations"][0];
    assert_eq!(passages["watermark"], "2023-11-14T22:13:20.000Z");
    assert_eq!((&passages["watermark_lag_ms"], &passages["lag"]), (&2_500.into(), &40.into()));
    assert_eq!((&passages["rows_in"], &passages["rows_out"]), (&10.into(), &7.into()));
    assert_eq!((&passages["rows_in_per_second"], &passages["rows_out_per_second"]), (&2.5.into(), &1.5.into()));
    assert_eq!((&passages["operator"], &passages["inputs"][0]), (&"select".into(), &"passages".into()));
    assert_eq!((&json["health"]["level"], &json["uptime_ms"]), (&"healthy".into(), &9_000.into()));
    let rates = &json["relations"][1];
    assert!(rates["watermark"].is_null() && rates["watermark_lag_ms"].is_null() && rates["lag"].is_null());
    assert_eq!(
        json["sources"][0],
        serde_json::json!({"name": "passages", "read": 10, "used": 5, "duplicate": 2, "late": 1, "rejected": 2, "lag": 40})
    );
    assert_eq!((&json["sinks"][0]["name"], &json["sinks"][0]["rows"]), (&"helmet_rates".into(), &7.into()));
    assert_eq!(json["sinks"][0]["kinds"], serde_json::json!({}));
    assert_eq!((&json["latency"]["p50_ms"], &json["latency"]["p99_ms"]), (&4.into(), &9.into()));
    assert_eq!(json["latency"]["max_ms"], 11);
}

#[test]
fn the_status_is_served_as_json_and_the_console_leads_to_it() {
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
    // A process has one recorder, and other tests have sources called `passages`.
    crate::metrics::observe_event_latencies("old_passages", [90_000_000].into_iter());
    crate::metrics::count_rejected("old_passages", "type", 2);
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
        "curb_partition_lag_records{source=\"passages\",partition=\"3\"} 40",
        "curb_event_latency_seconds_bucket{source=\"old_passages\",le=\"86400\"} 0",
        "curb_event_latency_seconds_bucket{source=\"old_passages\",le=\"259200\"} 1",
        "curb_records_rejected_total{source=\"old_passages\",reason=\"type\"} 2",
        "curb_worker_phase{phase=\"running\"} 1",
        "curb_worker_phase{phase=\"restoring\"} 0",
        "# TYPE process_cpu_seconds_total counter",
        "process_open_fds ",
        "process_resident_memory_bytes ",
        "curb_state_bytes{relation=\"passages\"} 300",
        "curb_relation_watermark_timestamp_seconds{relation=\"passages\"} 1700000000",
        "curb_build_info{version=",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    let lag =
        text.lines().find(|l| l.starts_with("curb_relation_watermark_lag_seconds{relation=\"passages\"}")).unwrap();
    assert!(lag.rsplit(' ').next().unwrap().parse::<f64>().unwrap() > 0.0, "{lag}");
    let lag = text.lines().find(|l| l.starts_with("curb_consumer_lag_seconds{source=\"passages\"}")).unwrap();
    assert!(lag.rsplit(' ').next().unwrap().parse::<f64>().unwrap() > 1.7e9, "{lag}");
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

/// A status after `n` seconds of 10 rows a second.
fn status_after(n: u64, lag: i64) -> Status {
    let mut status = status(Phase::Running);
    status.epoch = n;
    status.relations[0].rows_in = n * 10;
    status.sources[0].counts.read = n * 10;
    status.sources[0].counts.late = n;
    status.sources[0].lag = Some(lag);
    status.sinks[0].rows = n * 4;
    status.sinks[0].kinds.insert("reminder".into(), n * 3);
    status
}

/// A history of `n` samples, a step apart, the last of them at `n` steps after the epoch.
fn history(n: u64, lag: i64) -> History {
    let (mut history, start) = (History::default(), Instant::now());
    for i in 0..=n {
        let mut interval = Interval::default();
        interval.latency.record(5_000);
        interval.record_stage("commit", Duration::from_millis(8));
        let (at, now_ms) = (start + STEP * i as u32, (STEP.as_millis() as u64 * i) as i64);
        history.sample(status_after(i * STEP.as_secs(), lag), interval, at, now_ms);
    }
    history
}

#[test]
fn the_history_holds_rates_latencies_lag_and_kinds_of_each_step() {
    let json = serde_json::to_value(history(3, 40).answer(i64::MIN, 6_500)).unwrap();
    assert_eq!(json["times_ms"], serde_json::json!([2_000, 4_000, 6_000]));
    assert_eq!(json["relations"]["passages"]["rows_in_per_second"], serde_json::json!([10.0, 10.0, 10.0]));
    assert_eq!(json["relations"]["rates"]["rows_in_per_second"], serde_json::json!([0.0, 0.0, 0.0]));
    assert_eq!(json["sources"]["passages"]["lag"], serde_json::json!([40, 40, 40]));
    assert_eq!(json["sources"]["passages"]["watermark_lag_ms"][2], 6_000 - 1_700_000_000_000_i64);
    assert_eq!(json["sinks"]["helmet_rates"]["rows_per_second"][1], 4.0);
    assert_eq!(json["sinks"]["helmet_rates"]["kinds"]["reminder"], serde_json::json!([6, 6, 6]));
    assert_eq!((&json["late"][0], &json["epochs_per_second"][0]), (&2.into(), &1.0.into()));
    assert_eq!(json["state_bytes"], serde_json::json!([600, 600, 600]));
    let near = |value: &serde_json::Value, ms: f64| (value.as_f64().unwrap() - ms).abs() < ms / 50.0;
    assert!(near(&json["latency"][0]["p99_ms"], 5.0), "{}", json["latency"][0]);
    let commit = &json["minute"]["stages"][0];
    assert!(commit["stage"] == "commit" && commit["n"] == 4 && near(&commit["p50_ms"], 8.0), "{commit}");
}

#[test]
fn only_what_is_newer_than_an_instant_is_told_again() {
    let json = serde_json::to_value(history(5, 0).answer(8_000, 10_500)).unwrap();
    assert_eq!(json["times_ms"], serde_json::json!([10_000]));
    assert_eq!(json["latency"].as_array().unwrap().len(), 1);
    assert_eq!(json["sources"]["passages"]["lag"].as_array().unwrap().len(), 1);
}

#[test]
fn the_history_does_not_grow_beyond_its_steps_and_stages_are_those_of_a_minute() {
    let answer = serde_json::to_value(history(STEPS_MAX as u64 + 50, 0).answer(i64::MIN, 0)).unwrap();
    assert_eq!(answer["times_ms"].as_array().unwrap().len(), STEPS_MAX);
    assert_eq!(answer["times_ms"][0], 51 * 2_000);
    assert_eq!(answer["relations"]["passages"]["rows_in_per_second"].as_array().unwrap().len(), STEPS_MAX);
    assert_eq!(answer["minute"]["stages"][0]["n"], 30);
}

#[test]
fn a_source_is_behind_when_its_unread_records_would_take_long_for_a_while() {
    assert!(history(10, 90).lately().behind.is_empty(), "too few records to speak of");
    assert!(history(10, 100).lately().behind.is_empty(), "read in ten seconds at 10 a second");
    assert!(history(4, 500).lately().behind.is_empty(), "not for long");
    assert_eq!(history(10, 500).lately().behind, [("passages".into(), 500)]);
}

#[test]
fn health_is_the_gravest_of_what_is_wrong_and_says_why() {
    let turned = Some(Duration::from_millis(5));
    let level = |status: &Status, turned, lately: &Lately| judge(status, turned, lately).level;
    let (well, calm) = (status(Phase::Running), Lately::default());
    assert!(judge(&well, turned, &calm).reasons.is_empty());
    assert_eq!(level(&well, turned, &calm), Level::Healthy);
    assert_eq!(level(&status(Phase::Loading), turned, &calm), Level::Starting);
    assert_eq!(level(&status(Phase::Stopped), turned, &calm), Level::Failing);
    assert_eq!(level(&well, Some(Duration::from_secs(12)), &calm), Level::Attention);
    assert_eq!(level(&well, Some(Duration::from_secs(31)), &calm), Level::Failing);
    let mut paused = status(Phase::Running);
    paused.sinks[0].paused = Some("by hand".into());
    paused.sinks[0].waiting = 1;
    let health = judge(&paused, turned, &calm);
    let why = "Sink helmet_rates is paused: by hand; 1 key waits. `curb resume helmet_rates` lets it go on.";
    assert_eq!((health.level, &*health.reasons[0]), (Level::Attention, why));
    let waits_for = Some("waiting for the schema registry: connection refused".into());
    let health = judge(&Status { waits_for, ..status(Phase::Running) }, turned, &calm);
    assert_eq!(health.level, Level::Attention);
    assert!(health.reasons[0].contains("none is lost: waiting for the schema registry"), "{:?}", health.reasons);
    let shaken = Lately { n_restarts: 2, behind: vec![("passages".into(), 500)], p50_ms: Some(7_300.0) };
    let health = judge(&Status { undeliverable: 1, ..status(Phase::Restoring) }, turned, &shaken);
    assert_eq!(health.level, Level::Attention);
    let text = health.reasons.join(" ");
    assert!(text.contains("1 output record was left out") && text.contains("2 epochs failed"), "{text}");
    assert!(text.contains("the state is being restored"), "{text}");
    assert!(!text.contains("behind"), "while it restores nothing is read: {text}");
    assert!(health.reasons.last().unwrap().contains("restores its state"), "the gravest comes first: {text}");
    let text = judge(&well, turned, &shaken).reasons.join(" ");
    assert!(text.contains("passages is 500 records behind") && text.contains("took 7.3 s or longer"), "{text}");
    assert!(text.contains("the state was restored"), "{text}");
}

#[test]
fn a_pipeline_whose_brokers_are_silent_fails_and_the_page_says_for_how_long() {
    let silent = |ms, phase| Status { brokers_silent_ms: Some(ms), ..status(phase) };
    let judged = |status: &Status| judge(status, Some(Duration::from_millis(5)), &Lately::default());
    assert_eq!(judged(&silent(4_000, Phase::Running)).level, Level::Healthy, "clients look every few seconds");
    for phase in [Phase::Starting, Phase::Restoring, Phase::Loading, Phase::Running] {
        let health = judged(&silent(32_500, phase));
        assert_eq!(health.level, Level::Failing, "{phase:?}");
        assert!(
            health.reasons[0].starts_with("No broker has answered for 32 s: nothing is read"),
            "{:?}",
            health.reasons
        );
    }
    assert_eq!(judged(&silent(32_500, Phase::Stopped)).reasons, ["The worker has stopped."]);
}

#[test]
fn the_history_fills_by_itself_and_a_wrong_instant_is_refused() {
    let (server, _board) = served(Phase::Running);
    std::thread::sleep(STEP + Duration::from_millis(500));
    let (code, body) = get(&server, "/api/history?since=0");
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((code, json["times_ms"].as_array().unwrap().len()), (200, 1));
    assert_eq!(get(&server, "/api/history?since=yesterday").0, 400);
}

#[test]
fn a_refused_record_is_told_as_it_is_in_json_that_no_browser_takes_for_a_page() {
    let (server, board) = served(Phase::Running);
    let script = "<script>alert('\"')</script>";
    board.add_refused(vec![RefusedRecord {
        at_ms: 1,
        fate: "rejected",
        relation: "passages".into(),
        partition: 2,
        offset: 77,
        reason: script.into(),
        length: 29,
        raw: Some(script.into()),
    }]);
    let (head, body) = get_with_head(&server, "/api/refused");
    assert!(head.contains("content-type: application/json"), "{head}");
    assert!(head.contains("x-content-type-options: nosniff"), "{head}");
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&json[0]["raw"], &json[0]["reason"], &json[0]["offset"]), (&script.into(), &script.into(), &77.into()));
}

#[test]
fn every_answer_forbids_foreign_scripts_and_frames() {
    let (server, _board) = served(Phase::Running);
    for path in ["/", "/console/main.js", "/api/status", "/metrics", "/livez", "/none"] {
        let (head, _) = get_with_head(&server, path);
        for header in [
            "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self';",
            "frame-ancestors 'none'",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
        ] {
            assert!(head.contains(header), "{path}: {header} is missing in {head}");
        }
    }
}

#[test]
fn rows_and_places_are_told_by_number_and_by_sink() {
    let (server, _board) = served(Phase::Running);
    let json = |path: &str| -> serde_json::Value { serde_json::from_str(&get(&server, path).1).unwrap() };
    assert_eq!(json("/api/rows?after=7"), serde_json::json!({"newest": 0, "rows_max": 20, "rows": []}));
    assert_eq!(get(&server, "/api/rows?after=x").0, 400);
    assert_eq!(json("/api/map"), serde_json::json!({"layers": [], "tiles": null}));
    assert_eq!(get(&server, "/api/map?sink=none").0, 404);
}

#[test]
fn the_console_is_whole_and_needs_nothing_from_elsewhere() {
    let (server, _board) = served(Phase::Running);
    let is_served = |path: &str| ASSETS.iter().any(|asset| asset.path == path);
    for asset in ASSETS {
        let (head, body) = get_with_head(&server, asset.path);
        assert!(head.starts_with("http/1.1 200") && head.contains(asset.content_type), "{}: {head}", asset.path);
        assert_eq!(body, asset.text);
        if asset.path.starts_with("/console/vendor/") {
            // Foreign files are as they were published; what they may do is for the browser to forbid.
            let licence = asset.path.rsplit_once('/').map(|(folder, _)| format!("{folder}/LICENSE")).unwrap();
            assert!(is_served(&licence) && get(&server, "/").1.contains(&licence), "{} has no licence", asset.path);
            continue;
        }
        let foreign = asset.text.replace("http://www.w3.org/", "");
        assert!(!foreign.contains("http://") && !foreign.contains("https://"), "{} names another place", asset.path);
        for sink in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "srcdoc", "onclick="] {
            assert!(!asset.text.contains(sink), "{} could turn text into markup: {sink}", asset.path);
        }
        assert!(asset.text.lines().count() < 400, "{} is too long to be read", asset.path);
        for imported in asset.text.split("from \"./").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(is_served(&format!("/console/{imported}")), "{} imports {imported}", asset.path);
        }
        for named in asset.text.split("\"/console/").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(is_served(&format!("/console/{named}")), "{} names {named}", asset.path);
        }
        for attribute in ["src=\"", "href=\""] {
            for linked in asset.text.split(attribute).skip(1).filter_map(|rest| rest.split('"').next()) {
                let is_ours = linked.starts_with(['#', '$'])
                    || get(&server, linked).0 < 400
                    || linked == "/readyz"
                    || linked == "/livez";
                assert!(is_ours, "{} links {linked}", asset.path);
            }
        }
    }
}
