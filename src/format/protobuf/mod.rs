//! Protocol Buffers: messages of a type that is described in a file or the registry, read into the cells of the declared columns,
//! which are found by the names of fields.
//!
//! `schema` compiles descriptions, `read` makes cells of messages, `encode` messages of rows. A field without presence that a
//! message does not hold has its default, as the language says; one with presence is null.

mod encode;
mod read;
mod schema;

use std::sync::Arc;

use ahash::HashMap;
use prost_reflect::MessageDescriptor;

use self::read::MessagePlan;
use self::schema::Description;
use super::confluent::{self, ById};
use super::json::DecodeColumn;
use super::json::cell::{Cell, Kind};
use super::registry::{SchemaLanguage, SchemaRegistry};
use super::rows::{Change, Columns};

pub(super) use encode::ProtobufEncoder;

/// How many messages of one description are kept ready.
const MESSAGES_MAX: usize = 100;
/// How deep the place of a message in its file may be.
const PLACE_MAX: i64 = 32;

/// What the columns of a relation ask of a schema.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// The relation, for the log.
    pub(super) relation: Arc<str>,
    /// The name of the message; none: any.
    pub(super) message: Option<String>,
    /// Whether messages are rejected that lack a column that may be null.
    pub(super) rejects_missing: bool,
}

/// Reads values that are messages.
pub(super) struct ProtobufValue {
    plans: Plans,
    wanted: Wanted,
}

enum Plans {
    One(MessagePlan),
    ById(ById<OfSchema>),
}

/// What is ready to read the messages of one schema, by their place in it.
struct OfSchema {
    description: Description,
    by_place: HashMap<Vec<i64>, Result<MessagePlan, Arc<str>>>,
}

impl OfSchema {
    fn get(
        &mut self,
        place: Vec<i64>,
        make: impl FnOnce(&MessageDescriptor) -> Result<MessagePlan, String>,
    ) -> Result<&MessagePlan, String> {
        if self.by_place.len() >= MESSAGES_MAX && !self.by_place.contains_key(&place) {
            self.by_place.clear();
        }
        let description = &self.description;
        let made = self.by_place.entry(place).or_insert_with_key(|place| {
            description.message_at(place).and_then(|message| make(&message)).map_err(Arc::from)
        });
        made.as_ref().map_err(ToString::to_string)
    }
}

impl ProtobufValue {
    /// A reader of messages that all have the type described in a file. Fails where the columns cannot be read from it.
    pub(super) fn of_file(file: &[u8], columns: &Columns<'_>, wanted: Wanted) -> Result<Self, String> {
        let message = Description::of_file(file)?.0.message(wanted.message.as_deref())?;
        Ok(Self { plans: Plans::One(MessagePlan::of_columns(&message, columns, &wanted)?), wanted })
    }

    /// A reader of messages that tell the number of their schema.
    pub(super) fn of_registry(registry: Arc<SchemaRegistry>, wanted: Wanted) -> Self {
        Self { plans: Plans::ById(ById::new(registry, SchemaLanguage::Protobuf)), wanted }
    }

    pub(super) fn read<'a>(
        &mut self,
        value: &'a [u8],
        columns: &Columns<'_>,
        cells: &mut Vec<Cell<'a>>,
    ) -> Result<Change, String> {
        let wanted = &self.wanted;
        match &mut self.plans {
            Plans::One(plan) => plan.read(value, cells)?,
            Plans::ById(plans) => {
                let (id, place, message) = split(value)?;
                let of_schema = plans.get(id, OfSchema::new)?;
                let plan = of_schema.get(place, |message| {
                    if let Some(name) = wanted.message.as_deref().filter(|name| !is_called(message, name)) {
                        return Err(format!("schema {id}: a message `{}`, not `{name}`", message.full_name()));
                    }
                    MessagePlan::of_columns(message, columns, wanted).map_err(|reason| format!("schema {id}: {reason}"))
                })?;
                plan.read(message, cells)?;
            }
        }
        Ok(Change::Upsert)
    }
}

impl OfSchema {
    fn new(schema: &super::registry::RegisteredSchema) -> Result<Self, String> {
        Ok(Self { description: Description::of_text(&schema.text, &schema.references)?, by_place: HashMap::default() })
    }
}

/// Whether a message has a name, with or without its package.
fn is_called(message: &MessageDescriptor, name: &str) -> bool {
    message.full_name() == name || message.name() == name
}

/// Reads keys that are messages of the key columns.
pub(super) struct ProtobufKey {
    plans: ById<OfSchema>,
}

impl ProtobufKey {
    pub(super) fn new(registry: Arc<SchemaRegistry>) -> Self {
        Self { plans: ById::new(registry, SchemaLanguage::Protobuf) }
    }

    pub(super) fn read<'a>(
        &mut self,
        key: &'a [u8],
        of_key: &[(&DecodeColumn, &Kind)],
    ) -> Result<Vec<Cell<'a>>, String> {
        let of_the_key = |reason: String| format!("the Kafka key: {reason}");
        let (id, place, message) = split(key).map_err(of_the_key)?;
        let plans = self.plans.get(id, OfSchema::new).map_err(of_the_key)?;
        let plan = plans.get(place, |message| MessagePlan::of_key(message, of_key)).map_err(of_the_key)?;
        let mut cells = Vec::with_capacity(of_key.len());
        plan.read(message, &mut cells).map_err(of_the_key)?;
        Ok(cells)
    }
}

/// The number of the schema, the place of the message in it, and the message.
fn split(value: &[u8]) -> Result<(u32, Vec<i64>, &[u8]), String> {
    let (id, mut rest) = confluent::split(value)?;
    let mut number = || {
        let mut value = 0_u64;
        for shift in (0..35).step_by(7) {
            let (byte, after) = rest.split_first()?;
            rest = after;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
        }
        None
    };
    let wrong = || "the place of the message in its schema cannot be read".to_owned();
    let n = number().filter(|n| (0..=PLACE_MAX).contains(n)).ok_or_else(wrong)?;
    // The first message is so usual that it needs no more.
    let place = if n == 0 { Some(vec![0]) } else { (0..n).map(|_| number()).collect() };
    let place = place.ok_or_else(wrong)?;
    Ok((id, place, rest))
}

#[cfg(test)]
mod tests;
