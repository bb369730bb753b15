//! Whether a pipeline is well, as an operator would judge it: one word and the reasons for it.

use std::time::Duration;

use serde::Serialize;

use super::answer::alive;
use super::history::Lately;
use crate::engine::{Phase, Status};

/// A loop that comes round less often than this is worth a look.
const TURN_SLOW: Duration = Duration::from_secs(10);

/// Without an answer of any broker for this long something is wrong: clients look for them every few seconds.
const SILENCE_MS: u64 = 5_000;

/// A median latency that nobody wants, in milliseconds.
const LATENCY_SLOW_MS: f64 = 5_000.0;

/// How a pipeline is, from well to not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// All is well.
    Healthy,
    /// It is on its way to handle records.
    Starting,
    /// It works, and somebody should look at it.
    Attention,
    /// It does not work.
    Failing,
}

/// The judgement.
#[derive(Debug, Serialize)]
pub(super) struct Health {
    pub(super) level: Level,
    /// Sentences, the gravest first; none if all is well.
    pub(super) reasons: Vec<String>,
}

/// Judges a pipeline by its status, its loop and its last ten minutes.
pub(super) fn judge(status: &Status, since_last_turn: Option<Duration>, lately: &Lately) -> Health {
    let mut found: Vec<(Level, String)> = Vec::new();
    match alive(status.phase, since_last_turn) {
        Err(reason) => found.push((Level::Failing, sentence(&reason))),
        Ok(()) => {
            let since = since_last_turn.filter(|since| *since >= TURN_SLOW);
            if let (Some(since), Phase::Loading | Phase::Running) = (since, status.phase) {
                let reason = format!("The worker's loop has not come round for {} s.", since.as_secs());
                found.push((Level::Attention, reason));
            }
        }
    }
    if let Some(ms) = status.brokers_silent_ms.filter(|ms| *ms >= SILENCE_MS && status.phase != Phase::Stopped) {
        let seconds = ms / 1_000;
        let reason = format!(
            "No broker has answered for {seconds} s: nothing is read and nothing leaves. Check the brokers and the \
             network; when one answers, the worker goes on from the last committed epoch."
        );
        found.push((Level::Failing, reason));
    }
    if let Some(what) = &status.waits_for {
        found.push((Level::Attention, format!("Records wait, none is lost: {what}.")));
    }
    match status.phase {
        Phase::Starting => found.push((Level::Starting, "The worker has not begun.".into())),
        Phase::Restoring => {
            found.push((Level::Starting, "The worker waits for its partitions or restores its state.".into()));
        }
        Phase::Loading => {
            found.push((Level::Starting, "Tables are being read to their end; nothing leaves yet.".into()));
        }
        Phase::Running | Phase::Stopped => {}
    }
    if status.undeliverable > 0 {
        let n = counted(status.undeliverable, "output record was", "output records were");
        found.push((Level::Attention, format!("{n} left out: larger than the topic takes.")));
    }
    for sink in &status.sinks {
        if let Some(reason) = &sink.paused {
            let (name, n) = (&sink.name, counted(sink.waiting, "key waits", "keys wait"));
            let text = format!("Sink {name} is paused: {reason}; {n}. `curb resume {name}` lets it go on.");
            found.push((Level::Attention, text));
        }
    }
    if lately.n_restarts > 0 {
        let n = counted(lately.n_restarts, "epoch", "epochs");
        let restored = if status.phase == Phase::Restoring { "is being restored" } else { "was restored" };
        found.push((Level::Attention, format!("{n} failed in the last 10 minutes; the state {restored}.")));
    }
    if status.phase == Phase::Running {
        if let Some(p50_ms) = lately.p50_ms.filter(|p50_ms| *p50_ms >= LATENCY_SLOW_MS) {
            let seconds = p50_ms / 1_000.0;
            let time = if seconds < 120.0 { format!("{seconds:.1} s") } else { format!("{:.0} min", seconds / 60.0) };
            let reason = format!("Half of the records of the last minute took {time} or longer.");
            found.push((Level::Attention, reason));
        }
        for (source, lag) in &lately.behind {
            found.push((Level::Attention, format!("Source {source} is {lag} records behind.")));
        }
    }
    found.sort_by_key(|(level, _)| std::cmp::Reverse(*level));
    let level = found.first().map_or(Level::Healthy, |(level, _)| *level);
    Health { level, reasons: found.into_iter().map(|(_, reason)| reason).collect() }
}

fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// A fragment as a sentence.
fn sentence(fragment: &str) -> String {
    let mut chars = fragment.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}
