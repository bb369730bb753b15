//! `curb run`: a pack as a service, Kafka to Kafka, exactly once.

pub(super) mod config;
mod registry;
pub(super) mod topics;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use chrono_tz::Tz;
use clap::Args;
use clap::builder::BoolishValueParser;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::config::{ConfigFile, environment_properties, parse_property};
use self::registry::{RegistryArgs, schema_registry};
use super::http_args::HttpArgs;
use super::load::{Loaded, audit_options, load_with_keys, missing_files, pseudonym_keys};
use super::service::{Service, on_thread, panicked, source_failure};
use super::{Failure, LogForm, OutputForm, log};
use crate::engine::{
    AuditOptions, EmitFrom, Ended, Queries, QueryLimits, SourceCounts, Status, StatusBoard, WorkerOptions,
};
use crate::format::SchemaRegistry;
use crate::kafka::{self, Connection, Settings};
use crate::local::SnapshotDir;
use crate::metrics::{self, PackInfo};
use crate::server::{self, HttpOptions, ServerHandle};
use crate::stream::{OutputTopic, ShardCount, SourceError};

/// The number of shards of a pipeline that is started for the first time, unless one is given.
const DEFAULT_SHARDS: u32 = 8;
/// How often the log says how far the first load is.
const LOADING_NOTE_INTERVAL: Duration = Duration::from_secs(5);
/// How often the log says that the pipeline runs.
const RUNNING_NOTE_INTERVAL: Duration = Duration::from_secs(60);

/// Run a pack as a service: from Kafka topics to Kafka topics, exactly once
///
/// Settings come from the configuration file, then from CURB_* variables, then from flags; the last one wins.
/// A variable CURB_KAFKA_SASL_PASSWORD sets the Kafka property sasl.password, and so on.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The pack: a folder of .sql files, or one file
    pack: PathBuf,
    /// Bootstrap servers of the cluster, separated by commas
    #[arg(long, value_name = "HOST:PORT", env = "CURB_BROKERS")]
    brokers: Option<String>,
    /// The name of the pipeline: its consumer group, its transactional ids, and the topic NAME.state
    #[arg(long, value_name = "NAME", env = "CURB_PIPELINE")]
    pipeline: Option<String>,
    /// The number of this worker; a new worker of the same number replaces the old one [default: 0]
    #[arg(long, value_name = "N", env = "CURB_INSTANCE")]
    instance: Option<u32>,
    /// A folder of this worker's own for snapshots of its state, so that a restart reads only the end of the state topic.
    /// It may be lost at any time: the state topic alone restores everything
    #[arg(long, value_name = "DIR", env = "CURB_STATE_DIR")]
    state_dir: Option<PathBuf>,
    /// The number of shards, fixed at the first start [default: that of the state topic, or 8]
    #[arg(long, value_name = "N", env = "CURB_SHARDS")]
    shards: Option<u32>,
    /// Serve the console page, health, measurements and status at this address
    #[arg(long, value_name = "ADDR", env = "CURB_HTTP")]
    http: Option<String>,
    #[command(flatten)]
    http_options: HttpArgs,
    /// Make topics that are missing
    #[arg(long, env = "CURB_CREATE_TOPICS", value_parser = BoolishValueParser::new())]
    create_topics: bool,
    /// Write an audit trail of all rows to the topic NAME.audit, for `curb why`
    #[arg(long, env = "CURB_AUDIT", value_parser = BoolishValueParser::new())]
    audit: bool,
    /// Stop with exit code 0 when everything that was in the topics at start has been processed and committed
    #[arg(long, env = "CURB_UNTIL_CAUGHT_UP", value_parser = BoolishValueParser::new())]
    until_caught_up: bool,
    /// What the first load of a new pipeline may emit: earliest (all of it), now (nothing: every row counts as written), or a
    /// timestamp (rows whose `emit_time` is at or after it) [default: earliest]
    #[arg(long, value_name = "earliest|now|TIMESTAMP", env = "CURB_EMIT_FROM", value_parser = parse_emit_from)]
    emit_from: Option<EmitFrom>,
    /// The time zone, instead of the pack's own
    #[arg(long, value_name = "ZONE", env = "CURB_TIME_ZONE")]
    time_zone: Option<Tz>,
    /// A file with the keys of `pseudonym`, a line `id = key` each in hexadecimal digits or Base64, and `active = id`
    #[arg(long, value_name = "FILE", env = "CURB_PSEUDONYM_KEYS")]
    pseudonym_keys: Option<PathBuf>,
    #[command(flatten)]
    schema_registry: RegistryArgs,
    /// A configuration file in TOML
    #[arg(long, value_name = "FILE", env = "CURB_CONFIG")]
    config: Option<PathBuf>,
    /// A property of the Kafka client librdkafka, for instance security.protocol=ssl
    #[arg(short = 'X', value_name = "PROPERTY=VALUE", value_parser = parse_property)]
    properties: Vec<(String, String)>,
    /// How to log
    #[arg(long, value_enum, default_value_t, env = "CURB_LOG_FORMAT")]
    pub(super) log_format: LogForm,
}

