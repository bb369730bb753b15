//! What a person may ask of a running worker: to pause a sink, and to let it go on.
//!
//! Callers on this machine are obeyed (`kubectl exec` and `kubectl port-forward` are), and those whom `access.rs` lets in; all
//! need a header that a foreign web page cannot send without asking.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::json;

use super::pages::Served;
use crate::engine::{Command, SinkStatus};

/// The header that every request must have.
pub const REQUEST_HEADER: &str = "x-curb-request";

pub(super) fn routes() -> Router<Served> {
    Router::new().route("/api/sinks/{sink}/pause", post(pause)).route("/api/sinks/{sink}/resume", post(resume))
}

async fn pause(State(served): State<Served>, headers: HeaderMap, Path(sink): Path<String>) -> Response {
    obey(&served, &headers, &sink, Command::Pause)
}

async fn resume(State(served): State<Served>, headers: HeaderMap, Path(sink): Path<String>) -> Response {
    obey(&served, &headers, &sink, Command::Resume)
}

fn obey(served: &Served, headers: &HeaderMap, sink: &str, command: fn(Arc<str>) -> Command) -> Response {
    if !headers.contains_key(REQUEST_HEADER) {
        return refuse(StatusCode::FORBIDDEN, &format!("the request needs the header {REQUEST_HEADER}"));
    }
    let sinks = served.board.snapshot().sinks;
    match check(&sinks, sink) {
        Err((code, reason)) => refuse(code, &reason),
        Ok(name) if served.board.ask(command(name.clone())) => {
            (StatusCode::ACCEPTED, Json(json!({ "sink": sink }))).into_response()
        }
        Ok(_) => refuse(StatusCode::SERVICE_UNAVAILABLE, "the worker has too many requests to answer"),
    }
}

/// The sink of that name, if it can be paused.
fn check(sinks: &[SinkStatus], name: &str) -> Result<Arc<str>, (StatusCode, String)> {
    match sinks.iter().find(|s| &*s.name == name) {
        Some(sink) if sink.can_wait => Ok(sink.name.clone()),
        Some(_) => Err((
            StatusCode::CONFLICT,
            format!(
                "sink `{name}` writes a stream, whose rows cannot wait as differences; only sinks over tables and CHANGES can be paused"
            ),
        )),
        None => {
            let names: Vec<String> = sinks.iter().map(|s| format!("`{}`", s.name)).collect();
            Err((StatusCode::NOT_FOUND, format!("there is no sink `{name}`; the pipeline has {}", names.join(", "))))
        }
    }
}

fn refuse(code: StatusCode, reason: &str) -> Response {
    (code, Json(json!({ "error": reason }))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_that_does_not_exist_or_cannot_wait_is_refused_with_the_reason() {
        let sink = |name: &str, can_wait| SinkStatus { name: name.into(), can_wait, ..SinkStatus::default() };
        let sinks = [sink("actions", true), sink("rates", false)];
        assert_eq!(check(&sinks, "actions").unwrap().as_ref(), "actions");
        let (code, reason) = check(&sinks, "rates").unwrap_err();
        assert_eq!(code, StatusCode::CONFLICT);
        assert!(reason.contains("cannot wait"), "{reason}");
        let (code, reason) = check(&sinks, "action").unwrap_err();
        assert_eq!(code, StatusCode::NOT_FOUND);
        assert!(reason.contains("`actions`, `rates`"), "{reason}");
    }
}
