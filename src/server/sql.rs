//! `POST /api/sql`: one SELECT as text in, its rows as JSON out; and `/api/relations`, what may be asked about.
//!
//! The body is the query. What comes back follows from `Accept`: a JSON array of one object a row; with
//! `application/x-ndjson` one line a row; with [`RICH`] an object with columns, rows, and of when they are. Only
//! the last may be cut short, and says so; the others are refused where rows would be missing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::pages::Served;
use super::rows::{columns, rows};
use crate::dialect::{Pack, SourceFile, render};
use crate::engine::{Answer, Queries, QueryError, QueryTrouble};
use crate::format::json::sql_type;
use crate::plan::TOO_MUCH;

/// Asks for an object with columns, rows, whether there are more, and of when they are.
pub const RICH: &str = "application/vnd.curb.rows+json";
/// Asks for one line a row.
const LINES: &str = "application/x-ndjson";

/// The stack of a thread that answers: queries are planned by recursion.
const STACK_BYTES: usize = 16 << 20;
/// How much longer than a query may take its thread is waited for.
const GRACE: Duration = Duration::from_secs(2);

pub(super) fn routes() -> Router<Served> {
    Router::new().route("/api/sql", post(sql)).route("/api/relations", get(relations))
}

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Array,
    Lines,
    Rich,
}

impl Form {
    fn of(headers: &HeaderMap) -> Self {
        let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut wanted = accept.split(',').map(|part| part.split(';').next().unwrap_or_default().trim());
        let form = |name: &str| match name {
            RICH => Some(Self::Rich),
            LINES | "application/jsonl" | "application/ndjson" => Some(Self::Lines),
            "application/json" | "*/*" | "application/*" => Some(Self::Array),
            _ => None,
        };
        wanted.find_map(form).unwrap_or(Self::Array)
    }
}

async fn sql(State(served): State<Served>, headers: HeaderMap, body: Bytes) -> Response {
    let Some(queries) = served.queries.clone() else { return nothing_to_ask() };
    let sql = match text(&headers, &body) {
        Ok(sql) => sql,
        Err((code, reason)) => return (code, Json(json!({ "error": reason }))).into_response(),
    };
    let form = Form::of(&headers);
    let max = queries.limits().time + GRACE;
    // Dropped with this future: who has gone is not worked for.
    let cancels = Cancels(Arc::default());
    let (sender, answered) = oneshot::channel();
    let (is_cancelled, asked) = (cancels.0.clone(), sql.clone());
    let answer = move || drop(sender.send(queries.answer(&asked, &is_cancelled)));
    let thread = std::thread::Builder::new().name("curb-query".to_owned()).stack_size(STACK_BYTES).spawn(answer);
    if let Err(error) = thread {
        let reason = format!("a thread for the query could not be started: {error}");
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "error": reason }))).into_response();
    }
    match tokio::time::timeout(max, answered).await {
        Ok(Ok(Ok(answer))) => written(&answer, form),
        Ok(Ok(Err(error))) => refused(&error, &sql),
        Ok(Err(_)) => {
            let reason = "the query has ended without an answer; what went wrong stands in the worker's log";
            (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "error": reason }))).into_response()
        }
        Err(_) => {
            let reason = "the query does not end in time, and is given up";
            (StatusCode::GATEWAY_TIMEOUT, Json(json!({ "error": reason }))).into_response()
        }
    }
}

struct Cancels(Arc<AtomicBool>);

impl Drop for Cancels {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn nothing_to_ask() -> Response {
    let reason = "this server shows a status only; there is no worker to ask";
    (StatusCode::NOT_FOUND, Json(json!({ "error": reason }))).into_response()
}

/// The query in a body: its text, or a JSON object with the member `sql`.
fn text(headers: &HeaderMap, body: &Bytes) -> Result<String, (StatusCode, &'static str)> {
    #[derive(Deserialize)]
    struct Wrapped {
        sql: String,
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let sql = if content_type.starts_with("application/json") {
        let wrapped: Result<Wrapped, _> = serde_json::from_slice(body);
        wrapped.map_err(|_| (StatusCode::BAD_REQUEST, "as JSON a query is sent as {\"sql\": \"SELECT ..\"}"))?.sql
    } else {
        let text = std::str::from_utf8(body).map_err(|_| (StatusCode::BAD_REQUEST, "the query is not UTF-8"))?;
        text.to_owned()
    };
    if sql.trim().is_empty() {
        return Err((StatusCode::BAD_REQUEST, "the body is empty; send the text of a query, as SELECT 1"));
    }
    Ok(sql)
}

fn written(answer: &Answer, form: Form) -> Response {
    if answer.is_truncated && form != Form::Rich {
        let (n, reason) = (answer.n_rows(), "the answer has more rows than may be given");
        let text = format!("{reason}: {n}");
        let hint =
            format!("Add LIMIT {n}, or ask with `Accept: {RICH}` for the first {n} and a note that there are more.");
        let body = json!({ "error": text, "code": TOO_MUCH, "hint": hint });
        return (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response();
    }
    let rows = match rows(answer) {
        Ok(rows) => rows,
        Err(reason) => return (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "error": reason }))).into_response(),
    };
    let (content_type, body) = match form {
        Form::Lines => (LINES, rows.iter().flat_map(|row| [row, b"\n".as_slice()]).collect::<Vec<_>>().concat()),
        Form::Array => ("application/json", array(rows.iter())),
        Form::Rich => {
            let of = &answer.as_of;
            let about = json!({
                "columns": columns(answer),
                "truncated": answer.is_truncated,
                "elapsed_ms": ms(answer.elapsed),
                "as_of": {
                    "epoch": of.epoch,
                    "shards": of.shards,
                    "n_shards": of.n_shards,
                    "rows_read": of.rows_read,
                    "held_up_ms": ms(of.held_up),
                },
            });
            let mut body = about.to_string().into_bytes();
            body.pop();
            body.extend_from_slice(b",\"rows\":");
            body.extend(array(rows.iter()));
            body.push(b'}');
            (RICH, body)
        }
    };
    let mut response = ([(header::CONTENT_TYPE, content_type)], body).into_response();
    if let Ok(epoch) = HeaderValue::from_str(&answer.as_of.epoch.to_string()) {
        response.headers_mut().insert("x-curb-epoch", epoch);
    }
    response
}

