//! `curb pause` and `curb resume`: hold the rows of a running worker's sink back, and let them go.

use std::time::{Duration, Instant};

use anyhow::anyhow;
use clap::Args;
use serde_json::Value;

use super::worker_client::{WorkerArgs, WorkerClient};
use super::{Failure, print};

/// How long the worker may take to do what it was asked for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Hold the rows of a sink back; they wait as differences, and only the latest of each key leaves later
///
/// Works on sinks over tables and over CHANGES, also while the worker restarts. Callers on the machine of the worker
/// need no token.
#[derive(Debug, Args)]
pub(super) struct PauseArgs {
    /// The sink
    sink: String,
    #[command(flatten)]
    worker: WorkerArgs,
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Pause,
    Resume,
}

pub(super) fn run(args: &PauseArgs, wish: Wish) -> Result<(), Failure> {
    let client = args.worker.client()?;
    let verb = if wish == Wish::Pause { "pause" } else { "resume" };
    client.post(&format!("/api/sinks/{}/{verb}", args.sink), "application/json", "")?;
    let started = Instant::now();
    loop {
        let sinks = sinks(&client)?;
        let own = sinks.iter().find(|s| s["name"] == args.sink.as_str());
        let is_paused = own.is_some_and(|s| s["paused"].is_string());
        if is_paused == (wish == Wish::Pause) {
            return print(&report(&args.sink, wish, &sinks));
        }
        if started.elapsed() > PATIENCE {
            return Err(Failure::Failed(anyhow!(
                "the worker has not obeyed within {} s; it may be restoring its state: see {}/api/status",
                PATIENCE.as_secs(),
                client.base()
            )));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn sinks(client: &WorkerClient) -> Result<Vec<Value>, Failure> {
    Ok(client.get("/api/status")?["sinks"].as_array().cloned().unwrap_or_default())
}

/// What a person wants to know after it.
fn report(sink: &str, wish: Wish, sinks: &[Value]) -> String {
    let name = |s: &Value| s["name"].as_str().unwrap_or_default().to_owned();
    match wish {
        Wish::Resume => format!("`{sink}` goes on\n"),
        Wish::Pause => {
            let with = format!("with `{sink}`");
            let is_with = |s: &&Value| s["paused"].as_str().is_some_and(|why| why.starts_with(&with));
            let others: Vec<String> = sinks.iter().filter(is_with).map(|s| format!("`{}`", name(s))).collect();
            let waiting = sinks.iter().find(|s| name(s) == sink).map_or(0, |s| s["waiting"].as_u64().unwrap_or(0));
            let others = match others.as_slice() {
                [] => String::new(),
                some => format!(" and {}, which read the same CHANGES", some.join(", ")),
            };
            format!("paused `{sink}`{others}; {waiting} keys wait. `curb resume {sink}` lets them go\n")
        }
    }
}
