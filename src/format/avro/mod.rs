//! Apache Avro: each datum is read by the schema that it was written with, straight into the cells of the declared columns, which
//! are found by name.
//!
//! `schema` reads a schema, `resolve` finds out once a schema how its data become cells, `read` does that datum by datum;
//! a datum that cannot be read is told by itself and spoils no other. `encode` writes rows, by a schema that follows from the
//! columns or by one that is `given`.

mod encode;
mod given;
mod read;
mod resolve;
mod schema;

use std::sync::Arc;

use super::confluent::{self, ById};
use super::json::DecodeColumn;
use super::json::cell::{Cell, Kind};
use super::registry::{RegisteredSchema, SchemaLanguage, SchemaRegistry};
use super::rows::{Change, Columns};

pub(super) use encode::{AvroEncoder, is_name, long, plain_type, record_name};
pub(super) use read::{Datum, skip};
pub(super) use resolve::{KeyPlan, RecordPlan, Resolver};
pub(super) use schema::{Schema, Shape};

/// Reads values in Avro.
pub(super) struct AvroValue {
    plans: Plans<RecordPlan>,
    resolver: Resolver,
}

/// Where the schema of a datum is.
pub(super) enum Plans<P> {
    /// One for all data.
    One(P),
    /// The registry's, by the number before the datum.
    ById(ById<P>),
}

impl AvroValue {
    /// A reader of data that all have the schema of a file. Fails where the columns cannot be read from it.
    pub(super) fn of_file(text: &[u8], columns: &Columns<'_>, resolver: Resolver) -> Result<Self, String> {
        let text = std::str::from_utf8(text).map_err(|_| "the schema is not valid UTF-8".to_owned())?;
        let plan = resolver.record(&Schema::parse(text, &[])?, columns)?;
        Ok(Self { plans: Plans::One(plan), resolver })
    }

    /// A reader of data that tell the number of their schema.
    pub(super) fn of_registry(registry: Arc<SchemaRegistry>, resolver: Resolver) -> Self {
        Self { plans: Plans::ById(ById::new(registry, SchemaLanguage::Avro)), resolver }
    }

    pub(super) fn read<'a>(
        &mut self,
        value: &'a [u8],
        columns: &Columns<'_>,
        cells: &mut Vec<Cell<'a>>,
    ) -> Result<Change, String> {
        let resolver = &self.resolver;
        let (plan, datum) = match &mut self.plans {
            Plans::One(plan) => (plan, value),
            Plans::ById(plans) => {
                let (id, datum) = confluent::split(value)?;
                let plan = plans.get(id, |schema| resolver.of_id(id).record(&parse(schema)?, columns))?;
                (plan, datum)
            }
        };
        let mut datum = Datum::new(datum);
        plan.read(&mut datum, cells)?;
        datum.end()?;
        Ok(Change::Upsert)
    }
}

/// A schema of the registry.
pub(super) fn parse(schema: &RegisteredSchema) -> Result<Schema, String> {
    let references: Vec<&str> = schema.references.iter().map(|(_, text)| text.as_str()).collect();
    Schema::parse(&schema.text, &references)
}

/// Reads keys in Avro: a record of the key columns, or the only one itself.
pub(super) struct AvroKey {
    plans: ById<KeyPlan>,
}

impl AvroKey {
    pub(super) fn new(registry: Arc<SchemaRegistry>) -> Self {
        Self { plans: ById::new(registry, SchemaLanguage::Avro) }
    }

    pub(super) fn read<'a>(
        &mut self,
        key: &'a [u8],
        of_key: &[(&DecodeColumn, &Kind)],
    ) -> Result<Vec<Cell<'a>>, String> {
        let of_the_key = |reason: String| format!("the Kafka key: {reason}");
        let (id, datum) = confluent::split(key).map_err(of_the_key)?;
        let plan = self.plans.get(id, |schema| KeyPlan::new(&parse(schema)?, of_key)).map_err(of_the_key)?;
        let mut datum = Datum::new(datum);
        // The reasons of data name no values.
        let cells = plan.read(&mut datum).map_err(of_the_key)?;
        datum.end().map_err(of_the_key)?;
        Ok(cells)
    }
}

#[cfg(test)]
mod tests;
