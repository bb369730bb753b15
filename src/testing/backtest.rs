//! Two packs over the same history: what the new one writes that the old one does not, and the other way round.
//!
//! Both are replayed to files. What is compared is what stands at the end: of an upsert sink the rows by key, of a sink over CHANGES
//! the last row of each value of its first column unless that is withdrawn, of any other sink all rows. Of a row only a
//! fingerprint is held, so that memory grows with the number of keys and not with what is written.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::engine::{Replay, ReplayError, ReplayOptions};
use crate::plan::{Pipeline, SinkPlan};
use crate::stream::ShardCount;

/// How often a row was issued before says nothing about what it says.
const REVISION: &str = "revision";
/// The member and the value by which a row over CHANGES takes back what was issued.
const WITHDRAWN: (&str, &str) = ("status", "withdrawn");
const TOMBSTONE: &str = "_tombstone";
/// What stands for a PRIVATE value.
const MASK: &str = "***";

/// What is compared.
pub struct BacktestOptions<'a> {
    /// The history: one file for each source, as `curb replay` reads them.
    pub from: &'a Path,
    /// A folder for what both write; it takes as much as two replays.
    pub scratch: &'a Path,
    /// Stop at this event time, in milliseconds.
    pub until_ms: Option<i64>,
    /// So many rows of a sink are told one by one.
    pub limit: usize,
}

/// How many rows differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RowCounts {
    /// Only the new pack has them.
    pub added: u64,
    /// Only the old pack has them.
    pub removed: u64,
    /// Both have them, with other values.
    pub changed: u64,
    /// Both have the same.
    pub same: u64,
}

impl RowCounts {
    /// Whether none differs.
    pub fn is_same(&self) -> bool {
        self.added + self.removed + self.changed == 0
    }
}

/// One row that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RowDifference {
    /// What it is told apart by: its key or its first column; none where all of it counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Value>,
    /// What the old pack says.
    pub old: Option<Map<String, Value>>,
    /// What the new pack says.
    pub new: Option<Map<String, Value>>,
}

/// One sink of both packs, or of one of them.
#[derive(Clone, Debug, Serialize)]
pub struct SinkDifference {
    /// The sink.
    pub sink: String,
    /// The columns by which rows are told apart; none where all of a row counts.
    pub by: Vec<String>,
    /// In all.
    pub rows: RowCounts,
    /// The column whose values rows are summed by: that of the sink's `count_by`.
    pub kind_column: Option<String>,
    /// By value of that column.
    pub kinds: BTreeMap<String, RowCounts>,
    /// The first rows that differ.
    pub differences: Vec<RowDifference>,
}

/// Replays both packs over the same history, and compares what they wrote, sink by sink.
pub fn backtest(
    old: &Arc<Pipeline>,
    new: &Arc<Pipeline>,
    options: &BacktestOptions<'_>,
) -> Result<Vec<SinkDifference>, ReplayError> {
    let sides = [(old, options.scratch.join("old")), (new, options.scratch.join("new"))];
    for (pipeline, to) in &sides {
        let replay =
            ReplayOptions { from: options.from, to, until_ms: options.until_ms, n_shards: ShardCount(1), audit: None };
        Replay::open((*pipeline).clone(), &replay)?.run()?;
    }
    let names = |pipeline: &Pipeline| pipeline.sinks.iter().map(|s| s.name.clone()).collect::<Vec<_>>();
    let mut sinks = names(new);
    sinks.extend(names(old).into_iter().filter(|name| !new.sinks.iter().any(|s| s.name == *name)));
    let compare = |name: &Arc<str>| {
        let of_side = |(pipeline, dir): &(&Arc<Pipeline>, std::path::PathBuf)| {
            let plan = pipeline.sinks.iter().find(|s| s.name == *name)?;
            Some(Written::of(pipeline, plan, &dir.join(format!("{name}.ndjson"))))
        };
        let [old, new] = [sides.first().and_then(of_side), sides.get(1).and_then(of_side)];
        Ok(compared(name, old.as_ref(), new.as_ref(), options.limit)?)
    };
    sinks.iter().map(compare).collect()
}

