//! The settings of a service, in one list, and where each of them came from.
//!
//! Every field of [`SettingsArgs`] with a flag is one setting: `--state-dir` has the variable `CURB_STATE_DIR`, and by that the key
//! `state_dir` of the configuration file. To add one, add its field; the file, its schema and `curb config show` follow from it. A
//! prefix in [`file::SECTIONS`] is a table of the file: `CURB_SCHEMA_REGISTRY_URL` is `url` in `[schema_registry]`.
//! The file is weaker than the environment, which is weaker than flags.

mod configuration;
mod file;
mod properties;
mod schema;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::anyhow;
use chrono_tz::Tz;
use clap::Args;
use clap::builder::BoolishValueParser;

use super::http_args::HttpArgs;
use super::registry_args::RegistryArgs;
use super::sql_limits::SqlLimitArgs;
use super::{Failure, LogForm};
use crate::engine::EmitFrom;
use crate::kafka::Settings;

pub(super) use self::configuration::{Configuration, Given, Origin, Refused, parse};
pub(super) use self::properties::is_secret;
pub(super) use self::schema::schema;

/// Where the cluster is.
#[derive(Debug, Args)]
pub(super) struct ClusterArgs {
    /// Bootstrap servers of the cluster, separated by commas
    #[arg(long, value_name = "HOST:PORT", env = "CURB_BROKERS")]
    pub(super) brokers: Option<String>,
    /// A configuration file in TOML; `curb config schema` says what it may hold
    #[arg(long, value_name = "FILE", env = "CURB_CONFIG")]
    config: Option<PathBuf>,
    /// A property of the Kafka client librdkafka, for instance security.protocol=ssl
    #[arg(short = 'X', value_name = "PROPERTY=VALUE", value_parser = properties::parse)]
    properties: Vec<(String, String)>,
}

/// Which pipeline, and where.
#[derive(Debug, Args)]
pub(super) struct PipelineArgs {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    /// The name of the pipeline: its consumer group, its transactional ids, and the topic NAME.state
    #[arg(long, value_name = "NAME", env = "CURB_PIPELINE")]
    pub(super) pipeline: Option<String>,
}

/// What `curb run` may be told; see the module for what follows from a field.
#[derive(Debug, Args)]
pub(super) struct SettingsArgs {
    #[command(flatten)]
    pub(super) pipeline: PipelineArgs,
    /// The number of this worker; a new worker of the same number replaces the old one
    #[arg(long, value_name = "N", env = "CURB_INSTANCE", default_value_t = 0)]
    pub(super) instance: u32,
    /// A folder of this worker's own for snapshots of its state, so that a restart reads only the end of the state topic.
    /// It may be lost at any time: the state topic alone restores everything
    #[arg(long, value_name = "DIR", env = "CURB_STATE_DIR")]
    pub(super) state_dir: Option<PathBuf>,
    /// The number of shards, fixed at the first start [default: that of the state topic, or 8]
    #[arg(long, value_name = "N", env = "CURB_SHARDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) shards: Option<u32>,
    /// Serve the console page, health, measurements and status at this address
    #[arg(long, value_name = "ADDR", env = "CURB_HTTP")]
    pub(super) http: Option<String>,
    #[command(flatten)]
    pub(super) http_options: HttpArgs,
    #[command(flatten)]
    pub(super) sql: SqlLimitArgs,
    /// Make topics that are missing
    #[arg(long, env = "CURB_CREATE_TOPICS", value_parser = BoolishValueParser::new())]
    pub(super) create_topics: bool,
    /// Write an audit trail of all rows to the topic NAME.audit, for `curb why`
    #[arg(long, env = "CURB_AUDIT", value_parser = BoolishValueParser::new())]
    pub(super) audit: bool,
    /// Stop with exit code 0 when everything that was in the topics at start has been processed and committed
    #[arg(long, env = "CURB_UNTIL_CAUGHT_UP", value_parser = BoolishValueParser::new())]
    pub(super) until_caught_up: bool,
    /// What the first load of a new pipeline may emit: earliest (all of it), now (nothing: every row counts as written), or a
    /// timestamp (rows whose `emit_time` is at or after it)
    #[arg(long, value_name = "earliest|now|TIMESTAMP", env = "CURB_EMIT_FROM", value_parser = parse_emit_from, default_value = "earliest")]
    pub(super) emit_from: EmitFrom,
    #[command(flatten)]
    pub(super) schema_registry: RegistryArgs,
    /// A file with the keys of `pseudonym`, a line `id = key` each in hexadecimal digits or Base64, and `active = id`
    #[arg(long, value_name = "FILE", env = "CURB_PSEUDONYM_KEYS")]
    pub(super) pseudonym_keys: Option<PathBuf>,
    /// The time zone, instead of the pack's own
    #[arg(long, value_name = "ZONE", env = "CURB_TIME_ZONE")]
    pub(super) time_zone: Option<Tz>,
    /// How to log
    #[arg(long, value_enum, default_value_t, env = "CURB_LOG_FORMAT")]
    pub(super) log_format: LogForm,
}

impl ClusterArgs {
    /// What every client of the cluster needs.
    pub(super) fn settings(&self, configuration: &Configuration) -> Result<Settings, Failure> {
        Ok(Settings {
            brokers: needed(&self.brokers, "brokers", "--brokers HOST:PORT")?,
            properties: configuration.property_values(),
            shards: 1,
            ..Settings::default()
        })
    }
}

impl PipelineArgs {
    /// The same for a pipeline.
    pub(super) fn settings(&self, configuration: &Configuration) -> Result<Settings, Failure> {
        let pipeline = needed(&self.pipeline, "pipeline", "--pipeline NAME")?;
        Ok(Settings { pipeline, ..self.cluster.settings(configuration)? })
    }
}

fn needed(given: &Option<String>, name: &str, flag: &str) -> Result<String, Failure> {
    given.clone().filter(|text| !text.trim().is_empty()).ok_or_else(|| {
        let variable = format!("CURB_{}", name.to_uppercase());
        Failure::Usage(anyhow!("no {name} given: use {flag}, {variable}, or `{name}` in the --config file"))
    })
}

impl SettingsArgs {
    /// The same for a worker: with its number, if it has one of its own.
    pub(super) fn kafka(&self, configuration: &Configuration) -> Result<Settings, Failure> {
        Ok(Settings { instance: self.instance, ..self.pipeline.settings(configuration)? })
    }
}

/// Reads `earliest`, `now` or an instant.
fn parse_emit_from(text: &str) -> Result<EmitFrom, String> {
    match text {
        "earliest" => Ok(EmitFrom::Earliest),
        "now" => Ok(EmitFrom::Now),
        other => chrono::DateTime::parse_from_rfc3339(other)
            .map(|at| EmitFrom::Timestamp(at.timestamp_millis()))
            .map_err(|_| "write earliest, now, or a timestamp as 2026-01-31T00:00:00+08:00".to_owned()),
    }
}

impl Configuration {
    /// The properties of the Kafka client, from all places.
    fn property_values(&self) -> BTreeMap<String, String> {
        self.properties.iter().map(|(name, given)| (name.clone(), given.value.clone())).collect()
    }
}

#[cfg(test)]
mod tests;
