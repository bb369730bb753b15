//! `curb state reset`: deletes the state of a pipeline.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use clap::Args;

use super::open;
use crate::cli::service::source_failure;
use crate::cli::settings::{Configuration, PipelineArgs};
use crate::cli::{Failure, print};
use crate::kafka::StateTopic;

/// A worker that has ended is a member of its group for less than this.
const SESSION_PATIENCE: Duration = Duration::from_secs(50);

/// Delete the state of a pipeline, so that its next start is a first start
///
/// Deletes the state topic and the offsets of the consumer group. The next start reads all source topics from their beginning
/// and writes what follows from them again; what the sinks have written so far stays in their topics.
/// Refused while a worker of the pipeline runs. Without --yes it only says what it would do, and ends with exit code 2.
#[derive(Debug, Args)]
pub(super) struct ResetArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// Delete the records of the state topic, but not the topic: where topics are made by others
    #[arg(long)]
    keep_topic: bool,
    /// Do it
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(args: &ResetArgs, configuration: &Configuration) -> Result<(), Failure> {
    let topic = open(&args.pipeline, configuration)?;
    let group = args.pipeline.settings(configuration)?.pipeline;
    wait_until_unused(&topic, &group, args.yes)?;
    let ranges = topic.ranges().map_err(source_failure)?;
    let n_records: i64 = ranges.values().map(|r| r.end - r.start).sum();
    let (name, n_shards) = (topic.name(), topic.n_shards());
    let what = if args.keep_topic { "records of topic" } else { "topic" };
    let scope = format!("{what} `{name}` ({n_shards} shards, {n_records} offsets)");
    if !args.yes {
        print(&format!("would delete: {scope}\nwould delete: group `{group}` and its offsets\n"))?;
        return Err(Failure::Usage(anyhow!("nothing was deleted; add --yes to do it")));
    }
    // The group first: state without offsets can be gone on from, offsets without state cannot.
    let had_group = topic.delete_group().map_err(source_failure)?;
    let of_group = if had_group { "deleted" } else { "there was no" };
    print(&format!("{of_group} group `{group}`\n"))?;
    match args.keep_topic {
        true => topic.delete_records(),
        false => topic.delete_topic(),
    }
    .map_err(source_failure)?;
    print(&format!("deleted {scope}\n"))?;
    match args.keep_topic {
        true => Ok(()),
        false => print("the next start makes the topic again with --create-topics\n"),
    }
}

/// Waits until the group has no member: a worker that has ended is one until its session is over. Refuses if one stays.
fn wait_until_unused(topic: &StateTopic, group: &str, waits: bool) -> Result<(), Failure> {
    let started = Instant::now();
    let mut was_told = false;
    loop {
        let members = topic.members().map_err(source_failure)?;
        if members.is_empty() {
            return Ok(());
        }
        let workers = members.iter().map(|m| format!("`{m}`")).collect::<Vec<_>>().join(", ");
        if !waits || started.elapsed() >= SESSION_PATIENCE {
            return Err(Failure::Policy(anyhow!(
                "pipeline `{group}` has a running worker: {workers}; stop it first (one that has ended counts for 45 seconds \
                 more)"
            )));
        }
        if !was_told {
            let _ = writeln!(io::stderr(), "waiting for {workers} to leave group `{group}`");
            was_told = true;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}
