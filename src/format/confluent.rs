//! Confluent's wire format: a zero byte, the number of the schema in four bytes, big-endian, then the datum.

use std::sync::Arc;

use ahash::HashMap;

use super::registry::{Lookup, RegisteredSchema, SchemaLanguage, SchemaRegistry};

/// How many schemas a reader keeps ready; then it begins anew.
const PLANS_MAX: usize = 1_000;

/// The number of the schema and the datum.
pub(super) fn split(value: &[u8]) -> Result<(u32, &[u8]), String> {
    match value.split_first_chunk::<5>() {
        Some(([0, a, b, c, d], datum)) => Ok((u32::from_be_bytes([*a, *b, *c, *d]), datum)),
        Some(([first, ..], _)) => {
            Err(format!("it begins with byte {first}, not with 0 and the number of a schema in the registry"))
        }
        None => Err("shorter than the number of a schema in the registry".to_owned()),
    }
}

/// Begins a value with the number of its schema.
pub(super) fn begin(id: u32, out: &mut Vec<u8>) {
    out.push(0);
    out.extend_from_slice(&id.to_be_bytes());
}

/// What is ready to read data of each schema.
pub(super) struct ById<P> {
    registry: Arc<SchemaRegistry>,
    language: SchemaLanguage,
    plans: HashMap<u32, Result<P, Arc<str>>>,
}

impl<P> ById<P> {
    pub(super) fn new(registry: Arc<SchemaRegistry>, language: SchemaLanguage) -> Self {
        Self { registry, language, plans: HashMap::default() }
    }

    /// What reads data of a schema; made at the first of them. The reason says why nothing can.
    pub(super) fn get(
        &mut self,
        id: u32,
        make: impl FnOnce(&RegisteredSchema) -> Result<P, String>,
    ) -> Result<&mut P, String> {
        if !self.plans.contains_key(&id) {
            let schema = match self.registry.known(id) {
                Some(Lookup::Known(schema)) => schema,
                Some(Lookup::Unknown(reason)) => return Err(reason.to_string()),
                // Numbers are asked for before anything is decoded.
                None => return Err(format!("schema {id} was not asked for")),
            };
            let made = match schema.language == self.language {
                true => make(&schema),
                false => Err(format!("it is of another language, {:?}", schema.language)),
            };
            let made = made.map_err(|reason| {
                tracing::warn!(schema_id = id, reason, "records of this schema are rejected");
                format!("schema {id}: {reason}").into()
            });
            if self.plans.len() >= PLANS_MAX {
                self.plans.clear();
            }
            self.plans.insert(id, made);
        }
        match self.plans.get_mut(&id) {
            Some(Ok(plan)) => Ok(plan),
            Some(Err(reason)) => Err(reason.to_string()),
            None => Err(format!("schema {id} is not ready")),
        }
    }
}
