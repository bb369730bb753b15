//! The world of one run of a test: the pipeline under test, the one that is looked into, and the clock on the wall.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow::array::RecordBatch;

use super::Wrong;
use super::batch::{Batch, Table};
use super::contents::{self, Side};
use super::rows::{self, Row};
use super::running::{Running, Variant};
use super::step::{Step, Topic};
use super::taps::{Taps, is_sink};
use crate::catalog::{Catalog, Definition, SourceDefinition};
use crate::engine::Command;
use crate::local::TopicRecord;
use crate::plan::Pipeline;
use crate::stream::SourcePartition;

/// What all runs of a test share.
pub(super) struct Plans {
    pub(super) catalog: Catalog,
    /// The pack as in production: the first variant runs it.
    pub(super) whole: Arc<Pipeline>,
    /// The part of it that the queries of the test need: the other variants run it, in a fraction of the time.
    pub(super) needed: Arc<Pipeline>,
    pub(super) taps: Option<Taps>,
    /// By source how many partitions the test names; others have one.
    pub(super) n_partitions: BTreeMap<String, i32>,
}

/// One run of a test.
pub(super) struct World<'a> {
    plans: &'a Plans,
    batch: &'a Batch,
    pub(super) tested: Running,
    tapped: Option<Running>,
    /// Records that the pipeline under test has not handled yet, with their offsets.
    unread: Vec<(i64, TopicRecord)>,
    clock_ms: Arc<AtomicI64>,
    /// Whether the test sets the clock; until then it is never behind an event.
    is_clock_set: bool,
    /// By partition when its last record came.
    arrivals: BTreeMap<SourcePartition, i64>,
    has_ended: bool,
}

impl<'a> World<'a> {
    pub(super) fn new(plans: &'a Plans, batch: &'a Batch, variant: Variant) -> Self {
        let clock_ms: Arc<AtomicI64> = Arc::default();
        let n_partitions = |source: &str| plans.n_partitions.get(source).copied().unwrap_or(1);
        let running =
            |pipeline: &Arc<Pipeline>| Running::new(pipeline.clone(), variant, clock_ms.clone(), &n_partitions);
        Self {
            tested: running(if variant == Variant::ALL[0] { &plans.whole } else { &plans.needed }),
            tapped: plans.taps.as_ref().map(|taps| running(&taps.pipeline)),
            plans,
            batch,
            unread: Vec::new(),
            clock_ms: clock_ms.clone(),
            is_clock_set: false,
            arrivals: BTreeMap::new(),
            has_ended: false,
        }
    }

    /// Does a step, and says how many records it inserted.
    pub(super) fn take(&mut self, step: &Step) -> Result<u64, Wrong> {
        if self.has_ended && !matches!(step, Step::Commit | Step::Crash) {
            return Err(Wrong("nothing can follow END OF INPUT but queries".into()));
        }
        match step {
            Step::Insert { into, columns, query } => {
                let source = self.source(&into.relation)?;
                let batch = self.batch.evaluate(query)?;
                let rows = rows::rows(source, self.zone(), columns.as_deref(), &batch)?;
                Ok(self.append(into, rows))
            }
            Step::InsertJson { into, key, records } => {
                let source = self.source(&into.relation)?;
                let key_of = |text: &String| match key {
                    Some(key) => Some(key.clone().into_bytes()),
                    None => rows::key_of_json(source, self.zone(), text),
                };
                let row =
                    |text: &String| Row { key: key_of(text), value: Some(text.clone().into_bytes()), event_ms: None };
                let rows = records.iter().map(row).collect();
                Ok(self.append(into, rows))
            }
            Step::Delete { from, key } => {
                let source = self.source(&from.relation)?;
                let (columns, values): (Vec<_>, Vec<_>) = key.iter().cloned().unzip();
                let batch = self.batch.values(&values)?;
                let row = rows::tombstone(source, self.zone(), &columns, &batch)?;
                Ok(self.append(from, vec![row]))
            }
            other => self.end_epoch(other).map(|()| 0),
        }
    }

