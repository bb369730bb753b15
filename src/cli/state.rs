//! `curb state`: what a pipeline has logged, its rows as files, and an end to it.

mod export;
mod list;
mod reset;

use anyhow::anyhow;
use clap::{Args, Subcommand};

use super::Failure;
use super::service::{foreign_state, source_failure};
use super::settings::{Configuration, PipelineArgs};
use crate::engine::RestoreError;
use crate::kafka::StateTopic;

/// Look at a pipeline's state, write it to files, or delete it
///
/// The state of a pipeline NAME is what its topic NAME.state says: the rows of its tables, what its streams remember, and
/// what its sinks wrote last. It is all that a restart needs; so these commands read the topic and disturb no worker.
#[derive(Debug, Args)]
pub(super) struct StateArgs {
    #[command(subcommand)]
    command: StateCommand,
}

#[derive(Debug, Subcommand)]
enum StateCommand {
    List(list::ListArgs),
    Export(export::ExportArgs),
    Reset(reset::ResetArgs),
}

pub(super) fn run(args: &StateArgs, configuration: &Configuration) -> Result<(), Failure> {
    match &args.command {
        StateCommand::List(args) => list::run(args, configuration),
        StateCommand::Export(args) => export::run(args, configuration),
        StateCommand::Reset(args) => reset::run(args, configuration),
    }
}

/// The pipeline's state topic; one that does not exist is the caller's mistake.
fn open(pipeline: &PipelineArgs, configuration: &Configuration) -> Result<StateTopic, Failure> {
    let settings = pipeline.settings(configuration)?;
    let name = settings.state_topic();
    let found = StateTopic::open(settings).map_err(source_failure)?;
    found.ok_or_else(|| {
        Failure::Configuration(anyhow!("there is no topic `{name}`: no pipeline of that name has ever run there"))
    })
}

/// What the operator must do about state that cannot be read.
fn unreadable(error: RestoreError) -> Failure {
    match error {
        RestoreError::Log(error) => source_failure(error),
        error @ (RestoreError::Pipeline(_) | RestoreError::Delta(_)) => foreign_state(error),
        error => Failure::Failed(error.into()),
    }
}
