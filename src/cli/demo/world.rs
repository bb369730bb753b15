//! All that a demo is made of: a broker in this process, simulated devices, a worker as `curb run` has it, and a reader of
//! the topics that the worker writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};
use chrono::{DateTime, Datelike, Months, TimeZone, Utc};
use chrono_tz::Tz;

use super::devices::{self, Roadside};
use super::pack;
use super::tally::Tally;
use crate::catalog::Catalog;
use crate::cli::Failure;
use crate::cli::load::Loaded;
use crate::cli::run::topics;
use crate::engine::{Ended, Ends, Queries, QueryLimits, Status, StatusBoard, Worker, WorkerError, WorkerOptions};
use crate::kafka::{DemoBroker, DemoProducer, DemoReader, Settings, connect};
use crate::plan::Pipeline;
use crate::stream::{OutputTopic, ShardCount, SourceError};
use crate::testing::{Simulation, SimulationSettings};

/// The pipeline's name: its group, and the prefix of its state topic.
pub(super) const PIPELINE: &str = "safe-riding";
/// The sinks whose records are actions.
const ACTION_SINKS: [&str; 2] = ["disposal_actions", "party_actions"];
const N_PARTITIONS: i32 = 4;
const N_SHARDS: u32 = 4;
/// Event time begins this many months ago, at the first of a month, and runs fast until it has reached the clock. The pack
/// remembers captures for 1000 days.
const MONTHS_BACK: u32 = 29;
/// Time between two passages, in event time, if one is sent each second: so event time runs equally fast at any rate.
const PACE_MS_BY_RATE: u64 = 150_000_000;
/// How long the worker may take to read what was sent before the end.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(5);
/// How often it is asked then whether it has.
const LOOK_ON_AT_END: Duration = Duration::from_millis(10);

/// How the demo is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct WorldSettings {
    /// Records a second.
    pub(super) rate: u32,
    /// The same seed gives the same rides.
    pub(super) seed: u64,
}

/// A running demo.
pub(super) struct World {
    pipeline: Arc<Pipeline>,
    catalog: Catalog,
    board: StatusBoard,
    brokers: String,
    reader: DemoReader,
    tally: Tally,
    began_at: DateTime<Utc>,
    stop_devices: Arc<AtomicBool>,
    stop_worker: Arc<AtomicBool>,
    devices: Option<JoinHandle<Result<u64, SourceError>>>,
    worker: Option<JoinHandle<Result<Ended, WorkerError>>>,
    // Its clients are gone before the broker is: fields are dropped in this order.
    _broker: DemoBroker,
}

impl World {
    /// Makes the broker, fills its tables, and starts the worker and the devices.
    pub(super) fn start(settings: WorldSettings) -> Result<Self, Failure> {
        let Loaded { catalog, pipeline, .. } = pack::load().map_err(Failure::Failed)?;
        // What `curb run` would be told, but for the broker in this process.
        let kafka = Settings {
            pipeline: PIPELINE.to_owned(),
            sources: topics::sources(&catalog)?,
            outputs: topics::outputs(&catalog)?,
            shards: N_SHARDS,
            simulated: true,
            ..Settings::default()
        };
        Self::start_parts(settings, catalog, Arc::new(pipeline), kafka).map_err(Failure::Failed)
    }

    fn start_parts(
        settings: WorldSettings,
        catalog: Catalog,
        pipeline: Arc<Pipeline>,
        mut kafka: Settings,
    ) -> anyhow::Result<Self> {
        let broker = DemoBroker::start()?;
        kafka.brokers = broker.brokers()?;
        create_topics(&broker, &kafka)?;
        let began_at = beginning(Utc::now(), pipeline.time_zone);
        let mut simulation = Simulation::new(SimulationSettings {
            seed: settings.seed,
            people: (settings.rate as usize * 4 / 5).clamp(100, 16_000),
            start: began_at,
            pace_ms: PACE_MS_BY_RATE / u64::from(settings.rate.max(1)),
        });
        let source_topics = kafka.sources.iter().map(|s| (s.relation.to_string(), s.topic.clone())).collect();
        let mut roadside = Roadside::new(DemoProducer::connect(&kafka.brokers)?, source_topics);
        roadside.send_tables(&mut simulation)?;
        let action_topics = ACTION_SINKS.iter().filter_map(|s| kafka.outputs.get(&OutputTopic::Sink((*s).into())));
        let action_topics: Vec<_> = action_topics.map(|topic| (topic.as_str(), N_PARTITIONS)).collect();
        let reader = DemoReader::connect(&kafka.brokers, &action_topics)?;
        let stop_worker = Arc::new(AtomicBool::new(false));
        let brokers = kafka.brokers.clone();
        let (worker, board) = start_worker(pipeline.clone(), kafka, stop_worker.clone())?;
        let mut world = Self {
            pipeline,
            catalog,
            board,
            brokers,
            reader,
            tally: Tally::new(),
            began_at,
            stop_devices: Arc::new(AtomicBool::new(false)),
            stop_worker,
            devices: None,
            worker: Some(worker),
            _broker: broker,
        };
        let stop = world.stop_devices.clone();
        world.devices = Some(devices::start(roadside, simulation, settings.rate, world.board.clone(), stop)?);
        Ok(world)
    }

    pub(super) fn board(&self) -> &StatusBoard {
        &self.board
    }

