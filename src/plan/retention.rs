//! For how long relations keep rows: which tables' rows may leave memory, when, and where their disappearance ends.
//!
//! A row of a table with a retention, or of a stream grouped by a bucket or ranked within one, is followed through the relations.
//! Its disappearance may pass where it takes whole groups with it and changes nothing else: through what works row by row, along the left side of joins, and into groups
//! whose key holds a bucket of its event time. Before any other input it ends, and the input keeps the rows that it last
//! had (`frozen_rows`). All rows of a bucket leave at once, so that no group is ever left with a part of its rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono_tz::Tz;

use super::builder::{Builder, leaf};
use super::error::Result;
use super::pipeline::{Distribution, Input, OperatorPlan, Relation, SinkPlan};
use super::{RelationId, canonical, event_times};
use crate::catalog::RelationKind;
use crate::functions::Width;
use crate::operators::{BucketEdge, FrozenRowsSpec, JoinKind};
use crate::stream::Watermark;

/// When rows of a pipeline's tables leave memory.
#[derive(Debug, Default)]
pub struct Retention {
    /// The tables of which rows leave: source tables, and streams grouped by a bucket or ranked within one.
    pub expiries: BTreeMap<RelationId, Expiry>,
    /// The source tables whose rows stay after their retention, and why.
    pub staying: BTreeMap<RelationId, String>,
    /// For each relation the source tables with whose rows its own leave.
    pub follows: Vec<BTreeSet<RelationId>>,
}

/// When the rows of one source table leave memory, and how far their disappearance goes.
#[derive(Debug)]
pub struct Expiry {
    /// The rows of one bucket of event time leave together.
    pub bucket: Width,
    /// The zone of the buckets.
    pub time_zone: Tz,
    /// For how long rows stay behind the end of their bucket, in milliseconds of event time.
    pub retention_ms: i64,
    /// The relations of frozen rows that hold the disappearance up.
    pub ends_at: BTreeSet<RelationId>,
}

impl Expiry {
    /// The watermark (milliseconds) at which a row with this event time leaves.
    pub fn due_at(&self, event_ms: i64) -> i64 {
        self.bucket.end_of(event_ms, self.time_zone).saturating_add(self.retention_ms)
    }

    /// The end of the bucket that holds an event time, if a watermark has passed it by the retention.
    pub fn due_bucket(&self, oldest_ms: i64, watermark: Watermark) -> Option<i64> {
        // The end of input is not the end of time: nothing more can come, and nobody needs the memory.
        let is_due = watermark != Watermark::MAX && watermark.has_passed(self.due_at(oldest_ms));
        is_due.then(|| self.bucket.end_of(oldest_ms, self.time_zone))
    }
}

/// Finds out which rows may leave, and puts relations of frozen rows before the inputs that keep them.
pub(super) fn plan_retention(builder: &mut Builder<'_>, sinks: &mut [SinkPlan]) -> Result<Retention> {
    let mut staying: BTreeMap<RelationId, String> = BTreeMap::new();
    let paths = loop {
        let paths = follow(builder, &staying);
        let found = paths.obstacles(builder);
        if found.is_empty() {
            break paths;
        }
        staying.extend(found);
    };
    let mut retention = Retention { staying, ..Retention::default() };
    for (source, retention_ms) in forgetful_sources(builder, &retention.staying) {
        let Some(bucket) = paths.bucket(source) else { continue };
        let expiry = Expiry { bucket, time_zone: builder.zone, retention_ms, ends_at: BTreeSet::new() };
        retention.expiries.insert(source, expiry);
    }
    insert_frozen_rows(builder, sinks, paths, &mut retention)?;
    forget_gone_keys(builder, &retention);
    Ok(retention)
}

/// No event time of a table is further ahead of its watermark than this, or than its retention where that is longer; where
/// one is, a key that went with it may begin its revisions anew.
const AHEAD_MS_MAX: i64 = 31 * 86_400_000;

/// Tells what hands on by key when a key that has gone cannot come again: all its rows followed from one table, and those
/// that were there when it went have been forgotten.
fn forget_gone_keys(builder: &mut Builder<'_>, retention: &Retention) {
    for relation in &mut builder.relations {
        let mut leaves = relation.inputs.iter().flat_map(|i| &i.segment.leaves).map(|leaf| &retention.follows[*leaf]);
        let Some(first) = leaves.next().cloned() else { continue };
        let of_all = leaves.fold(first, |all, of_leaf| &all & of_leaf);
        let expiries = of_all.iter().filter_map(|source| retention.expiries.get(source));
        let Some(expiry) = expiries.min_by_key(|expiry| expiry.retention_ms) else { continue };
        let (bucket, zone, retention_ms) = (expiry.bucket, expiry.time_zone, expiry.retention_ms);
        let ahead_ms = retention_ms.max(AHEAD_MS_MAX);
        // Before 1970 no watermark has moved yet.
        let until: BucketEdge = Arc::new(move |gone_ms: i64| {
            bucket.end_of(gone_ms.max(0).saturating_add(ahead_ms), zone).saturating_add(retention_ms)
        });
        match &mut relation.operator {
            OperatorPlan::Changes(spec) => spec.gone_until = Some(until),
            OperatorPlan::Upsert(spec) => spec.gone_until = Some(until),
            _ => {}
        }
    }
}

