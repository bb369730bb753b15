//! `curb run`: a pack as a service, Kafka to Kafka, exactly once.

pub(super) mod topics;

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::load::{Loaded, audit_options, load_with_keys, missing_files, pseudonym_keys};
use super::registry_args::schema_registry;
use super::service::{Service, on_thread, panicked, source_failure};
use super::settings::{Configuration, SettingsArgs};
use super::{Failure, OutputForm, log};
use crate::catalog::Catalog;
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
/// Settings come from the configuration file, then from CURB_* variables, then from flags; the last one wins, and `curb config
/// show` tells which it was. A variable CURB_KAFKA_SASL_PASSWORD sets the Kafka property sasl.password, and so on.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The pack: a folder of .sql files, or one file
    pack: PathBuf,
    #[command(flatten)]
    pub(super) settings: SettingsArgs,
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
    sql: QueryLimits,
}

pub(super) fn run(args: &RunArgs, configuration: &Configuration) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    // Before anything that takes time: a large pack takes a moment to plan, and who is told to end then ends well.
    let signals = runtime.block_on(async { Signals::new() })?;
    let keys = pseudonym_keys(args.settings.pseudonym_keys.as_deref())?;
    let loaded = load_with_keys(&args.pack, args.settings.time_zone, OutputForm::Text, keys)?;
    let settings = settings(&args.settings, configuration, &loaded)?;
    need_files(&loaded)?;
    let outcome = runtime.block_on(serve(loaded, settings, signals));
    // Threads that wait for the cluster have nothing left to say.
    runtime.shutdown_background();
    outcome
}

fn settings(args: &SettingsArgs, configuration: &Configuration, loaded: &Loaded) -> Result<RunSettings, Failure> {
    if let Some(dir) = &args.state_dir {
        let made = std::fs::create_dir_all(dir);
        made.with_context(|| format!("state directory `{}`", dir.display())).map_err(Failure::Configuration)?;
    }
    if let EmitFrom::Timestamp(_) = args.emit_from {
        need_emit_times(loaded)?;
    }
    let audit = args.audit.then(|| audit_options(loaded));
    Ok(RunSettings {
        kafka: kafka_settings(args, configuration, &loaded.catalog)?,
        state_dir: args.state_dir.clone(),
        shards: args.shards,
        http: args.http_options.options(args.http.as_deref())?,
        create_topics: args.create_topics,
        until_caught_up: args.until_caught_up,
        audit,
        emit_from: args.emit_from,
        registry: schema_registry(&args.schema_registry, &loaded.catalog)?,
        sql: args.sql.limits(),
    })
}

/// What a worker of these settings reads and writes, and where.
pub(super) fn kafka_settings(
    args: &SettingsArgs,
    configuration: &Configuration,
    catalog: &Catalog,
) -> Result<Settings, Failure> {
    let cluster = args.kafka(configuration)?;
    let mut outputs = topics::outputs(catalog)?;
    if args.audit {
        outputs.insert(OutputTopic::Audit, cluster.audit_topic());
    }
    Ok(Settings {
        sources: topics::sources(catalog)?,
        outputs,
        private_sinks: topics::private_sinks(catalog),
        shards: args.shards.unwrap_or(DEFAULT_SHARDS),
        ..cluster
    })
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
    let (http, name, limits) = (settings.http.clone(), settings.kafka.pipeline.clone(), settings.sql);
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
    let queries = Queries::new(loaded.catalog, asked, n_shards.0, service.status_board(), limits);
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