    /// Where its broker is, for whoever wants to look at its topics.
    pub(super) fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Who answers SQL about the worker.
    pub(super) fn queries(&self, limits: QueryLimits) -> Queries {
        let (catalog, pipeline) = (self.catalog.clone(), self.pipeline.clone());
        Queries::new(catalog, pipeline, N_SHARDS, self.board.clone(), limits)
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(super) fn time_zone(&self) -> Tz {
        self.pipeline.time_zone
    }

    /// When event time began.
    pub(super) fn began_at(&self) -> DateTime<Utc> {
        self.began_at
    }

    /// Reads actions for `duration`. Fails if a part of the demo has ended.
    pub(super) fn look_on(&mut self, duration: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + duration;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if let Some(record) = self.reader.poll(left)?
                && let Some(value) = &record.value
            {
                let taken = self.tally.take(value);
                taken.with_context(|| format!("topic `{}` holds a record that is no action", record.topic))?;
            }
            if left.is_zero() {
                return self.check();
            }
        }
    }

    fn check(&mut self) -> anyhow::Result<()> {
        if self.worker.as_ref().is_some_and(JoinHandle::is_finished) {
            join(self.worker.take(), "worker")??;
            bail!("the worker has ended by itself");
        }
        if self.devices.as_ref().is_some_and(JoinHandle::is_finished) {
            join(self.devices.take(), "devices")??;
            bail!("the devices have ended by themselves");
        }
        let n_restarts = self.board.snapshot().restarts;
        ensure!(n_restarts == 0, "an epoch failed, and the demo's broker keeps too little to restore the state from");
        Ok(())
    }

    /// Ends the demo: devices first, then the worker when it has read all they sent. What was committed is counted to the end.
    pub(super) fn finish(mut self) -> anyhow::Result<(Status, Tally)> {
        self.stop_devices.store(true, Ordering::Relaxed);
        let n_sent = join(self.devices.take(), "devices")??.unwrap_or(0);
        let started = Instant::now();
        let n_read = |status: &Status| status.sources.iter().map(|s| s.counts.read).sum::<u64>();
        while n_read(&self.board.snapshot()) < n_sent && started.elapsed() < CATCH_UP_TIMEOUT {
            self.look_on(LOOK_ON_AT_END)?;
        }
        self.stop_worker.store(true, Ordering::Relaxed);
        join(self.worker.take(), "worker")??;
        let status = self.board.snapshot();
        let n_written: u64 = status.sinks.iter().filter(|s| ACTION_SINKS.contains(&&*s.name)).map(|s| s.rows).sum();
        while self.tally.n_records() < n_written && started.elapsed() < 2 * CATCH_UP_TIMEOUT {
            self.look_on(LOOK_ON_AT_END)?;
        }
        Ok((status, self.tally.clone()))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // After an error the threads are still there, and must not outlive the broker.
        self.stop_devices.store(true, Ordering::Relaxed);
        self.stop_worker.store(true, Ordering::Relaxed);
        let _ = join(self.devices.take(), "devices");
        let _ = join(self.worker.take(), "worker");
    }
}

/// Waits for a thread; a part that was joined before has ended well.
fn join<T, E>(thread: Option<JoinHandle<Result<T, E>>>, part: &str) -> anyhow::Result<Result<Option<T>, E>> {
    match thread.map(JoinHandle::join) {
        None => Ok(Ok(None)),
        Some(Ok(outcome)) => Ok(outcome.map(Some)),
        Some(Err(_)) => Err(anyhow!("the thread of the {part} has panicked")),
    }
}

type WorkerThread = JoinHandle<Result<Ended, WorkerError>>;

fn start_worker(
    pipeline: Arc<Pipeline>,
    kafka: Settings,
    stop: Arc<AtomicBool>,
) -> anyhow::Result<(WorkerThread, StatusBoard)> {
    let connection = connect(kafka, false)?;
    let ends = Ends {
        source: Box::new(connection.source),
        sink: Box::new(connection.sink),
        log: Some(Box::new(connection.state_log)),
        clock: Box::new(|| Utc::now().timestamp_millis()),
    };
    let mut worker = Worker::new(pipeline, ends, WorkerOptions::live(ShardCount(N_SHARDS)), stop)?;
    let board = worker.status();
    let thread = std::thread::Builder::new().name("curb-worker".to_owned()).spawn(move || worker.run())?;
    Ok((thread, board))
}

fn create_topics(broker: &DemoBroker, kafka: &Settings) -> Result<(), SourceError> {
    for source in &kafka.sources {
        broker.create_topic(&source.topic, N_PARTITIONS)?;
    }
    for (output, topic) in &kafka.outputs {
        let n_partitions = if matches!(output, OutputTopic::Sink(_)) { N_PARTITIONS } else { 1 };
        broker.create_topic(topic, n_partitions)?;
    }
    broker.create_topic(&kafka.undeliverable_topic(), 1)?;
    broker.create_topic(&kafka.state_topic(), N_SHARDS as i32)
}

/// Midnight of the first of a month, [`MONTHS_BACK`] before `now`: within a month the same seed gives the same rides.
fn beginning(now: DateTime<Utc>, zone: Tz) -> DateTime<Utc> {
    let today = now.with_timezone(&zone).date_naive();
    let first = today.with_day(1).unwrap_or(today);
    let first = first.checked_sub_months(Months::new(MONTHS_BACK)).unwrap_or(first);
    let midnight = zone.from_local_datetime(&first.and_time(chrono::NaiveTime::MIN)).earliest();
    midnight.map_or(now, |at| at.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_time_begins_with_a_month_that_the_pack_still_remembers() {
        let now = DateTime::parse_from_rfc3339("2026-03-31T23:30:00Z").unwrap().with_timezone(&Utc);
        let began_at = beginning(now, chrono_tz::Asia::Shanghai);
        assert_eq!(began_at.to_rfc3339(), "2023-10-31T16:00:00+00:00");
        assert!((now - began_at).num_days() < 1000);
    }
}
