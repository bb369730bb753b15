//! From the schema that data were written with to the declared columns, found by name: once a schema.
//!
//! Types are promoted as Avro does it, and beyond that wherever no value changes: whole numbers go into any integer column that
//! holds them, decimals are rounded to their column's scale, instants cut to milliseconds, as everywhere. What fits no column
//! is refused for the whole schema; of a union only the branches that do not fit, where they occur.

use std::sync::Arc;

use super::read::{Length, Read, Step};
use super::schema::{Logical, Schema, Shape};
use crate::format::json::DecodeColumn;
use crate::format::json::cell::Kind;
use crate::format::rows::Columns;

/// Finds out how data of a schema become cells of one source relation.
#[derive(Clone, Debug)]
pub(in crate::format) struct Resolver {
    /// The relation, for the log.
    pub(in crate::format) relation: Arc<str>,
    /// Whether data are rejected whose schema lacks a column that may be null.
    pub(in crate::format) rejects_missing: bool,
    /// The number of the schema, for the log.
    pub(in crate::format) schema_id: Option<u32>,
}

/// How the fields of a record become cells.
#[derive(Debug)]
pub(in crate::format) struct RecordPlan {
    /// In the order in which fields are written.
    pub(in crate::format) steps: Vec<Step>,
    /// The name of each cell; those that no step sets are null.
    pub(in crate::format) names: Vec<String>,
    /// For what is passed over.
    pub(in crate::format) schema: Arc<Schema>,
}

/// How a key becomes the cells of the key columns.
#[derive(Debug)]
pub(in crate::format) enum KeyPlan {
    /// Of its fields.
    Record(RecordPlan),
    /// It is the only one.
    Single(Read),
}

impl Resolver {
    /// The same for a schema of this number.
    pub(in crate::format) fn of_id(&self, id: u32) -> Self {
        Self { schema_id: Some(id), ..self.clone() }
    }

    /// How records of a schema become cells, one a column.
    pub(in crate::format) fn record(&self, schema: &Schema, columns: &Columns<'_>) -> Result<RecordPlan, String> {
        self.fields(&Arc::new(schema.clone()), schema.root, columns)
    }

    /// How the record at a node becomes cells, one a column.
    pub(in crate::format) fn fields(
        &self,
        schema: &Arc<Schema>,
        node: usize,
        columns: &Columns<'_>,
    ) -> Result<RecordPlan, String> {
        if schema.fields(node).is_none() {
            return Err(format!("the data are {}, not a record", schema.describe(node)));
        }
        let wanted: Vec<(&str, &Kind)> = columns.iter().map(|(c, kind)| (c.name.as_str(), kind)).collect();
        let (plan, missing) = record_plan(schema, node, &wanted)?;
        let never_null =
            |idx: &usize| columns.key.contains(idx) || columns.columns.get(*idx).is_some_and(|c| c.not_null);
        let name = |idx: &usize| columns.columns.get(*idx).map_or("", |c| c.name.as_str());
        if let Some(gone) = missing.iter().find(|idx| never_null(idx)) {
            return Err(format!("column `{}` is NOT NULL, but the schema has no such field", name(gone)));
        }
        let missing: Vec<&str> = missing.iter().map(name).collect();
        if let (true, Some(gone)) = (self.rejects_missing, missing.first()) {
            return Err(format!("the schema has no field for column `{gone}`, and `missing_columns` is 'reject'"));
        }
        if !missing.is_empty() {
            let (relation, schema_id) = (&self.relation, self.schema_id);
            tracing::warn!(%relation, schema_id, columns = missing.join(", "), "columns are not in the schema and are null");
        }
        Ok(plan)
    }
}

impl KeyPlan {
    /// How keys of a schema become cells of the key columns.
    pub(in crate::format) fn new(schema: &Schema, of_key: &[(&DecodeColumn, &Kind)]) -> Result<Self, String> {
        let schema = Arc::new(schema.clone());
        let wanted: Vec<(&str, &Kind)> = of_key.iter().map(|(c, kind)| (c.name.as_str(), *kind)).collect();
        if schema.fields(schema.root).is_some() {
            let (plan, missing) = record_plan(&schema, schema.root, &wanted)?;
            return match missing.first().and_then(|idx| wanted.get(*idx)) {
                Some((name, _)) => Err(format!("its schema has no field `{name}`")),
                None => Ok(Self::Record(plan)),
            };
        }
        match wanted.as_slice() {
            [(_, kind)] => read(&schema, schema.root, kind).map(Self::Single),
            _ => Err(format!("it is {} for {} columns", schema.describe(schema.root), wanted.len())),
        }
    }
}