/// The tables with a retention in milliseconds, less those whose rows stay: source tables, and streams grouped by a bucket
/// or ranked within one.
fn forgetful_sources(builder: &Builder<'_>, staying: &BTreeMap<RelationId, String>) -> Vec<(RelationId, i64)> {
    let of_relation = |(id, relation): (usize, &Relation)| match &relation.operator {
        OperatorPlan::SourceTable(_, spec) => Some((id, spec.retention?.retention_ms)),
        OperatorPlan::WindowAggregate(spec) if !spec.emit_final && spec.bucket.is_some() => {
            Some((id, spec.allowed_lateness_ms))
        }
        OperatorPlan::TopRows(spec) => Some((id, spec.bucket.as_ref()?.after_ms)),
        _ => None,
    };
    let sources = builder.relations.iter().enumerate().filter_map(of_relation);
    sources.filter(|(id, _)| !staying.contains_key(id)).collect()
}

/// How far the disappearance of rows goes.
#[derive(Default)]
struct Paths {
    /// For each relation the source tables with whose rows its own disappear.
    follows: Vec<BTreeSet<RelationId>>,
    /// By relation and input: the tables whose disappearance ends there.
    ends: BTreeMap<(RelationId, usize), BTreeSet<RelationId>>,
    /// By relation and input: the tables whose disappearance passes.
    passes: BTreeMap<(RelationId, usize), BTreeSet<RelationId>>,
    /// The buckets that groups hold, by table.
    buckets: BTreeMap<RelationId, Vec<Width>>,
    /// The tables of which some state shrinks when their rows leave.
    worthwhile: BTreeSet<RelationId>,
}

/// What becomes of a disappearance at an input.
enum Fate {
    Passes,
    PassesWithBucket(Width),
    Ends,
}

fn follow(builder: &Builder<'_>, staying: &BTreeMap<RelationId, String>) -> Paths {
    let mut paths = Paths { follows: vec![BTreeSet::new(); builder.relations.len()], ..Paths::default() };
    for (source, _) in forgetful_sources(builder, staying) {
        paths.follows[source].insert(source);
        // The rows of a grouped stream hold a bucket themselves.
        let own = builder.facts[source].times.iter().flatten().filter_map(|time| time.bucket);
        paths.buckets.entry(source).or_default().extend(own);
    }
    for (id, relation) in builder.relations.iter().enumerate() {
        for idx in 0..relation.inputs.len() {
            let sources: BTreeSet<RelationId> = paths.of_input(relation, idx);
            for source in sources {
                match fate(builder, &paths, relation, idx, source) {
                    Fate::Ends => paths.end(id, idx, source, relation),
                    Fate::Passes => paths.pass(id, idx, source, relation),
                    Fate::PassesWithBucket(bucket) => {
                        paths.buckets.entry(source).or_default().push(bucket);
                        paths.pass(id, idx, source, relation);
                    }
                }
            }
        }
    }
    paths
}

fn fate(builder: &Builder<'_>, paths: &Paths, relation: &Relation, idx: usize, source: RelationId) -> Fate {
    match &relation.operator {
        OperatorPlan::Select
        | OperatorPlan::Pace(_)
        | OperatorPlan::FinalRows(_)
        | OperatorPlan::TemporalFilter(_)
        | OperatorPlan::Changes(_)
        | OperatorPlan::Upsert(_) => Fate::Passes,
        OperatorPlan::TableJoin(spec) if idx == 0 && spec.kind != JoinKind::Full => Fate::Passes,
        // Without a match a row of the other side would come back; a version would give way to the one before it.
        OperatorPlan::TableJoin(spec) => {
            let only_here = !paths.of_input(relation, 0).contains(&source);
            let passes = spec.kind == JoinKind::Inner && !spec.as_of && only_here;
            if passes { Fate::Passes } else { Fate::Ends }
        }
        OperatorPlan::TableAggregate(spec) => groups(builder, paths, relation, spec.n_keys, source),
        OperatorPlan::TableWindow(spec) => groups(builder, paths, relation, spec.n_keys, source),
        OperatorPlan::SourceTable(..)
        | OperatorPlan::SourceStream(..)
        | OperatorPlan::Constant(_)
        | OperatorPlan::LookupJoin(_)
        | OperatorPlan::IntervalJoin(_)
        | OperatorPlan::WindowAggregate(_)
        | OperatorPlan::RunningWindow(_)
        | OperatorPlan::BucketWindow(_)
        | OperatorPlan::FirstRow(_)
        | OperatorPlan::TopRows(_)
        | OperatorPlan::FrozenRows(_) => Fate::Ends,
    }
}

