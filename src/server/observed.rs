//! Every request is measured and is a span for a collector of traces: by address, never with what it asks or is answered.

use std::time::Instant;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;
use tracing::field::Empty;

use crate::metrics::{self, SPAN_TARGET};

/// The addresses that are told apart, by how they begin. What is no address of ours is `other`, so that nobody can make up
/// names.
const ROUTES: [(&str, &str); 14] = [
    ("/livez", "/livez"),
    ("/readyz", "/readyz"),
    ("/metrics", "/metrics"),
    ("/api/status", "/api/status"),
    ("/api/history", "/api/history"),
    ("/api/refused", "/api/refused"),
    ("/api/sql", "/api/sql"),
    ("/api/sinks/", "/api/sinks/{sink}"),
    ("/api/map", "/api/map"),
    ("/api/rows", "/api/rows"),
    ("/api/relations", "/api/relations"),
    ("/api/", "/api/{other}"),
    ("/console", "/console"),
    ("/", "/"),
];

/// Measures the request and hands it on.
pub(super) async fn observed(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let route = route(request.uri().path());
    let span = tracing::info_span!(
        target: SPAN_TARGET,
        "request",
        otel.name = Empty,
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method(&request),
        http.route = Empty,
        http.response.status_code = Empty,
    );
    let answer = next.run(request).instrument(span.clone()).await;
    let (route, code) = match answer.status() {
        // What nobody answers has no name.
        StatusCode::NOT_FOUND => ("other", StatusCode::NOT_FOUND.as_u16()),
        code => (route, code.as_u16()),
    };
    metrics::observe_request(route, code, started.elapsed());
    span.record("otel.name", route).record("http.route", route).record("http.response.status_code", code);
    if answer.status().is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    answer
}

fn route(path: &str) -> &'static str {
    ROUTES.iter().find(|(beginning, _)| path.starts_with(beginning)).map_or("other", |(_, route)| route)
}

/// The method, if it is one that somebody may answer.
fn method(request: &Request) -> &'static str {
    match request.method().as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        _ => "_OTHER",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_varies_in_an_address_is_no_part_of_its_name() {
        assert_eq!(route("/api/sinks/disposal_actions/pause"), "/api/sinks/{sink}");
        assert_eq!(route("/api/status"), "/api/status");
        assert_eq!(route("/api/330522199001011234"), "/api/{other}");
        assert_eq!((route("/style.css"), route("*")), ("/", "other"));
    }
}