/// How the record at a node becomes cells of these names and kinds, and the indices of those that it has no field for.
fn record_plan(
    schema: &Arc<Schema>,
    node: usize,
    wanted: &[(&str, &Kind)],
) -> Result<(RecordPlan, Vec<usize>), String> {
    let fields = schema.fields(node).unwrap_or_default();
    // A name that a field has comes before one that another had once.
    let place = |name: &str| {
        let by_name = fields.iter().position(|f| f.name == name);
        by_name.or_else(|| fields.iter().position(|f| f.aliases.iter().any(|a| a == name)))
    };
    let places: Vec<Option<usize>> = wanted.iter().map(|(name, _)| place(name)).collect();
    let mut steps = Vec::with_capacity(fields.len());
    for (idx, field) in fields.iter().enumerate() {
        let cell = places.iter().position(|p| *p == Some(idx));
        let Some((cell, (name, kind))) = cell.and_then(|cell| Some((cell, wanted.get(cell)?))) else {
            steps.push(Step::Skip(field.node));
            continue;
        };
        let read = read(schema, field.node, kind).map_err(|reason| format!("column `{name}`: {reason}"))?;
        steps.push(Step::Read(cell, read));
    }
    let missing = (0..wanted.len()).filter(|idx| places.get(*idx) == Some(&None)).collect();
    let names = wanted.iter().map(|(name, _)| (*name).to_owned()).collect();
    Ok((RecordPlan { steps, names, schema: schema.clone() }, missing))
}

/// How data of a node become cells of a kind.
fn read(schema: &Arc<Schema>, node: usize, kind: &Kind) -> Result<Read, String> {
    let refused = || Err(format!("the schema has {}, which cannot be read as {kind}", schema.describe(node)));
    let own = schema.node(node);
    Ok(match (&own.shape, own.logical, kind) {
        (Shape::Null, ..) => Read::Null,
        (Shape::Union(branches), ..) => {
            let read_branch = |branch: &usize| read(schema, *branch, kind).map_err(Arc::from);
            let branches: Vec<Result<Read, Arc<str>>> = branches.iter().map(read_branch).collect();
            let is_value = |b: &Result<Read, Arc<str>>| !matches!(b, Ok(Read::Null));
            if branches.iter().any(is_value) && !branches.iter().any(|b| is_value(b) && b.is_ok()) {
                return refused();
            }
            Read::Union(branches)
        }
        (Shape::Boolean, _, Kind::Bool) => Read::Bool,
        (Shape::Int, Some(Logical::Date), Kind::Date) => Read::Days,
        (Shape::Long, Some(Logical::Timestamp { per_ms, zoned }), Kind::Instant { per_ms: own, zoned: own_zoned })
            // An instant shows a clock's time in UTC, but a clock's time is no instant.
            if zoned || !own_zoned =>
        {
            Read::Instant { divisor: per_ms, factor: *own }
        }
        (Shape::Int | Shape::Long, _, Kind::Int { min, max, .. }) => Read::Int { min: *min, max: *max },
        (Shape::Int | Shape::Long, None, Kind::Float64) => Read::IntAsFloat,
        (Shape::Int | Shape::Long, None, Kind::Decimal { .. }) => Read::IntAsDecimal(kind.clone()),
        (Shape::Float, _, Kind::Float64 | Kind::Float32) => Read::Float,
        (Shape::Double, _, Kind::Float64) => Read::Double,
        (Shape::String | Shape::Bytes, None | Some(Logical::Uuid), Kind::Text) => Read::Text,
        (Shape::Enum(symbols), _, Kind::Text) => Read::Symbol(symbols.clone()),
        (Shape::Fixed(16), Some(Logical::Uuid), Kind::Text) => Read::Uuid,
        (Shape::String, _, Kind::Instant { .. } | Kind::Date | Kind::Decimal { .. }) => Read::TextAs(kind.clone()),
        (Shape::Bytes, Some(Logical::Decimal { scale, .. }), Kind::Decimal { .. }) => {
            Read::Decimal { length: Length::Told, scale, kind: kind.clone() }
        }
        (Shape::Fixed(n), Some(Logical::Decimal { scale, .. }), Kind::Decimal { .. }) => {
            Read::Decimal { length: Length::Fixed(*n), scale, kind: kind.clone() }
        }
        (Shape::Array(items), _, Kind::List { element, nullable }) => {
            Read::List { element: Box::new(read(schema, *items, element)?), nullable: *nullable }
        }
        (Shape::Map(values), _, Kind::List { element, .. }) => match element.as_ref() {
            // A map as a list of its entries.
            Kind::Struct(fields) => match fields.as_slice() {
                [key, value] if key.name == "key" && key.kind == Kind::Text && value.name == "value" => {
                    Read::Entries(Box::new(read(schema, *values, &value.kind)?))
                }
                _ => return refused(),
            },
            _ => return refused(),
        },
        (Shape::Record(_), _, Kind::Struct(fields)) => {
            let wanted: Vec<(&str, &Kind)> = fields.iter().map(|f| (f.name.as_str(), &f.kind)).collect();
            // The fields of a structure may all be null.
            Read::Record(record_plan(schema, node, &wanted)?.0)
        }
        _ => return refused(),
    })
}
