//! A pipeline that a test leads step by step: a worker between topics in memory and a sink in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};
use std::time::Duration;

use super::Wrong;
use crate::engine::{Command, Ends, SourceCounts, Worker, WorkerError, WorkerOptions};
use crate::local::{Collected, MemorySink, MemoryStateLog, MemoryTopics, TopicRecord};
use crate::plan::Pipeline;
use crate::stream::{
    CommitError, Outcome, OutputTopic, PollLimit, SealedEpoch, ShardCount, Sink, SourcePartition, TombstoneForm,
};

/// How a test is run; its output must not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Variant {
    pub(super) n_shards: u32,
    /// Whether the first commit of every step is lost, and the worker replaced after it.
    pub(super) crashes: bool,
}

impl Variant {
    /// The ways in which every test is run.
    pub(super) const ALL: [Self; 5] = [
        Self { n_shards: 1, crashes: false },
        Self { n_shards: 2, crashes: false },
        Self { n_shards: 4, crashes: false },
        Self { n_shards: 1, crashes: true },
        Self { n_shards: 4, crashes: true },
    ];

    /// In words.
    pub(super) fn name(self) -> String {
        let shards = if self.n_shards == 1 { "1 shard".to_string() } else { format!("{} shards", self.n_shards) };
        if self.crashes { format!("{shards}, crashed after every epoch") } else { shards }
    }
}

/// A running pipeline. Its topics, its log and its output outlive its workers.
pub(super) struct Running {
    pipeline: Arc<Pipeline>,
    variant: Variant,
    topics: MemoryTopics,
    clock_ms: Arc<AtomicI64>,
    log: MemoryStateLog,
    sink: LossySink,
    stop: Arc<AtomicBool>,
    worker: Option<Worker>,
    /// What became of the records that earlier workers took in.
    earlier: BTreeMap<Arc<str>, SourceCounts>,
    /// By relation how many keys turned out double, at the worst moment.
    double_keys: BTreeMap<Arc<str>, u64>,
}

impl Running {
    /// A pipeline that has read nothing yet. `n_partitions` says how many partitions a source has.
    pub(super) fn new(
        pipeline: Arc<Pipeline>,
        variant: Variant,
        clock_ms: Arc<AtomicI64>,
        n_partitions: &dyn Fn(&str) -> i32,
    ) -> Self {
        let partitions = pipeline.relations.iter().filter(|r| r.operator.is_source()).flat_map(|r| {
            (0..n_partitions(&r.name)).map(|partition| SourcePartition { relation: r.name.clone(), partition })
        });
        let log = MemoryStateLog::default();
        Self {
            topics: MemoryTopics::new(partitions),
            variant,
            clock_ms,
            sink: LossySink::new(log.clone()),
            log,
            stop: Arc::default(),
            worker: None,
            earlier: BTreeMap::new(),
            double_keys: BTreeMap::new(),
            pipeline,
        }
    }

    pub(super) fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    pub(super) fn topics(&self) -> &MemoryTopics {
        &self.topics
    }

    /// Appends a record to its topic, and returns its offset.
    pub(super) fn append(&self, record: TopicRecord) -> i64 {
        self.topics.append(record)
    }

    /// Handles everything that has arrived, and what the clock or the watermarks make due.
    pub(super) fn advance(&mut self) -> Result<(), Wrong> {
        if self.variant.crashes {
            self.sink.lose(Loss::OfTheEpoch);
        }
        self.run()?;
        // A commit that was lost when there was nothing left to read: the worker stopped before it could try again.
        if self.sink.has_lost() {
            self.run()?;
        }
        self.sink.lose(Loss::None);
        for (relation, n) in self.worker.as_ref().map(Worker::double_keys).unwrap_or_default() {
            let most = self.double_keys.entry(relation).or_default();
            *most = n.max(*most);
        }
        if self.variant.crashes {
            self.drop_worker();
        }
        Ok(())
    }

    /// Ends the worker in the middle of the epoch that it would commit next.
    pub(super) fn crash(&mut self) -> Result<(), Wrong> {
        self.sink.lose(Loss::OfTheWorker);
        let ended = self.run();
        let was_lost = self.sink.has_lost();
        self.sink.lose(Loss::None);
        self.drop_worker();
        if was_lost { Ok(()) } else { ended }
    }

    /// Asks the worker to pause or resume a sink.
    pub(super) fn ask(&mut self, command: Command) -> Result<(), Wrong> {
        // A worker listens once its state is restored.
        self.run()?;
        self.worker()?.status().ask(command);
        Ok(())
    }

    /// The worker, if it has not been dropped.
    #[cfg(test)]
    pub(super) fn running_worker(&self) -> Option<&Worker> {
        self.worker.as_ref()
    }

    /// Everything committed so far.
    pub(super) fn collected(&self) -> BTreeMap<OutputTopic, Vec<Collected>> {
        self.sink.kept.collected()
    }