/// The settings of a run, from all places.
struct RunSettings {
    kafka: Settings,
    state_dir: Option<PathBuf>,
    shards: Option<u32>,
    http: HttpOptions,
    create_topics: bool,
    until_caught_up: bool,
    audit: Option<AuditOptions>,
    emit_from: EmitFrom,
    registry: Option<Arc<SchemaRegistry>>,
}

pub(super) fn run(args: &RunArgs) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    // Before anything that takes time: a large pack takes a moment to plan, and who is told to end then ends well.
    let signals = runtime.block_on(async { Signals::new() })?;
    let file = args.config.as_deref().map_or_else(|| Ok(ConfigFile::default()), ConfigFile::read);
    let file = file.map_err(Failure::Configuration)?;
    let keys = pseudonym_keys(args.pseudonym_keys.as_deref().or(file.pseudonym_keys.as_deref()))?;
    let loaded = load_with_keys(&args.pack, args.time_zone, OutputForm::Text, keys)?;
    let settings = settings(args, file, &loaded)?;
    need_files(&loaded)?;
    let outcome = runtime.block_on(serve(loaded, settings, signals));
    // Threads that wait for the cluster have nothing left to say.
    runtime.shutdown_background();
    outcome
}

fn settings(args: &RunArgs, file: ConfigFile, loaded: &Loaded) -> Result<RunSettings, Failure> {
    let needed = |given: Option<String>, name: &str, flag: &str| {
        given.filter(|text| !text.trim().is_empty()).ok_or_else(|| {
            let (variable, key) = (format!("CURB_{}", name.to_uppercase()), name);
            Failure::Usage(anyhow!("no {name} given: use {flag}, {variable}, or `{key}` in the --config file"))
        })
    };
    let mut properties: BTreeMap<String, String> = file.properties().map_err(Failure::Configuration)?;
    let variables = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    properties.extend(environment_properties(variables));
    properties.extend(args.properties.iter().cloned());
    let state_dir = args.state_dir.clone().or_else(|| file.state_dir.clone());
    if let Some(dir) = &state_dir {
        let made = std::fs::create_dir_all(dir);
        made.with_context(|| format!("state directory `{}`", dir.display())).map_err(Failure::Configuration)?;
    }
    let emit_from = args.emit_from.unwrap_or_default();
    if let EmitFrom::Timestamp(_) = emit_from {
        need_emit_times(loaded)?;
    }
    let registry = schema_registry(&args.schema_registry, &file.schema_registry, &loaded.catalog)?;
    let shards = args.shards.or(file.shards);
    if shards == Some(0) {
        return Err(Failure::Usage(anyhow!("a pipeline needs at least one shard")));
    }
    let http = args.http_options.options(args.http.as_deref(), &file)?;
    let pipeline = needed(args.pipeline.clone().or(file.pipeline), "pipeline", "--pipeline NAME")?;
    let audit = (args.audit || file.audit.unwrap_or(false)).then(|| audit_options(loaded));
    let mut outputs = topics::outputs(&loaded.catalog)?;
    if audit.is_some() {
        outputs.insert(OutputTopic::Audit, kafka::audit_topic(&pipeline));
    }
    Ok(RunSettings {
        kafka: Settings {
            brokers: needed(args.brokers.clone().or(file.brokers), "brokers", "--brokers HOST:PORT")?,
            pipeline,
            instance: args.instance.or(file.instance).unwrap_or(0),
            properties,
            sources: topics::sources(&loaded.catalog)?,
            outputs,
            private_sinks: topics::private_sinks(&loaded.catalog),
            shards: shards.unwrap_or(DEFAULT_SHARDS),
            simulated: false,
        },
        state_dir,
        shards,
        http,
        create_topics: args.create_topics || file.create_topics.unwrap_or(false),
        until_caught_up: args.until_caught_up,
        audit,
        emit_from,
        registry,
    })
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

/// Refuses to compare rows with a timestamp where no sink says of which time they are, and names the sinks that do not.
fn need_emit_times(loaded: &Loaded) -> Result<(), Failure> {
    let of_tables = || loaded.pipeline.sinks.iter().filter(|s| !s.hands_over.is_empty());
    let lacking: Vec<String> = of_tables().filter(|s| s.emit_time.is_none()).map(|s| format!("`{}`", s.name)).collect();
    let lacking = lacking.join(", ");
    if of_tables().all(|s| s.emit_time.is_none()) {
        return Err(Failure::Configuration(anyhow!(
            "--emit-from TIMESTAMP needs to know of which time rows are: give sinks {lacking} the option \
             emit_time = '<timestamp column>', or use --emit-from earliest or now"
        )));
    }
    if !lacking.is_empty() {
        tracing::warn!("sinks without emit_time emit their whole first load: {lacking}");
    }
    Ok(())
}

/// Refuses to start where the file of a table is not there, before anything is connected or made.
fn need_files(loaded: &Loaded) -> Result<(), Failure> {
    let missing = missing_files(&loaded.catalog);
    if missing.is_empty() {
        return Ok(());
    }
    let said = missing.into_iter().map(|finding| match finding.hint {
        Some(hint) => format!("{}. {hint}", finding.message),
        None => finding.message,
    });
    Err(Failure::Configuration(anyhow!("{}", said.collect::<Vec<_>>().join("\n"))))
}

/// The whole life of the service, from the first connection to the last commit.
async fn serve(loaded: Loaded, settings: RunSettings, mut signals: Signals) -> Result<(), Failure> {
    let pipeline = Arc::new(loaded.pipeline);
    let mut options = WorkerOptions::live(ShardCount(DEFAULT_SHARDS));
    options.until_caught_up = settings.until_caught_up;
    let pipeline_name = &settings.kafka.pipeline;
    options.upkeep.snapshots = settings.state_dir.as_deref().map(|dir| SnapshotDir::new(dir, pipeline_name));
    options.emit_from = settings.emit_from;
    options.audit = settings.audit.clone();
    options.registry = settings.registry.clone();
    if settings.http.address.is_some() || settings.http.health.is_some() {
        server::collect_measurements().map_err(|e| Failure::Configuration(e.into()))?;
    }
    let instance = settings.kafka.instance;
    log::speak_as(pipeline_name, &settings.kafka.worker());
    let (http, name) = (settings.http.clone(), settings.kafka.pipeline.clone());
    let connecting = on_thread("connect", move || connect(settings))?;
    let connected = tokio::select! {
        connected = connecting => connected.map_err(|_| panicked("connect"))?,
        () = signals.next() => return Ok(()),
    };
    let (connection, n_shards) = connected.map_err(source_failure)?;
    options.n_shards = n_shards;
    let asked = pipeline.clone();
    metrics::set_pack_info(&PackInfo {
        pipeline: &name,
        instance,
        n_shards: n_shards.0,
        pack_sha256: &loaded.pack_sha256,
        n_sources: loaded.catalog.sources.len(),
        n_relations: pipeline.relations.len(),
        n_sinks: pipeline.sinks.len(),
    });
    let mut service = Service::start(pipeline, connection, options)?;
    // Kept until the service has ended: a probe must be answered while the last epoch is committed.
    let is_served = http.address.is_some() || http.health.is_some();
    let queries = Queries::new(loaded.catalog, asked, n_shards.0, service.status_board(), QueryLimits::default());
    let _http = is_served.then(|| serve_http(&http, &name, &service, queries)).transpose()?;
    let notes = note_progress(service.status_board());
    let ended = tokio::select! {
        ended = service.ended() => Some(ended),
        () = signals.next() => None,
        never = notes => match never {},
    };
    match ended {
        Some(ended) => ended.map(|ended| note_end(ended, &service.status())),
        None => end(&mut service, &mut signals).await,
    }
}

/// Connects, with the number of shards that the pipeline was first started with unless one is given.
fn connect(settings: RunSettings) -> Result<(Connection, ShardCount), SourceError> {
    let mut kafka = settings.kafka;
    if settings.shards.is_none()
        && let Some(found) = kafka::shards(&kafka)?
    {
        kafka.shards = found;
    }
    let n_shards = ShardCount(kafka.shards);
    Ok((kafka::connect(kafka, settings.create_topics)?, n_shards))
}

/// Ends the service after the running epoch. While the state is being restored no epoch runs: nothing is waited for.
async fn end(service: &mut Service, signals: &mut Signals) -> Result<(), Failure> {
    if !service.status().restored {
        tracing::info!("stopped before the state was restored");
        return Ok(());
    }
    tracing::info!("stopping after the running epoch");
    service.stop();
    tokio::select! {
        ended = service.ended() => ended.map(|ended| note_end(ended, &service.status())),
        () = signals.next() => Err(Failure::Failed(anyhow!(
            "stopped at once by a second signal; the running epoch was not committed and will be run again"
        ))),
    }
}

/// Serves health, measurements, status, and answers to SQL.
fn serve_http(
    options: &HttpOptions,
    pipeline: &str,
    service: &Service,
    queries: Queries,
) -> Result<ServerHandle, Failure> {
    let board = service.status_board();
    server::serve_with(options, pipeline, board, Some(queries)).map_err(|e| Failure::Configuration(e.into()))
}

fn note_end(ended: Ended, status: &Status) {
    let why = match ended {
        Ended::Stopped => "stopped",
        Ended::CaughtUp => "caught up",
        Ended::EndOfInput => "input ended",
    };
    let mut n = SourceCounts::default();
    status.sources.iter().for_each(|s| n.add(&s.counts));
    let n_rows: u64 = status.sinks.iter().map(|s| s.rows).sum();
    tracing::info!(
        epoch = status.epoch,
        n_records = n.read,
        n_used = n.used,
        n_duplicate = n.duplicate,
        n_late = n.late,
        n_rejected = n.rejected,
        n_rows,
        "{why}"
    );
}

/// Says now and then how far the first load is, and that the pipeline runs. Never ends.
async fn note_progress(board: StatusBoard) -> Infallible {
    let started = Instant::now();
    let mut was_loaded = false;
    let mut noted = started;
    let mut ticks = tokio::time::interval(Duration::from_millis(500));
    loop {
        ticks.tick().await;
        let status = board.snapshot();
        let n_read: u64 = status.sources.iter().map(|s| s.counts.read).sum();
        let lag: i64 = status.sources.iter().filter_map(|s| s.lag).sum();
        if status.loaded && !was_loaded {
            let n_rows: u64 = status.sinks.iter().map(|s| s.rows).sum();
            let elapsed_ms = started.elapsed().as_millis() as u64;
            tracing::info!(epoch = status.epoch, n_read, n_rows, elapsed_ms, "tables loaded, results are leaving");
            (was_loaded, noted) = (true, Instant::now());
        } else if !status.loaded && status.restored && noted.elapsed() >= LOADING_NOTE_INTERVAL {
            tracing::info!(epoch = status.epoch, n_read, lag, "loading tables, nothing leaves yet");
            noted = Instant::now();
        } else if noted.elapsed() >= RUNNING_NOTE_INTERVAL {
            let p99_ms = status.latency.p99_ms;
            tracing::info!(epoch = status.epoch, n_read, lag, p99_ms, restarts = status.restarts, "running");
            noted = Instant::now();
        }
        was_loaded &= status.loaded;
    }
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
