//! Debezium's envelopes in Avro.

use std::sync::Arc;

use super::{change_of, is_unavailable, unavailable};
use crate::format::avro::{Datum, RecordPlan, Resolver, Schema, Shape, parse, skip};
use crate::format::confluent::{self, ById};
use crate::format::json::cell::Cell;
use crate::format::registry::{SchemaLanguage, SchemaRegistry};
use crate::format::rows::{Change, Columns};

/// Reads envelopes in Avro.
pub(in crate::format) struct DebeziumAvro {
    plans: ById<EnvelopePlan>,
    resolver: Resolver,
}

/// How the fields of an envelope are read, in their order.
struct EnvelopePlan {
    schema: Arc<Schema>,
    steps: Vec<EnvelopeStep>,
    row: RecordPlan,
}

enum EnvelopeStep {
    Skip(usize),
    Op,
    /// A row or null: which branch of the union is the row; none if it is no union.
    Row {
        is_before: bool,
        branch: Option<i64>,
    },
}

impl DebeziumAvro {
    pub(in crate::format) fn new(registry: Arc<SchemaRegistry>, resolver: Resolver) -> Self {
        Self { plans: ById::new(registry, SchemaLanguage::Avro), resolver }
    }

    pub(in crate::format) fn read<'a>(
        &mut self,
        value: &'a [u8],
        columns: &Columns<'_>,
        cells: &mut Vec<Cell<'a>>,
    ) -> Result<Change, String> {
        let (id, datum) = confluent::split(value)?;
        let resolver = &self.resolver;
        let plan = self.plans.get(id, |schema| EnvelopePlan::new(parse(schema)?, &resolver.of_id(id), columns))?;
        let mut datum = Datum::new(datum);
        let (mut before, mut after, mut op) = (None, None, None);
        for step in &plan.steps {
            match step {
                EnvelopeStep::Skip(node) => skip(&plan.schema, *node, &mut datum)?,
                EnvelopeStep::Op => op = Some(datum.text()?),
                EnvelopeStep::Row { is_before, branch } => {
                    if let Some(branch) = branch
                        && datum.long()? != *branch
                    {
                        continue;
                    }
                    let mut row = Vec::with_capacity(columns.columns.len());
                    plan.row.read(&mut datum, &mut row)?;
                    *(if *is_before { &mut before } else { &mut after }) = Some(row);
                }
            }
        }
        datum.end()?;
        let change = change_of(op.unwrap_or_default())?;
        let row = if change == Change::Delete { before.take() } else { after };
        let Some(mut row) = row else {
            return match change {
                Change::Delete => Ok(Change::DeleteByKey),
                _ => Err("the envelope has no row in `after`".to_owned()),
            };
        };
        for (idx, (cell, column)) in row.iter_mut().zip(columns.columns).enumerate() {
            if stands_for_another(cell) && change != Change::Delete {
                let known = before.as_mut().and_then(|row| row.get_mut(idx)).map(|c| std::mem::replace(c, Cell::Null));
                let known = known.filter(|known| *known != Cell::Null && !stands_for_another(known));
                *cell = known.ok_or_else(|| unavailable(&column.name))?;
            }
        }
        cells.append(&mut row);
        Ok(change)
    }
}

fn stands_for_another(cell: &Cell<'_>) -> bool {
    match cell {
        Cell::Text(text) => is_unavailable(text),
        Cell::List(elements) => matches!(elements.as_slice(), [Cell::Text(text)] if is_unavailable(text)),
        _ => false,
    }
}

impl EnvelopePlan {
    fn new(schema: Schema, resolver: &Resolver, columns: &Columns<'_>) -> Result<Self, String> {
        const NO_ENVELOPE: &str = "not an envelope of Debezium: rows without one, as after ExtractNewRecordState, have the format 'avro-confluent'";
        let schema = Arc::new(schema);
        let fields = schema.fields(schema.root).ok_or(NO_ENVELOPE)?;
        let mut steps = Vec::with_capacity(fields.len());
        let mut row = None;
        let mut has_op = false;
        for field in fields {
            steps.push(match field.name.as_str() {
                "op" if matches!(schema.node(field.node).shape, Shape::String) => {
                    has_op = true;
                    EnvelopeStep::Op
                }
                side @ ("before" | "after") => {
                    let (branch, node) = row_branch(&schema, field.node).ok_or(NO_ENVELOPE)?;
                    // Both sides have one type.
                    match row {
                        Some(known) if known != node => return Err("`before` and `after` are of two types".to_owned()),
                        _ => row = Some(node),
                    }
                    EnvelopeStep::Row { is_before: side == "before", branch }
                }
                _ => EnvelopeStep::Skip(field.node),
            });
        }
        let row = row.filter(|_| has_op).ok_or(NO_ENVELOPE)?;
        let row = resolver.fields(&schema, row, columns)?;
        Ok(Self { schema, steps, row })
    }
}

/// The record among the branches of a union, and which one it is.
fn row_branch(schema: &Schema, node: usize) -> Option<(Option<i64>, usize)> {
    match &schema.node(node).shape {
        Shape::Record(_) => Some((None, node)),
        Shape::Union(branches) => {
            let at = branches.iter().position(|b| matches!(schema.node(*b).shape, Shape::Record(_)))?;
            let is_other = |(idx, b): (usize, &usize)| idx != at && !matches!(schema.node(*b).shape, Shape::Null);
            if branches.iter().enumerate().any(is_other) {
                return None;
            }
            Some((i64::try_from(at).ok(), *branches.get(at)?))
        }
        _ => None,
    }
}
