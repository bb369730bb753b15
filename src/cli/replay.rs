//! `curb replay`: a pack over history in files, to its end, the same on every run.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, FixedOffset};
use chrono_tz::Tz;
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::load::{audit_options, load_with_keys, pseudonym_keys};
use super::{Failure, OutputForm, print};
use crate::engine::{Replay, ReplayError, ReplayOptions, ReplayProgress};
use crate::local::Summary;
use crate::stream::{ShardCount, SourceError};

/// Run a pack over files of history, to their end
#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// The pack: a folder of .sql files, or one file
    pack: PathBuf,
    /// The folder with one <relation>.ndjson, .csv or .parquet for each source
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The folder that the sinks' files are written to
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// The time zone, instead of the pack's own
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<Tz>,
    /// Stop at this event time (RFC 3339): later records are neither read nor counted
    #[arg(long, value_name = "TIMESTAMP", value_parser = DateTime::parse_from_rfc3339)]
    until: Option<DateTime<FixedOffset>>,
    /// The number of shards: it changes the speed, never the result
    #[arg(long, value_name = "N", default_value = "1")]
    shards: NonZeroU32,
    /// Write the audit trail of all rows to curb-audit.ndjson
    #[arg(long)]
    audit: bool,
    /// A file with the keys of `pseudonym`, a line `id = key` each in hexadecimal digits or Base64, and `active = id`
    #[arg(long, value_name = "FILE", env = "CURB_PSEUDONYM_KEYS")]
    pseudonym_keys: Option<PathBuf>,
    /// How to print the summary
    #[arg(long, value_enum, default_value_t)]
    output: OutputForm,
}

pub(super) fn run(args: &ReplayArgs) -> Result<(), Failure> {
    let keys = pseudonym_keys(args.pseudonym_keys.as_deref())?;
    let loaded = load_with_keys(&args.pack, args.time_zone, args.output, keys)?;
    let audit = args.audit.then(|| audit_options(&loaded));
    let pipeline = Arc::new(loaded.pipeline);
    let options = ReplayOptions {
        from: &args.from,
        to: &args.to,
        until_ms: args.until.map(|t| t.timestamp_millis()),
        n_shards: ShardCount(args.shards.get()),
        audit,
    };
    let replay = Replay::open(pipeline, &options).map_err(failure)?;
    for relation in replay.missing() {
        let dir = args.from.display();
        writeln!(io::stderr(), "no file for `{relation}` in `{dir}`: taken as empty")?;
    }
    let summary = with_progress_bar(replay).map_err(failure)?;
    match args.output {
        OutputForm::Text => print(&text(&summary)),
        OutputForm::Json => {
            let json = serde_json::to_string_pretty(&summary).map_err(|e| Failure::Failed(e.into()))?;
            print(&format!("{json}\n"))
        }
    }
}

/// What the user must change, or what went wrong while running.
fn failure(error: ReplayError) -> Failure {
    match error {
        ReplayError::Source(SourceError::Configuration(_) | SourceError::Io(_)) | ReplayError::Output(_) => {
            Failure::Configuration(error.into())
        }
        _ => Failure::Failed(error.into()),
    }
}

/// Runs a replay; on a terminal a bar shows how far it is.
fn with_progress_bar(replay: Replay) -> Result<Summary, ReplayError> {
    if !io::stderr().is_terminal() {
        return replay.run();
    }
    let progress = replay.progress();
    let (ended, wait) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let bar = ProgressBar::with_draw_target(Some(progress.bytes_total()), ProgressDrawTarget::stderr());
            if let Ok(style) = bar_style() {
                bar.set_style(style);
            }
            while let Err(RecvTimeoutError::Timeout) = wait.recv_timeout(Duration::from_millis(100)) {
                show(&bar, &progress);
            }
            bar.finish_and_clear();
        });
        let summary = replay.run();
        drop(ended);
        summary
    })
}

fn bar_style() -> anyhow::Result<ProgressStyle> {
    ProgressStyle::with_template("{wide_bar} {percent}% {msg} [{elapsed_precise}, {eta} left]")
        .context("the progress bar has no valid template")
}

fn show(bar: &ProgressBar, progress: &ReplayProgress) {
    let n_records = progress.n_records();
    let rate = n_records as f64 / bar.elapsed().as_secs_f64().max(0.001);
    bar.set_message(format!("{n_records} records, {rate:.0}/s"));
    bar.set_position(progress.bytes_read().min(progress.bytes_total()));
}

fn text(summary: &Summary) -> String {
    let mut text = format!(
        "{:<28} {:>12} {:>12} {:>12} {:>12} {:>12}\n",
        "source", "read", "used", "duplicate", "late", "rejected"
    );
    for (name, s) in &summary.sources {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{name:<28} {:>12} {:>12} {:>12} {:>12} {:>12}",
            s.read, s.used, s.duplicate, s.late, s.rejected
        );
    }
    let _ = writeln!(text, "\n{:<28} {:>12}", "sink", "rows");
    for (name, sink) in &summary.sinks {
        let _ = writeln!(text, "{name:<28} {:>12}", sink.rows);
    }
    let _ = writeln!(text, "\n{:.3} seconds", summary.elapsed_seconds);
    text
}
