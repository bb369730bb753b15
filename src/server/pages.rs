//! The addresses of the server and what each answers.

use std::num::ParseIntError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::extract::DefaultBodyLimit;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware::{from_fn, from_fn_with_state, map_response_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use chrono::Utc;

use super::access::{Access, guard};
use super::answer::{Circumstances, StatusAnswer, alive, ready};
use super::assets::ASSETS;
use super::exposition::Exposition;
use super::history::History;
use super::observed::observed;
use super::tiles::Tiles;
use crate::engine::{Queries, StatusBoard};

/// Prometheus asks for this type.
const EXPOSITION_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Bytes of a request's body.
const BODY_BYTES_MAX: usize = 64 << 10;

/// What every answer says to a browser, beside the Content-Security-Policy.
const SECURITY_HEADERS: [(HeaderName, &str); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    // Answers are of the moment, and the page is that of the running program.
    (header::CACHE_CONTROL, "no-store"),
];

/// What is served.
#[derive(Clone)]
pub(super) struct Served {
    pub(super) pipeline: Arc<str>,
    pub(super) board: StatusBoard,
    pub(super) exposition: Exposition,
    pub(super) history: Arc<Mutex<History>>,
    pub(super) began: Instant,
    pub(super) access: Arc<Access>,
    /// What the page may load and run.
    pub(super) policy: HeaderValue,
    /// What lies below the map; none: nothing but a grid.
    pub(super) tiles: Option<Arc<Tiles>>,
    /// Who answers SQL; none where there is only a status.
    pub(super) queries: Option<Queries>,
}

impl Served {
    /// Takes a sample for the history.
    pub(super) fn sample(&self) {
        let (status, interval) = (self.board.snapshot(), self.board.take_interval());
        self.history().sample(status, interval, Instant::now(), now_ms());
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The page and what it asks for; measurements too, unless they are for those only who reach an address of their own.
pub(super) fn router(served: Served, has_measurements: bool) -> Router {
    let mut router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/api/status", get(status))
        .route("/api/history", get(history))
        .route("/api/refused", get(refused));
    if has_measurements {
        router = router.route("/metrics", get(measurements));
    }
    for asset in ASSETS {
        router = router.route(asset.path, get(async || ([(header::CONTENT_TYPE, asset.content_type)], asset.text)));
    }
    router
        .merge(super::control::routes())
        .merge(super::sql::routes())
        .merge(super::written::routes())
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(served.clone(), guard))
        .layer(map_response_with_state(served.clone(), secured))
        .layer(from_fn(observed))
        .with_state(served)
}

/// What probes and Prometheus ask for, and nothing else.
pub(super) fn health_router(served: Served) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(measurements))
        .layer(map_response_with_state(served.clone(), secured))
        .with_state(served)
}

async fn secured(State(served): State<Served>, mut response: Response) -> Response {
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, served.policy);
    for (name, value) in SECURITY_HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn livez(State(served): State<Served>) -> Response {
    verdict(alive(served.board.snapshot().phase, served.board.since_last_turn()))
}

async fn readyz(State(served): State<Served>) -> Response {
    verdict(ready(served.board.snapshot().phase))
}

async fn measurements(State(served): State<Served>) -> Response {
    let text = served.exposition.render(&served.board.snapshot(), served.board.since_last_turn(), now_ms());
    ([(header::CONTENT_TYPE, EXPOSITION_TYPE)], text).into_response()
}

async fn status(State(served): State<Served>) -> Response {
    let circumstances = Circumstances {
        pipeline: served.pipeline.clone(),
        uptime: served.began.elapsed(),
        since_last_turn: served.board.since_last_turn(),
        lately: served.history().lately(),
        now_ms: now_ms(),
    };
    Json(StatusAnswer::new(served.board.snapshot(), circumstances)).into_response()
}

async fn history(State(served): State<Served>, uri: Uri) -> Response {
    let Ok(since_ms) = since_ms(uri.query()) else {
        return (StatusCode::BAD_REQUEST, "`since` is not a number of milliseconds\n").into_response();
    };
    let answer = served.history().answer(since_ms, now_ms());
    Json(answer).into_response()
}

/// The instant after which steps are asked for, in milliseconds; all if none is given.
fn since_ms(query: Option<&str>) -> Result<i64, ParseIntError> {
    let given = query.unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("since="));
    given.map_or(Ok(i64::MIN), str::parse)
}

async fn refused(State(served): State<Served>) -> Response {
    Json(served.board.newest_refused()).into_response()
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