/// How rows of a sink are told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Identity {
    /// By their key columns; a tombstone deletes.
    Key(Vec<String>),
    /// By their first column; the last row counts, and one that is withdrawn deletes.
    First(String),
    /// By all that they say.
    Whole,
}

/// What a sink of one pack wrote.
struct Written {
    path: std::path::PathBuf,
    identity: Identity,
    kind_column: Option<String>,
    private: BTreeSet<String>,
}

impl Written {
    fn of(pipeline: &Pipeline, plan: &SinkPlan, path: &Path) -> Self {
        let schema = pipeline.relations.get(plan.relation).map(|r| r.schema.clone());
        let name = |column: usize| Some(schema.as_ref()?.fields().get(column)?.name().clone());
        let identity = match (plan.upsert, plan.hands_over.is_empty(), name(0)) {
            (true, ..) => Identity::Key(plan.key.iter().filter_map(|c| name(*c)).collect()),
            (false, false, Some(first)) => Identity::First(first),
            _ => Identity::Whole,
        };
        let private = pipeline.private.get(&*plan.name).cloned().unwrap_or_default();
        Self { path: path.to_owned(), identity, kind_column: plan.count_by.and_then(name), private }
    }

    /// Hands over the rows in their order: what tells them apart, and what they say; nothing where they delete.
    fn rows(&self, take: &mut dyn FnMut(String, Option<Map<String, Value>>)) -> io::Result<()> {
        for line in BufReader::new(File::open(&self.path)?).split(b'\n') {
            let line = line?;
            let Ok(mut row) = serde_json::from_slice::<Map<String, Value>>(&line) else { continue };
            let values = |names: &[String]| {
                Value::Array(names.iter().map(|n| row.get(n).cloned().unwrap_or_default()).collect()).to_string()
            };
            match &self.identity {
                Identity::Key(columns) => {
                    let is_gone = row.get(TOMBSTONE) == Some(&Value::Bool(true));
                    take(values(columns), (!is_gone).then_some(row));
                }
                Identity::First(column) => {
                    let id = values(std::slice::from_ref(column));
                    let is_gone = row.get(WITHDRAWN.0).and_then(Value::as_str) == Some(WITHDRAWN.1);
                    row.shift_remove(REVISION);
                    take(id, (!is_gone).then_some(row));
                }
                Identity::Whole => take(Value::Object(row.clone()).to_string(), Some(row)),
            }
        }
        Ok(())
    }

    fn masked(&self, mut row: Map<String, Value>) -> Map<String, Value> {
        row.iter_mut().filter(|(name, _)| self.private.contains(*name)).for_each(|(_, value)| *value = MASK.into());
        row
    }

    fn columns(&self) -> Vec<String> {
        match &self.identity {
            Identity::Key(columns) => columns.clone(),
            Identity::First(column) => vec![column.clone()],
            Identity::Whole => Vec::new(),
        }
    }
}

/// What one pack says of one key at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Side {
    /// How many rows there are; of a key one or none.
    n: u32,
    row: u64,
    kind: u32,
}

/// The first bytes of a hash: of so many keys no two are taken for one.
type Fingerprint = [u8; 16];

fn fingerprint(text: &str) -> Fingerprint {
    let mut short = [0; 16];
    Sha256::digest(text.as_bytes()).iter().zip(&mut short).for_each(|(byte, to)| *to = *byte);
    short
}

fn short_hash(text: &str) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| fingerprint(text).get(i).copied().unwrap_or(0)))
}

/// By key what both say.
#[derive(Default)]
struct Comparison {
    keys: HashMap<Fingerprint, [Side; 2]>,
    kinds: Vec<String>,
    kind_numbers: HashMap<String, u32>,
}

impl Comparison {
    fn add(&mut self, written: &Written, side: usize) -> io::Result<()> {
        written.rows(&mut |id, row| {
            let kind = row.as_ref().and_then(|row| Some(row.get(written.kind_column.as_ref()?)?.clone()));
            let kind = kind.map_or(0, |kind| self.kind(kind.as_str().map_or_else(|| kind.to_string(), str::to_owned)));
            let sides = self.keys.entry(fingerprint(&id)).or_default();
            let Some(own) = sides.get_mut(side) else { return };
            *own = match (row, &written.identity) {
                (None, _) => Side::default(),
                (Some(_), Identity::Whole) => Side { n: own.n + 1, row: 0, kind },
                (Some(row), _) => Side { n: 1, row: short_hash(&Value::Object(row).to_string()), kind },
            };
        })
    }