    /// Positions of the records of a source that were late or rejected.
    pub(super) fn refused(&self) -> BTreeSet<(SourcePartition, i64)> {
        let mut refused = BTreeSet::new();
        for (topic, records) in self.collected() {
            let (OutputTopic::Late(relation) | OutputTopic::Rejected(relation)) = topic else { continue };
            for record in &records {
                let number = |name: &str| header(record, name).and_then(|text| text.parse::<i64>().ok());
                if let (Some(partition), Some(offset)) = (number("curb_partition"), number("curb_offset")) {
                    let partition = i32::try_from(partition).unwrap_or_default();
                    refused.insert((SourcePartition { relation: relation.clone(), partition }, offset));
                }
            }
        }
        refused
    }

    /// What became of the records of a source.
    pub(super) fn counts(&self, source: &str) -> SourceCounts {
        let mut counts = self.earlier.get(source).copied().unwrap_or_default();
        if let Some(worker) = &self.worker {
            let status = worker.status().snapshot();
            status.sources.iter().filter(|s| &*s.name == source).for_each(|s| counts.add(&s.counts));
        }
        counts
    }

    /// The relations in which declared keys turned out to belong to more than one row, and how many.
    pub(super) fn double_keys(&self) -> &BTreeMap<Arc<str>, u64> {
        &self.double_keys
    }

    fn run(&mut self) -> Result<(), Wrong> {
        self.stop.store(false, Ordering::Relaxed);
        self.worker()?.run().map(drop).map_err(|e| failed(&e))
    }

    fn worker(&mut self) -> Result<&mut Worker, Wrong> {
        let worker = match self.worker.take() {
            Some(worker) => worker,
            None => self.start()?,
        };
        Ok(self.worker.insert(worker))
    }

    fn start(&self) -> Result<Worker, Wrong> {
        let clock_ms = self.clock_ms.clone();
        let ends = Ends {
            source: Box::new(self.topics.source(self.stop.clone())),
            sink: Box::new(self.sink.clone()),
            log: Some(Box::new(self.log.clone())),
            clock: Box::new(move || clock_ms.load(Ordering::Relaxed)),
        };
        let options = WorkerOptions {
            limit: PollLimit { records: usize::MAX, bytes: usize::MAX },
            poll_wait: Duration::ZERO,
            commit_interval_min: Duration::ZERO,
            backoff_min: Duration::ZERO,
            // A test says in which order records come, also after a crash.
            pause_streams_while_loading: false,
            hand_over_max: usize::MAX,
            ..WorkerOptions::live(ShardCount(self.variant.n_shards))
        };
        Worker::new(self.pipeline.clone(), ends, options, self.stop.clone()).map_err(|e| failed(&e))
    }

    fn drop_worker(&mut self) {
        if let Some(worker) = self.worker.take() {
            for source in &worker.status().snapshot().sources {
                self.earlier.entry(source.name.clone()).or_default().add(&source.counts);
            }
        }
    }
}

/// The value of a header.
pub(super) fn header(record: &Collected, name: &str) -> Option<String> {
    let value = record.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value);
    value.map(|value| String::from_utf8_lossy(value).into_owned())
}

fn failed(error: &WorkerError) -> Wrong {
    let mut text = format!("the pipeline failed: {error}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    Wrong(text)
}

/// Which commit is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Loss {
    /// None.
    None,
    /// The next one: the worker restores itself and computes the epoch again.
    OfTheEpoch,
    /// The next one, and the worker with it.
    OfTheWorker,
}

/// A sink in memory that loses a commit when it is told to. Clones share all of it.
#[derive(Clone)]
struct LossySink {
    kept: MemorySink,
    loss: Arc<AtomicU8>,
    lost: Arc<AtomicBool>,
}

impl LossySink {
    fn new(log: MemoryStateLog) -> Self {
        let kept = MemorySink::new(log, TombstoneForm::NoValue);
        Self { kept, loss: Arc::default(), lost: Arc::default() }
    }

    fn lose(&self, loss: Loss) {
        self.loss.store(loss as u8, Ordering::Relaxed);
        self.lost.store(false, Ordering::Relaxed);
    }

    fn has_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Sink for LossySink {
    fn tombstones(&self) -> TombstoneForm {
        self.kept.tombstones()
    }

    fn commit(&mut self, epoch: &SealedEpoch) -> Result<(), CommitError> {
        let loss = self.loss.swap(Loss::None as u8, Ordering::Relaxed);
        if loss == Loss::None as u8 {
            return self.kept.commit(epoch);
        }
        self.lost.store(true, Ordering::Relaxed);
        let text = "the test loses this commit".to_string();
        Err(if loss == Loss::OfTheEpoch as u8 { CommitError::AssignmentLost(text) } else { CommitError::Fatal(text) })
    }

    fn outcome(&mut self, epoch: &SealedEpoch) -> Result<Outcome, CommitError> {
        self.kept.outcome(epoch)
    }
}
