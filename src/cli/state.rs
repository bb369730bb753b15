//! `curb state`: what a pipeline has logged, its rows as files, and an end to it.

mod export;
mod list;
mod reset;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::anyhow;
use clap::{Args, Subcommand};

use super::Failure;
use super::run::config::{ConfigFile, environment_properties, parse_property};
use super::service::{foreign_state, source_failure};
use crate::engine::RestoreError;
use crate::kafka::{Settings, StateTopic};

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

pub(super) fn run(args: &StateArgs) -> Result<(), Failure> {
    match &args.command {
        StateCommand::List(args) => list::run(args),
        StateCommand::Export(args) => export::run(args),
        StateCommand::Reset(args) => reset::run(args),
    }
}

/// Which pipeline, and where.
#[derive(Debug, Args)]
pub(super) struct PipelineArgs {
    /// Bootstrap servers of the cluster, separated by commas
    #[arg(long, value_name = "HOST:PORT", env = "CURB_BROKERS")]
    brokers: Option<String>,
    /// The name of the pipeline
    #[arg(long, value_name = "NAME", env = "CURB_PIPELINE")]
    pipeline: Option<String>,
    /// A configuration file in TOML, as for `curb run`
    #[arg(long, value_name = "FILE", env = "CURB_CONFIG")]
    config: Option<PathBuf>,
    /// A property of the Kafka client librdkafka, for instance security.protocol=ssl
    #[arg(short = 'X', value_name = "PROPERTY=VALUE", value_parser = parse_property)]
    properties: Vec<(String, String)>,
}

impl PipelineArgs {
    pub(super) fn settings(&self) -> Result<Settings, Failure> {
        let file = self.config.as_deref().map_or_else(|| Ok(ConfigFile::default()), ConfigFile::read);
        let file = file.map_err(Failure::Configuration)?;
        let mut properties: BTreeMap<String, String> = file.properties().map_err(Failure::Configuration)?;
        let variables = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        properties.extend(environment_properties(variables));
        properties.extend(self.properties.iter().cloned());
        let needed = |given: Option<String>, flag: &str| {
            let given = given.filter(|text| !text.trim().is_empty());
            given.ok_or_else(|| Failure::Usage(anyhow!("no {} given: use {flag}", flag.trim_start_matches('-'))))
        };
        Ok(Settings {
            brokers: needed(self.brokers.clone().or(file.brokers), "--brokers")?,
            pipeline: needed(self.pipeline.clone().or(file.pipeline), "--pipeline")?,
            properties,
            shards: 1,
            ..Settings::default()
        })
    }

    /// The pipeline's state topic; one that does not exist is the caller's mistake.
    fn open(&self) -> Result<StateTopic, Failure> {
        let settings = self.settings()?;
        let name = settings.state_topic();
        let found = StateTopic::open(settings).map_err(source_failure)?;
        found.ok_or_else(|| {
            Failure::Configuration(anyhow!("there is no topic `{name}`: no pipeline of that name has ever run there"))
        })
    }
}

/// What the operator must do about state that cannot be read.
fn unreadable(error: RestoreError) -> Failure {
    match error {
        RestoreError::Log(error) => source_failure(error),
        error @ (RestoreError::Pipeline(_) | RestoreError::Delta(_)) => foreign_state(error),
        error => Failure::Failed(error.into()),
    }
}
