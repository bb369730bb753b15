//! What sinks have written lately: `/api/rows`, the newest rows, and `/api/map`, the newest row of each place.
//!
//! Both are bounded where they are kept (`engine/newest.rs`, `engine/cells.rs`), and without PRIVATE columns already there.
//!
//! | address | answer |
//! |---|---|
//! | `/api/rows?after=N` | at most 20 rows of each sink, newest first, of those behind number N; `newest` is what to ask after next |
//! | `/api/map` | the sinks whose rows name an H3 cell (`cell`) or a position (`lon`, `lat`), and the tiles below them |
//! | `/api/map?sink=NAME` | its cells, at most 5,000: outline, numbers and short texts of the newest row; when the newest window begins |

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::json;

use super::pages::Served;
use super::tiles::Tiles;
use crate::engine::{MapLayer, NEWEST_ROWS_MAX, NewestRow};

pub(super) fn routes() -> Router<Served> {
    Router::new().route("/api/rows", get(rows)).route("/api/map", get(map))
}

/// What `/api/rows` says.
#[derive(Serialize)]
struct RowsAnswer {
    newest: u64,
    rows_max: usize,
    rows: Vec<NewestRow>,
}

/// What `/api/map` says without a sink.
#[derive(Serialize)]
struct LayersAnswer {
    layers: Vec<MapLayer>,
    /// What lies below the map; null: a grid of coordinates.
    tiles: Option<Arc<Tiles>>,
}

async fn rows(State(served): State<Served>, uri: Uri) -> Response {
    let Ok(after) = parameter(&uri, "after").unwrap_or("0").parse() else {
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": "`after` is not a number" }))).into_response();
    };
    let (rows, newest) = served.board.rows_after(after);
    Json(RowsAnswer { newest, rows_max: NEWEST_ROWS_MAX, rows }).into_response()
}

async fn map(State(served): State<Served>, uri: Uri) -> Response {
    let Some(sink) = parameter(&uri, "sink") else {
        return Json(LayersAnswer { layers: served.board.map_layers(), tiles: served.tiles.clone() }).into_response();
    };
    match served.board.map_cells(sink) {
        Some(cells) => Json(cells).into_response(),
        None => {
            let names: Vec<Arc<str>> = served.board.map_layers().into_iter().map(|layer| layer.sink).collect();
            let reason = format!("no rows of a sink `{sink}` have a place; those of {} do", named(&names));
            (StatusCode::NOT_FOUND, Json(json!({ "error": reason }))).into_response()
        }
    }
}

fn named(names: &[Arc<str>]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// A parameter of the query, as it stands there: names of sinks need no escapes.
fn parameter<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    uri.query()?.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}