    /// The steps that end the running epoch.
    fn end_epoch(&mut self, step: &Step) -> Result<(), Wrong> {
        if *step == Step::Crash {
            self.tested.crash()?;
            return self.tapped.as_mut().map_or(Ok(()), Running::crash);
        }
        self.advance()?;
        match step {
            Step::Watermark { of, partition, at } => self.move_watermarks(of.as_deref(), *partition, at)?,
            Step::ClockAt(at) => self.set_clock(rows::instant_ms(at, self.zone())?)?,
            Step::ClockBy(ms) => self.set_clock(self.clock_ms().saturating_add(*ms))?,
            Step::EndOfInput => {
                self.has_ended = true;
                self.tested.topics().end();
                self.tapped.iter().for_each(|tapped| tapped.topics().end());
            }
            Step::Pause(sink) => self.tested.ask(Command::Pause(self.sink(sink)?))?,
            Step::Resume(sink) => self.tested.ask(Command::Resume(self.sink(sink)?))?,
            _ => return Ok(()),
        }
        self.run()
    }

    /// Ends the running epoch, if anything came since the last.
    pub(super) fn advance(&mut self) -> Result<(), Wrong> {
        if self.unread.is_empty() { Ok(()) } else { self.run() }
    }

    fn run(&mut self) -> Result<(), Wrong> {
        self.tested.advance()?;
        let unread = std::mem::take(&mut self.unread);
        let Some(tapped) = &mut self.tapped else { return Ok(()) };
        let refused = self.tested.refused();
        for (offset, record) in unread {
            if !refused.contains(&(record.partition.clone(), offset)) {
                // What the pipeline under test accepted is not judged again.
                tapped.append(TopicRecord { timestamp_ms: None, ..record });
            }
        }
        tapped.advance()
    }

    /// What a query reads.
    pub(super) fn table(&self, table: &Table) -> Result<RecordBatch, Wrong> {
        match table {
            Table::Side { source, side } => {
                self.source(source)?;
                contents::of_side(&self.tested, source, *side)
            }
            Table::Relation(name) => match self.plans.catalog.find(name) {
                Some(definition) if is_sink(definition) => contents::of_sink(&self.tested, name),
                Some(_) => {
                    let tap = self.plans.taps.as_ref().and_then(|taps| taps.sinks.get(name)).zip(self.tapped.as_ref());
                    let (tap, tapped) = tap.ok_or_else(|| Wrong(format!("`{name}` is not looked into")))?;
                    contents::of_tap(tapped, tap)
                }
                None => Err(self.unknown(name)),
            },
        }
    }

    /// The relations whose declared keys turned out double, as a sentence; none if all is well.
    pub(super) fn double_keys(&self) -> Option<String> {
        let mut found: BTreeMap<String, u64> = BTreeMap::new();
        let taps = self.plans.taps.iter().flat_map(|taps| &taps.sinks);
        let of_tap: BTreeMap<&str, &String> = taps.map(|(relation, tap)| (tap.sink.as_ref(), relation)).collect();
        for (relation, n) in self.tested.double_keys().iter().chain(self.tapped.iter().flat_map(Running::double_keys)) {
            let relation = of_tap.get(relation.as_ref()).map_or_else(|| relation.to_string(), |r| (*r).clone());
            let most = found.entry(relation).or_default();
            *most = (*n).max(*most);
        }
        let text = |(relation, n): (&String, &u64)| {
            let keys = if *n == 1 { "a key".to_string() } else { format!("{n} keys") };
            format!(
                "{keys} of `{relation}` turned out to belong to more than one row; the greatest stands for them. Add columns to its PRIMARY KEY, or aggregate"
            )
        };
        let texts: Vec<String> = found.iter().map(text).collect();
        (!texts.is_empty()).then(|| texts.join("\n"))
    }

    /// Appends records to a partition; they are handled when the epoch ends.
    fn append(&mut self, topic: &Topic, rows: Vec<Row>) -> u64 {
        let partition = SourcePartition { relation: topic.relation.as_str().into(), partition: topic.partition };
        let n_rows = rows.len() as u64;
        for Row { key, value, event_ms } in rows {
            if let (false, Some(event_ms)) = (self.is_clock_set, event_ms) {
                self.clock_ms.fetch_max(event_ms, Ordering::Relaxed);
            }
            self.arrivals.insert(partition.clone(), self.clock_ms());
            let timestamp_ms = self.is_clock_set.then(|| self.clock_ms());
            let record = TopicRecord { partition: partition.clone(), timestamp_ms, key, value };
            let offset = self.tested.append(record.clone());
            self.unread.push((offset, record));
        }
        n_rows
    }

