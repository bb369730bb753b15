//! `curb pause` and `curb resume`: hold the rows of a running worker's sink back, and let them go.

use std::time::{Duration, Instant};

use anyhow::anyhow;
use clap::Args;
use serde_json::Value;

use super::{Failure, print};
use crate::server::REQUEST_HEADER;

/// How long the worker may take to do what it was asked for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Hold the rows of a sink back; they wait as differences, and only the latest of each key leaves later
///
/// Works on sinks over tables and over CHANGES, also while the worker restarts. Must be called on the machine of the worker.
#[derive(Debug, Args)]
pub(super) struct PauseArgs {
    /// The sink
    sink: String,
    /// Where the worker serves HTTP
    #[arg(long, value_name = "ADDR", env = "CURB_HTTP", default_value = "127.0.0.1:8642")]
    http: String,
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Pause,
    Resume,
}

pub(super) fn run(args: &PauseArgs, wish: Wish) -> Result<(), Failure> {
    // A worker that listens on all addresses is asked on this machine's own.
    let address = args.http.replace("0.0.0.0", "127.0.0.1");
    let verb = if wish == Wish::Pause { "pause" } else { "resume" };
    let url = format!("http://{address}/api/sinks/{}/{verb}", args.sink);
    let mut answer =
        agent().post(&url).header(REQUEST_HEADER, "1").send_empty().map_err(|e| unreachable(&address, &e))?;
    if !answer.status().is_success() {
        let text = answer.body_mut().read_to_string().unwrap_or_default();
        let reason = serde_json::from_str::<Value>(&text).ok().and_then(|v| v["error"].as_str().map(str::to_owned));
        return Err(Failure::Failed(anyhow!(
            "{}",
            reason.unwrap_or_else(|| format!("the worker answered {}", answer.status()))
        )));
    }
    let started = Instant::now();
    loop {
        let sinks = sinks(&address)?;
        let own = sinks.iter().find(|s| s["name"] == args.sink.as_str());
        let is_paused = own.is_some_and(|s| s["paused"].is_string());
        if is_paused == (wish == Wish::Pause) {
            return print(&report(&args.sink, wish, &sinks));
        }
        if started.elapsed() > PATIENCE {
            return Err(Failure::Failed(anyhow!(
                "the worker has not obeyed within {} s; it may be restoring its state: see http://{address}/api/status",
                PATIENCE.as_secs()
            )));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(10)));
    config.http_status_as_error(false).build().into()
}

fn unreachable(address: &str, error: &ureq::Error) -> Failure {
    Failure::Unreachable(anyhow!("no worker answers at {address}: {error}; say where it serves with --http ADDR"))
}

fn sinks(address: &str) -> Result<Vec<Value>, Failure> {
    let url = format!("http://{address}/api/status");
    let mut answer = agent().get(&url).call().map_err(|e| unreachable(address, &e))?;
    let text = answer.body_mut().read_to_string().map_err(|e| unreachable(address, &e))?;
    let status: Value =
        serde_json::from_str(&text).map_err(|e| Failure::Failed(anyhow!(e).context("status of the worker")))?;
    Ok(status["sinks"].as_array().cloned().unwrap_or_default())
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