    fn kind(&mut self, text: String) -> u32 {
        if let Some(known) = self.kind_numbers.get(&text) {
            return *known;
        }
        self.kinds.push(text.clone());
        // 0 is no kind.
        let number = self.kinds.len() as u32;
        self.kind_numbers.insert(text, number);
        number
    }

    fn differs(&self, id: &str) -> bool {
        self.keys.get(&fingerprint(id)).is_some_and(|[old, new]| (old.n, old.row) != (new.n, new.row))
    }
}

fn counts([old, new]: &[Side; 2]) -> RowCounts {
    let both = u64::from(old.n.min(new.n));
    let is_changed = old.row != new.row;
    RowCounts {
        added: u64::from(new.n.saturating_sub(old.n)),
        removed: u64::from(old.n.saturating_sub(new.n)),
        changed: if is_changed { both } else { 0 },
        same: if is_changed { 0 } else { both },
    }
}

fn compared(name: &str, old: Option<&Written>, new: Option<&Written>, limit: usize) -> io::Result<SinkDifference> {
    let mut comparison = Comparison::default();
    let sides = [old, new];
    for (side, written) in sides.iter().enumerate() {
        written.map_or(Ok(()), |written| comparison.add(written, side))?;
    }
    let mut rows = RowCounts::default();
    let mut kinds: BTreeMap<String, RowCounts> = BTreeMap::new();
    for sides in comparison.keys.values() {
        let own = counts(sides);
        add(&mut rows, own);
        let [old, new] = sides;
        let kind = if new.n > 0 { new.kind } else { old.kind };
        if let Some(kind) = (kind as usize).checked_sub(1).and_then(|idx| comparison.kinds.get(idx)) {
            add(kinds.entry(kind.clone()).or_default(), own);
        }
    }
    let shape = new.or(old);
    Ok(SinkDifference {
        sink: name.to_owned(),
        by: shape.map(Written::columns).unwrap_or_default(),
        rows,
        kind_column: shape.and_then(|w| w.kind_column.clone()),
        kinds,
        differences: listed(&comparison, old, new, limit)?,
    })
}

fn add(all: &mut RowCounts, own: RowCounts) {
    all.added += own.added;
    all.removed += own.removed;
    all.changed += own.changed;
    all.same += own.same;
}

/// The first rows that differ, in the order in which the new pack wrote them, then those that only the old one has.
fn listed(
    comparison: &Comparison,
    old: Option<&Written>,
    new: Option<&Written>,
    limit: usize,
) -> io::Result<Vec<RowDifference>> {
    let mut order: Vec<String> = Vec::new();
    let mut rows: HashMap<String, [Option<Map<String, Value>>; 2]> = HashMap::new();
    for (side, written) in [(1, new), (0, old)] {
        let Some(written) = written else { continue };
        written.rows(&mut |id, row| {
            if !rows.contains_key(&id) {
                if rows.len() >= limit || !comparison.differs(&id) {
                    return;
                }
                order.push(id.clone());
            }
            if let Some(own) = rows.entry(id).or_default().get_mut(side) {
                *own = row.map(|row| written.masked(row));
            }
        })?;
    }
    let shape = new.or(old);
    let is_whole = shape.is_none_or(|w| w.identity == Identity::Whole);
    let has_private_key = shape.is_some_and(|w| w.columns().iter().any(|column| w.private.contains(column)));
    let key = |id: &str| match (is_whole, has_private_key) {
        (true, _) => None,
        (false, true) => Some(MASK.into()),
        (false, false) => match serde_json::from_str(id).unwrap_or_default() {
            Value::Array(mut one) if one.len() == 1 => one.pop(),
            several => Some(several),
        },
    };
    let difference = |id: String| {
        let [old, new] = rows.remove(&id)?;
        Some(RowDifference { key: key(&id), old, new })
    };
    Ok(order.into_iter().filter_map(difference).collect())
}

#[cfg(test)]
mod tests;