fn array<'a>(rows: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut body = b"[".to_vec();
    for (idx, row) in rows.enumerate() {
        body.extend_from_slice(if idx > 0 { b",\n" } else { b"" });
        body.extend_from_slice(row);
    }
    body.push(b']');
    body
}

fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

fn refused(error: &QueryError, sql: &str) -> Response {
    let code = match error.trouble {
        QueryTrouble::Refused => StatusCode::BAD_REQUEST,
        QueryTrouble::Limit => StatusCode::UNPROCESSABLE_ENTITY,
        QueryTrouble::Busy => StatusCode::TOO_MANY_REQUESTS,
        QueryTrouble::NotReady | QueryTrouble::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
        QueryTrouble::Time => StatusCode::GATEWAY_TIMEOUT,
        QueryTrouble::Defect => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let finding = error.finding.as_ref();
    let pack = Pack { files: vec![SourceFile { path: "query".into(), text: sql.to_owned() }] };
    let place = |n: u64| finding.span.is_known().then_some(n);
    let body = json!({
        "error": finding.message,
        "code": finding.code,
        "line": place(finding.span.line),
        "column": place(finding.span.column),
        "hint": finding.hint,
        "text": render(std::slice::from_ref(finding), &pack),
    });
    let mut response = (code, Json(body)).into_response();
    if matches!(error.trouble, QueryTrouble::Busy | QueryTrouble::NotReady) {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

async fn relations(State(served): State<Served>) -> Response {
    let Some(queries) = served.queries.clone() else { return nothing_to_ask() };
    // The first time all rules are planned.
    let (sender, answered) = oneshot::channel();
    let list = move || drop(sender.send(listed(&queries)));
    let thread = std::thread::Builder::new().name("curb-query".to_owned()).stack_size(STACK_BYTES).spawn(list);
    match (thread, answered.await) {
        (Ok(_), Ok(list)) => Json(list).into_response(),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "error": "the relations could not be listed" })))
            .into_response(),
    }
}

fn listed(queries: &Queries) -> Value {
    let relations = queries.relations().into_iter().map(|relation| {
        let columns = relation.columns.iter().map(
            |(name, data_type, is_private)| json!({ "name": name, "type": sql_type(data_type), "private": is_private }),
        );
        json!({
            "name": relation.name,
            "kind": relation.kind,
            "columns": columns.collect::<Vec<_>>(),
            "refusal": relation.refusal,
        })
    });
    json!({ "relations": relations.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        [(name, value.parse().unwrap())].into_iter().collect()
    }

    #[test]
    fn what_is_accepted_decides_how_rows_are_written() {
        let form = |accept: &str| Form::of(&headers(header::ACCEPT, accept));
        assert_eq!(Form::of(&HeaderMap::new()), Form::Array);
        assert_eq!(form("*/*"), Form::Array);
        assert_eq!(form("text/html, application/json;q=0.9"), Form::Array);
        assert_eq!(form("application/x-ndjson"), Form::Lines);
        assert_eq!(form(&format!("{RICH}; q=1, */*")), Form::Rich);
    }

    #[test]
    fn a_body_is_the_query_or_an_object_with_it() {
        let of = |content_type: &str, body: &'static str| {
            text(&headers(header::CONTENT_TYPE, content_type), &Bytes::from_static(body.as_bytes()))
        };
        // What `curl --data` says of its body.
        assert_eq!(of("application/x-www-form-urlencoded", "SELECT 1 + 1").unwrap(), "SELECT 1 + 1");
        assert_eq!(of("text/plain; charset=utf-8", "SELECT '中'").unwrap(), "SELECT '中'");
        assert_eq!(of("application/json", "{\"sql\": \"SELECT 1\"}").unwrap(), "SELECT 1");
        assert_eq!(of("application/json", "SELECT 1").unwrap_err().0, StatusCode::BAD_REQUEST);
        assert!(of("text/plain", " \n").unwrap_err().1.contains("empty"));
        assert!(text(&HeaderMap::new(), &Bytes::from_static(b"SELECT '\xff'")).is_err());
    }
}