    fn move_watermarks(&mut self, of: Option<&str>, partition: Option<i32>, at: &str) -> Result<(), Wrong> {
        let at_ms = rows::instant_ms(at, self.zone())?;
        if let Some(name) = of {
            let source = self.source(name)?;
            if source.event_time.is_none() {
                return Err(Wrong(format!("`{name}` declares no event_time, so it has no watermark")));
            }
        }
        for moved in self.tested.topics().partitions() {
            let Ok(source) = self.source(&moved.relation) else { continue };
            let is_meant = of.is_none_or(|name| *moved.relation == *name)
                && partition.is_none_or(|number| number == moved.partition);
            if is_meant && source.event_time.is_some() {
                let event_ms = at_ms.saturating_add(source.watermark_delay_ms);
                for running in [Some(&self.tested), self.tapped.as_ref()].into_iter().flatten() {
                    running.topics().reach(&moved, event_ms);
                }
                if !self.is_clock_set {
                    self.clock_ms.fetch_max(event_ms, Ordering::Relaxed);
                }
            }
        }
        Ok(())
    }

    /// Moves the clock. Partitions that have been silent for their idle timeout are idle from now on.
    fn set_clock(&mut self, to_ms: i64) -> Result<(), Wrong> {
        if self.is_clock_set && to_ms < self.clock_ms() {
            return Err(Wrong("the clock cannot go back".into()));
        }
        // Before anything came, nothing can have been silent.
        let began_ms = if self.clock_ms() == 0 { to_ms } else { self.clock_ms() };
        self.is_clock_set = true;
        self.clock_ms.store(to_ms, Ordering::Relaxed);
        for partition in self.tested.topics().partitions() {
            let Ok(source) = self.source(&partition.relation) else { continue };
            let timeout_ms = source.idle_timeout_ms;
            let last_ms = *self.arrivals.entry(partition.clone()).or_insert(began_ms);
            if to_ms.saturating_sub(last_ms) >= timeout_ms {
                for running in [Some(&self.tested), self.tapped.as_ref()].into_iter().flatten() {
                    running.topics().set_idle(partition.clone());
                }
            }
        }
        Ok(())
    }

    fn clock_ms(&self) -> i64 {
        self.clock_ms.load(Ordering::Relaxed)
    }

    fn zone(&self) -> chrono_tz::Tz {
        self.plans.catalog.time_zone
    }

    fn source(&self, name: &str) -> Result<&'a SourceDefinition, Wrong> {
        match self.plans.catalog.find(name) {
            Some(Definition::Source(source)) => Ok(source),
            Some(Definition::Query(_)) => {
                Err(Wrong(format!("`{name}` is computed by the pack: records come to sources only")))
            }
            None => Err(self.unknown(name)),
        }
    }

    fn sink(&self, name: &str) -> Result<Arc<str>, Wrong> {
        match self.plans.catalog.find(name) {
            Some(definition @ Definition::Query(query)) if is_sink(definition) => Ok(query.name.clone()),
            Some(_) => Err(Wrong(format!("`{name}` is no sink"))),
            None => Err(self.unknown(name)),
        }
    }

    /// A name that the pack does not declare, with the one that was probably meant.
    fn unknown(&self, name: &str) -> Wrong {
        let catalog = &self.plans.catalog;
        let names =
            catalog.sources.iter().map(|s| s.name.as_ref()).chain(catalog.queries.iter().map(|q| q.name.as_ref()));
        let nearest = names.map(|known| (strsim::damerau_levenshtein(known, name), known)).min();
        match nearest {
            Some((distance, known)) if distance <= 1 + name.len() / 4 => {
                Wrong(format!("the pack declares no relation `{name}`; did you mean `{known}`?"))
            }
            _ => Wrong(format!("the pack declares no relation `{name}`")),
        }
    }
}

/// The partitions that steps name, as how many each source has.
pub(super) fn count_partitions<'s>(steps: impl Iterator<Item = &'s Step>) -> BTreeMap<String, i32> {
    let mut counts: BTreeMap<String, i32> = BTreeMap::new();
    for step in steps {
        let (relation, partition) = match step {
            Step::Insert { into: topic, .. }
            | Step::InsertJson { into: topic, .. }
            | Step::Delete { from: topic, .. } => (&topic.relation, topic.partition),
            Step::Watermark { of: Some(relation), partition: Some(partition), .. } => (relation, *partition),
            _ => continue,
        };
        let count = counts.entry(relation.clone()).or_default();
        *count = (partition + 1).max(*count);
    }
    counts
}

impl Side {
    /// The name of a side of a source, as queries write it.
    pub(super) fn name(self, source: &str) -> String {
        let word = match self {
            Self::Late => "late",
            Self::Rejected => "rejected",
            Self::Counts => "counts",
        };
        format!("{source}.{word}")
    }
}