/// A group disappears as a whole if all its rows follow from one bucket of the table.
fn groups(builder: &Builder<'_>, paths: &Paths, relation: &Relation, n_keys: usize, source: RelationId) -> Fate {
    let Some(input) = relation.inputs.first() else { return Fate::Ends };
    if !input.segment.leaves.iter().all(|leaf| paths.follows[*leaf].contains(&source)) {
        return Fate::Ends;
    }
    let times = event_times::of_plan(builder, &input.segment.logical);
    let of_keys = times.into_iter().take(n_keys).flatten().filter(|time| time.source == source);
    let mut narrowest: Option<Option<Width>> = None;
    for time in of_keys {
        narrowest = match (narrowest, time.bucket) {
            (_, None) | (Some(None), _) => Some(None),
            (Some(Some(known)), Some(bucket)) if known.nests_in(bucket) => Some(Some(known)),
            (_, bucket) => Some(bucket),
        };
    }
    match narrowest {
        None => Fate::Ends,
        Some(None) => Fate::Passes,
        Some(Some(bucket)) => Fate::PassesWithBucket(bucket),
    }
}

impl Paths {
    /// The tables whose disappearance reaches an input.
    fn of_input(&self, relation: &Relation, idx: usize) -> BTreeSet<RelationId> {
        let leaves = relation.inputs.get(idx).map(|i| i.segment.leaves.as_slice()).unwrap_or_default();
        leaves.iter().filter_map(|leaf| self.follows.get(*leaf)).flatten().copied().collect()
    }

    fn pass(&mut self, id: RelationId, idx: usize, source: RelationId, relation: &Relation) {
        self.passes.entry((id, idx)).or_default().insert(source);
        if !matches!(relation.operator, OperatorPlan::Select | OperatorPlan::Pace(_)) {
            self.worthwhile.insert(source);
        }
        // Streams take nothing back.
        if !matches!(relation.operator, OperatorPlan::Changes(_) | OperatorPlan::Upsert(_) | OperatorPlan::FinalRows(_))
        {
            self.follows[id].insert(source);
        }
    }

    fn end(&mut self, id: RelationId, idx: usize, source: RelationId, relation: &Relation) {
        self.ends.entry((id, idx)).or_default().insert(source);
        // An accumulator is less than the rows that it has taken in; all others keep the rows themselves.
        if matches!(relation.operator, OperatorPlan::TableAggregate(_)) {
            self.worthwhile.insert(source);
        }
    }

    /// The narrowest buckets in which all buckets of groups nest; at least days, since shorter ones may repeat when the
    /// clock is set back. None if there are none.
    fn bucket(&self, source: RelationId) -> Option<Width> {
        let day = Width::of_date_trunc("day")?;
        let held = self.buckets.get(&source).map(Vec::as_slice).unwrap_or_default();
        let mut candidates = std::iter::once(day).chain(held.iter().copied());
        candidates.find(|wide| day.nests_in(*wide) && held.iter().all(|bucket| bucket.nests_in(*wide)))
    }

    /// The tables whose rows cannot leave, or not to any avail, and why.
    fn obstacles(&self, builder: &Builder<'_>) -> BTreeMap<RelationId, String> {
        let mut found = BTreeMap::new();
        let name = |id: RelationId| builder.relations[id].name.clone();
        for ((id, idx), ends) in &self.ends {
            // Rows that are kept would be missing when others of their group disappear.
            let is_mixed = self.passes.contains_key(&(*id, *idx));
            for source in ends.iter().filter(|source| is_mixed || !self.worthwhile.contains(source)) {
                found.entry(*source).or_insert_with(|| self.reason(builder, *id, *idx, *source));
            }
        }
        for (source, buckets) in &self.buckets {
            if self.bucket(*source).is_none() {
                let widths: BTreeSet<String> = buckets.iter().map(ToString::to_string).collect();
                let widths: Vec<String> = widths.into_iter().collect();
                let text = format!(
                    "groups of `{}` hold buckets of {} in their keys, which do not nest",
                    name(*source),
                    widths.join(" and ")
                );
                found.entry(*source).or_insert(text);
            }
        }
        found
    }

