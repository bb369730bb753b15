//! The simulated roadside: a thread that sends what devices and officers see, at an even pace.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chrono::Utc;

use crate::engine::{Phase, Status, StatusBoard};
use crate::kafka::DemoProducer;
use crate::stream::SourceError;
use crate::testing::{SimulatedRecord, Simulation};

/// How often records are sent.
const TICK: Duration = Duration::from_millis(5);
/// How far sending may fall behind its pace and still catch up, in seconds.
const CATCH_UP_SECONDS: f64 = 0.1;
/// What the records of a source that the worker has not read yet may take. The broker keeps 5 MiB a partition and drops what
/// is older, and all these records could lie in one partition.
const UNREAD_BYTES_MAX: u64 = 3 << 20;
/// What a record takes beside its key and value, generously.
const FRAMING_BYTES: u64 = 100;
/// The broker must take the last records within this time.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(10);

/// What was sent to the source of each relation.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    n_records: u64,
    largest_bytes: u64,
}

/// Sends records to the topics of the pack's sources, never more than the broker keeps until they are read.
pub(super) struct Roadside {
    producer: DemoProducer,
    /// The topic of each relation.
    topics: BTreeMap<String, String>,
    sent: BTreeMap<String, Sent>,
}

impl Roadside {
    pub(super) fn new(producer: DemoProducer, topics: BTreeMap<String, String>) -> Self {
        Self { producer, topics, sent: BTreeMap::new() }
    }

    /// Sends the tables that stand before the first ride, and waits until the broker has them.
    pub(super) fn send_tables(&mut self, simulation: &mut Simulation) -> Result<(), SourceError> {
        for record in simulation.tables() {
            self.send(&record)?;
        }
        self.producer.flush(FLUSH_TIMEOUT)
    }

    fn send(&mut self, record: &SimulatedRecord) -> Result<(), SourceError> {
        // A pack that does not read a source needs none of its records.
        let Some(topic) = self.topics.get(record.relation) else { return Ok(()) };
        let value = record.value.as_ref().map(|value| value.to_string().into_bytes());
        self.producer.send(topic, Some(record.key.as_bytes()), value.as_deref(), None)?;
        let bytes = (record.key.len() + value.map_or(0, |v| v.len())) as u64 + FRAMING_BYTES;
        let sent = self.sent.entry(record.relation.to_owned()).or_default();
        sent.n_records += 1;
        sent.largest_bytes = sent.largest_bytes.max(bytes);
        Ok(())
    }

    /// Whether the broker would keep one more record of `relation` until it is read.
    fn has_room(&self, relation: &str, status: &Status) -> bool {
        let Some(sent) = self.sent.get(relation) else { return true };
        let n_read = status.sources.iter().find(|s| &*s.name == relation).map_or(0, |s| s.counts.read);
        (sent.n_records.saturating_sub(n_read) + 1) * sent.largest_bytes <= UNREAD_BYTES_MAX
    }

    /// Sends up to `n_max` records that have happened by now; returns how many were sent.
    fn send_due(
        &mut self,
        simulation: &mut Peekable<Simulation>,
        n_max: u64,
        status: &Status,
    ) -> Result<u64, SourceError> {
        let now = Utc::now();
        let mut n_sent = 0;
        while n_sent < n_max {
            let Some(record) =
                simulation.next_if(|next| next.event_time <= now && self.has_room(next.relation, status))
            else {
                break;
            };
            self.send(&record)?;
            n_sent += 1;
        }
        self.producer.poll()?;
        Ok(n_sent)
    }

    /// Sends until a stop is asked for: nothing before the worker has read the tables, then `rate` records a second. Returns
    /// the number of all records that the broker has taken, tables included.
    fn run(
        &mut self,
        simulation: Simulation,
        rate: u32,
        board: &StatusBoard,
        stop: &AtomicBool,
    ) -> Result<u64, SourceError> {
        let mut simulation = simulation.peekable();
        let mut due = 0.0;
        let mut last = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(TICK);
            let elapsed = last.elapsed().as_secs_f64();
            last = Instant::now();
            let status = board.snapshot();
            if status.phase != Phase::Running {
                continue;
            }
            due = (due + elapsed * f64::from(rate)).min(f64::from(rate) * CATCH_UP_SECONDS + 1.0);
            due -= self.send_due(&mut simulation, due as u64, &status)? as f64;
        }
        self.producer.flush(FLUSH_TIMEOUT)?;
        Ok(self.sent.values().map(|s| s.n_records).sum())
    }
}

/// Starts the thread that sends until `stop`; it tells how many records it sent.
pub(super) fn start(
    mut roadside: Roadside,
    simulation: Simulation,
    rate: u32,
    board: StatusBoard,
    stop: Arc<AtomicBool>,
) -> std::io::Result<JoinHandle<Result<u64, SourceError>>> {
    let send = move || roadside.run(simulation, rate, &board, &stop);
    std::thread::Builder::new().name("curb-devices".to_owned()).spawn(send)
}
