//! The answers of the server, computed from a status and the clock alone.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use crate::engine::{LatencyStatus, Phase, RelationStatus, SinkStatus, SourceStatus, Status};

/// The worker's loop comes round at least this often, or something holds it up.
const TURN_MAX: Duration = Duration::from_secs(30);

/// What `/api/status` says.
#[derive(Debug, Serialize)]
pub(super) struct StatusAnswer {
    pipeline: Arc<str>,
    version: &'static str,
    phase: Phase,
    epoch: u64,
    loaded: bool,
    restarts: u64,
    undeliverable: u64,
    now: String,
    relations: Vec<RelationAnswer>,
    sources: Vec<SourceStatus>,
    sinks: Vec<SinkStatus>,
    latency: LatencyStatus,
}

#[derive(Debug, Serialize)]
struct RelationAnswer {
    #[serde(flatten)]
    status: RelationStatus,
    /// The watermark as an instant.
    watermark: Option<String>,
    /// How far the watermark is behind the clock.
    watermark_lag_ms: Option<i64>,
    /// Records of its topic that have not been read; only sources have it.
    lag: Option<i64>,
}

impl StatusAnswer {
    pub(super) fn new(pipeline: Arc<str>, status: Status, now_ms: i64) -> Self {
        let lag_of = |name: &str| status.sources.iter().find(|s| &*s.name == name).and_then(|s| s.lag);
        let relations = status.relations.iter().map(|relation| RelationAnswer {
            watermark: relation.watermark_ms.and_then(instant),
            watermark_lag_ms: relation.watermark_ms.map(|ms| now_ms.saturating_sub(ms)),
            lag: lag_of(&relation.name),
            status: relation.clone(),
        });
        Self {
            relations: relations.collect(),
            pipeline,
            version: env!("CARGO_PKG_VERSION"),
            phase: status.phase,
            epoch: status.epoch,
            loaded: status.loaded,
            restarts: status.restarts,
            undeliverable: status.undeliverable,
            now: instant(now_ms).unwrap_or_default(),
            sources: status.sources,
            sinks: status.sinks,
            latency: status.latency,
        }
    }
}

fn instant(ms: i64) -> Option<String> {
    DateTime::<Utc>::from_timestamp_millis(ms).map(|at| at.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// Whether the worker's loop comes round, or why not.
///
/// Waiting for partitions and restoring are one turn that may take long, and have time limits of their own.
pub(super) fn alive(phase: Phase, since_last_turn: Option<Duration>) -> Result<(), String> {
    match (phase, since_last_turn) {
        (Phase::Stopped, _) => Err("the worker has stopped".to_owned()),
        (Phase::Loading | Phase::Running, Some(since)) if since >= TURN_MAX => {
            Err(format!("the worker's loop has not come round for {} s", since.as_secs()))
        }
        _ => Ok(()),
    }
}

/// Whether the worker has its partitions and its state, or why not.
pub(super) fn ready(phase: Phase) -> Result<(), String> {
    match phase {
        Phase::Loading | Phase::Running => Ok(()),
        Phase::Starting => Err("the worker has not begun".to_owned()),
        Phase::Restoring => Err("the worker waits for its partitions or restores its state".to_owned()),
        Phase::Stopped => Err("the worker has stopped".to_owned()),
    }
}
