//! The addresses of the server and what each answers.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use chrono::Utc;

use super::answer::{StatusAnswer, alive, ready};
use super::exposition::Exposition;
use crate::engine::StatusBoard;

/// Prometheus asks for this type.
const EXPOSITION_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const START: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<title>Curb</title>
<h1>Curb</h1>
<ul>
<li><a href=\"/api/status\">status</a>: relations, sources, sinks and latency, as JSON
<li><a href=\"/metrics\">metrics</a>: for Prometheus
<li><a href=\"/livez\">livez</a>: whether the worker's loop comes round
<li><a href=\"/readyz\">readyz</a>: whether the worker has its partitions and its state
</ul>
</html>
";

/// What is served.
#[derive(Clone)]
pub(super) struct Served {
    pub(super) pipeline: Arc<str>,
    pub(super) board: StatusBoard,
    pub(super) exposition: Exposition,
}

pub(super) fn router(served: Served) -> Router {
    Router::new()
        .route("/", get(async || Html(START)))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(measurements))
        .route("/api/status", get(status))
        .merge(super::control::routes())
        .with_state(served)
}

async fn livez(State(served): State<Served>) -> Response {
    verdict(alive(served.board.snapshot().phase, served.board.since_last_turn()))
}

async fn readyz(State(served): State<Served>) -> Response {
    verdict(ready(served.board.snapshot().phase))
}

async fn measurements(State(served): State<Served>) -> Response {
    let text = served.exposition.render(&served.board.snapshot(), now_ms());
    ([(header::CONTENT_TYPE, EXPOSITION_TYPE)], text).into_response()
}

async fn status(State(served): State<Served>) -> Response {
    Json(StatusAnswer::new(served.pipeline, served.board.snapshot(), now_ms())).into_response()
}

fn verdict(outcome: Result<(), String>) -> Response {
    match outcome {
        Ok(()) => (StatusCode::OK, "ok\n").into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

fn now_ms() -> i64 {
    Utc::now().timestamp_millis()
}