    /// Why the disappearance of a table's rows ends at an input.
    fn reason(&self, builder: &Builder<'_>, id: RelationId, idx: usize, source: RelationId) -> String {
        let relation = &builder.relations[id];
        let column = match (&builder.relations[source].operator, builder.facts[source].event_time) {
            (OperatorPlan::SourceTable(..), Some(column)) => {
                builder.relations[source].schema.field(column).name().as_str()
            }
            _ => "event time",
        };
        match &relation.operator {
            OperatorPlan::TableJoin(_) if idx == 1 => format!("they decide about rows of `{}`", relation.name),
            OperatorPlan::LookupJoin(_) => format!("streams look them up in `{}`", relation.name),
            _ => format!("the key of `{}` does not hold a bucket of `{column}`", relation.name),
        }
    }
}

/// Puts a relation of frozen rows before each input at which a disappearance ends, and brings all relation ids in line.
fn insert_frozen_rows(
    builder: &mut Builder<'_>,
    sinks: &mut [SinkPlan],
    paths: Paths,
    retention: &mut Retention,
) -> Result<()> {
    let Paths { follows, ends, .. } = paths;
    let meanings: Vec<String> = ends.keys().map(|place| meaning(builder, *place)).collect();
    let n_before = |id: RelationId| ends.keys().filter(|(relation, _)| *relation <= id).count();
    let moved: Vec<RelationId> = (0..builder.relations.len()).map(|id| id + n_before(id)).collect();
    let to = |id: RelationId| moved.get(id).copied().unwrap_or(id);
    renumber(builder, sinks, &to);
    retention.expiries = std::mem::take(&mut retention.expiries).into_iter().map(|(id, e)| (to(id), e)).collect();
    retention.staying = std::mem::take(&mut retention.staying).into_iter().map(|(id, r)| (to(id), r)).collect();

    let mut frozen: BTreeMap<(RelationId, usize), Relation> = BTreeMap::new();
    for (n, ((place, sources), meaning)) in ends.iter().zip(meanings).enumerate() {
        // One relation before this one for each earlier place.
        let new_id = place.0 + n;
        frozen.insert(*place, frozen_rows(builder, *place, new_id, &meaning)?);
        for source in sources {
            if let Some(expiry) = retention.expiries.get_mut(&to(*source)) {
                expiry.ends_at.insert(new_id);
            }
        }
    }
    for (id, relation) in std::mem::take(&mut builder.relations).into_iter().enumerate() {
        for idx in 0..relation.inputs.len() {
            if let Some(frozen) = frozen.remove(&(id, idx)) {
                builder.relations.push(frozen);
                retention.follows.push(BTreeSet::new());
            }
        }
        builder.relations.push(relation);
        retention.follows.push(follows[id].iter().map(|source| to(*source)).collect());
    }
    Ok(())
}

fn meaning(builder: &Builder<'_>, (id, idx): (RelationId, usize)) -> String {
    let input = builder.relations[id].inputs.get(idx);
    let plan = input.map(|input| canonical::plan(builder, &input.segment.logical)).unwrap_or_default();
    format!("frozen_rows {plan}")
}

/// Gives all relations other ids; their order stays.
fn renumber(builder: &mut Builder<'_>, sinks: &mut [SinkPlan], to: &dyn Fn(RelationId) -> RelationId) {
    builder.scans.values_mut().for_each(|id| *id = to(*id));
    for relation in &mut builder.relations {
        relation.watermark_sources.iter_mut().for_each(|id| *id = to(*id));
        relation.inputs.iter_mut().for_each(|input| input.segment.renumber(to));
    }
    for sink in sinks {
        sink.relation = to(sink.relation);
        sink.hands_over.iter_mut().for_each(|id| *id = to(*id));
    }
}

/// Takes an input's segment over into a relation of frozen rows, which the input reads from then on.
fn frozen_rows(
    builder: &mut Builder<'_>,
    (id, idx): (RelationId, usize),
    new_id: RelationId,
    meaning: &str,
) -> Result<Relation> {
    let name = format!("{}.frozen_rows{}", builder.relations[id].name, idx + 1);
    let schema = builder.relations[id].inputs[idx].segment.logical.schema().clone();
    builder.scans.insert(name.clone(), new_id);
    let reader = builder.compile(leaf(&name, schema))?;
    let relation = &mut builder.relations[id];
    let segment = std::mem::replace(&mut relation.inputs[idx].segment, reader);
    Ok(Relation {
        name: name.into(),
        kind: RelationKind::Table,
        schema: segment.schema.clone(),
        key: None,
        operator: OperatorPlan::FrozenRows(FrozenRowsSpec { schema: segment.schema.clone() }),
        watermark_sources: relation.watermark_sources.clone(),
        arrival: relation.arrival,
        operator_id: canonical::id(meaning),
        inputs: vec![Input { segment, distribution: Distribution::Single }],
    })
}
