//! The answers of the server, computed from a status and the clock alone.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::health::{Health, judge};
use super::history::Lately;
use crate::engine::{LatencyStatus, Phase, RelationStatus, RestoreStatus, SinkStatus, SourceStatus, Status};

/// The worker goes on at least this often, by a turn of its loop or a relation of an epoch, or something holds it up.
const TURN_MAX: Duration = Duration::from_secs(30);

/// What `/api/status` says.
#[derive(Debug, Serialize)]
pub(super) struct StatusAnswer {
    pipeline: Arc<str>,
    version: &'static str,
    health: Health,
    /// For how long it has been served.
    uptime_ms: u64,
    /// How long ago the worker's loop last came round; none if it never did.
    since_last_turn_ms: Option<u64>,
    phase: Phase,
    epoch: u64,
    loaded: bool,
    restarts: u64,
    undeliverable: u64,
    /// What records wait for, as a schema registry that cannot be reached.
    waits_for: Option<String>,
    /// For how long no broker has answered; none if one does.
    brokers_silent_ms: Option<u64>,
    /// How far the restore has come, in offsets of the state topic; none while nothing is restored.
    restore: Option<RestoreStatus>,
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

/// What is known beside the status.
pub(super) struct Circumstances {
    pub(super) pipeline: Arc<str>,
    pub(super) uptime: Duration,
    pub(super) since_last_turn: Option<Duration>,
    pub(super) lately: Lately,
    pub(super) now_ms: i64,
}

impl StatusAnswer {
    pub(super) fn new(status: Status, circumstances: Circumstances) -> Self {
        let Circumstances { pipeline, uptime, since_last_turn, lately, now_ms } = circumstances;
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
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
            health: judge(&status, since_last_turn, &lately),
            uptime_ms: ms(uptime),
            since_last_turn_ms: since_last_turn.map(ms),
            version: env!("CARGO_PKG_VERSION"),
            phase: status.phase,
            epoch: status.epoch,
            loaded: status.loaded,
            restarts: status.restarts,
            undeliverable: status.undeliverable,
            waits_for: status.waits_for,
            brokers_silent_ms: status.brokers_silent_ms,
            restore: status.restore,
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
