//! A schema registry, asked over Confluent's HTTP interface: schemas by number, registered under subjects.
//!
//! What it says of a number never changes, so answers are kept, within a bound. Asked is only ahead of decoding
//! ([`SchemaRegistry::fetch`]), a little at a time: whoever waits for the registry can go on polling meanwhile. A registry that
//! cannot be reached never makes a record unusable; a number that it does not know does, once it has said so twice.

mod client;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

use client::{Answer, Client};

/// How many schemas are kept; more only while one batch of records needs them.
const CACHE_MAX: usize = 1_000;
/// How many schemas a schema may refer to, over any number of steps.
const REFERENCES_MAX: usize = 100;
/// A number that is not known is asked for again after this time: the copy that was asked may lag behind.
const CONFIRM_AFTER: Duration = Duration::from_secs(1);
/// After this time a number that was not known may have become known.
const UNKNOWN_FOR: Duration = Duration::from_secs(60);
/// How long one call may ask for numbers before it gives the caller time for something else.
const TURN: Duration = Duration::from_secs(2);
/// The error code of a registry for a schema that it does not have.
const SCHEMA_NOT_FOUND: i64 = 40403;

/// Where a registry is and how it is reached.
#[derive(Clone, Default)]
pub struct RegistrySettings {
    /// Its address; several ones of the same registry between commas.
    pub url: String,
    /// The user of basic authentication.
    pub user: Option<String>,
    /// The password.
    pub password: Option<String>,
    /// The certificates in PEM of whom to trust; none: the public ones.
    pub ca_file: Option<PathBuf>,
}

impl std::fmt::Debug for RegistrySettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let password = self.password.as_ref().map(|_| "***");
        f.debug_struct("RegistrySettings")
            .field("user", &self.user)
            .field("password", &password)
            .finish_non_exhaustive()
    }
}

/// In which language a schema is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaLanguage {
    /// Apache Avro.
    Avro,
    /// Protocol Buffers.
    Protobuf,
    /// JSON Schema.
    Json,
}

impl SchemaLanguage {
    fn name(self) -> &'static str {
        match self {
            Self::Avro => "AVRO",
            Self::Protobuf => "PROTOBUF",
            Self::Json => "JSON",
        }
    }

    fn of(name: Option<&str>) -> Option<Self> {
        match name {
            None => Some(Self::Avro),
            Some(name) => {
                [Self::Avro, Self::Protobuf, Self::Json].into_iter().find(|l| l.name().eq_ignore_ascii_case(name))
            }
        }
    }
}

/// A schema of the registry, with those that it refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredSchema {
    /// Its language.
    pub language: SchemaLanguage,
    /// Its text.
    pub text: String,
    /// The name and text of each schema that it refers to; one that others refer to comes before them.
    pub references: Vec<(String, String)>,
}

/// What is known of a number.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// The schema.
    Known(Arc<RegisteredSchema>),
    /// The registry does not have it, or it cannot be read, as a sentence fragment.
    Unknown(Arc<str>),
}

/// The registry has not answered, or not all that was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// It is being asked: call again soon.
    #[error("the schema registry is being asked")]
    Busy,
    /// It cannot be reached or does not answer as one: call again later.
    #[error("{0}")]
    Unavailable(String),
}

/// A schema could not be registered or found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// The registry cannot be reached: try again later.
    #[error("{0}")]
    Unavailable(String),
    /// It refuses the schema, or does not have it.
    #[error("{0}")]
    Refused(String),
}

enum Entry {
    Known(Arc<RegisteredSchema>),
    /// Not known when it was first asked for.
    Missing(Instant),
    /// Not known when it was asked for again, at that time.
    Unknown(Arc<str>, Instant),
}

/// A client of a registry with what it has learnt.
pub struct SchemaRegistry {
    client: Option<Client>,
    entries: Mutex<HashMap<u32, Entry>>,
}

impl std::fmt::Debug for SchemaRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SchemaRegistry").field("client", &self.client).finish_non_exhaustive()
    }
}

impl SchemaRegistry {
    /// A client; asks nothing yet. Fails where the settings make no sense, with the reason.
    pub fn new(settings: &RegistrySettings) -> Result<Self, String> {
        Ok(Self { client: Some(Client::new(settings)?), entries: Mutex::default() })
    }

    /// A registry in memory that holds these schemas and those that are registered, and is not asked over HTTP.
    pub fn of_schemas(schemas: impl IntoIterator<Item = (u32, RegisteredSchema)>) -> Self {
        let entries = schemas.into_iter().map(|(id, schema)| (id, Entry::Known(Arc::new(schema)))).collect();
        Self { client: None, entries: Mutex::new(entries) }
    }

    /// What is known of a number without asking.
    pub(super) fn known(&self, id: u32) -> Option<Lookup> {
        match self.entries.lock().unwrap_or_else(PoisonError::into_inner).get(&id)? {
            Entry::Known(schema) => Some(Lookup::Known(schema.clone())),
            Entry::Unknown(reason, _) => Some(Lookup::Unknown(reason.clone())),
            Entry::Missing(_) => None,
        }
    }

    /// Learns what there is to know of numbers, in part if that takes long. From then on until the next call [`Self::known`] has
    /// an answer for each.
    pub fn fetch(&self, ids: &BTreeSet<u32>) -> Result<(), NotReady> {
        let mut to_ask = Vec::new();
        let mut waits = false;
        {
            let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
            if entries.len() > CACHE_MAX && self.client.is_some() {
                entries.retain(|id, _| ids.contains(id));
            }
            for id in ids {
                match entries.get(id) {
                    Some(Entry::Known(_)) => {}
                    Some(Entry::Missing(at)) if at.elapsed() < CONFIRM_AFTER => waits = true,
                    Some(Entry::Unknown(_, at)) if at.elapsed() < UNKNOWN_FOR => {}
                    _ => to_ask.push(*id),
                }
            }
        }
        let Some(client) = &self.client else {
            let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
            for id in to_ask {
                entries.insert(id, Entry::Unknown("there is no schema registry".into(), Instant::now()));
            }
            return Ok(());
        };
        let started = Instant::now();
        for id in to_ask {
            if started.elapsed() > TURN {
                return Err(NotReady::Busy);
            }
            let found = schema(client, id)?;
            let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
            let was_missing = matches!(entries.get(&id), Some(Entry::Missing(_) | Entry::Unknown(..)));
            let entry = match found {
                Ok(schema) => Entry::Known(Arc::new(schema)),
                Err(Absent::NotFound) if !was_missing => {
                    waits = true;
                    Entry::Missing(Instant::now())
                }
                Err(Absent::NotFound) => {
                    tracing::warn!(schema_id = id, "the schema registry does not know a number that records carry");
                    Entry::Unknown(format!("the schema registry does not know schema {id}").into(), Instant::now())
                }
                Err(Absent::Unreadable(reason)) => Entry::Unknown(reason.into(), Instant::now()),
            };
            entries.insert(id, entry);
        }
        if waits { Err(NotReady::Busy) } else { Ok(()) }
    }

    /// Registers a schema under a subject, or finds it there, and returns its number.
    pub fn register(
        &self,
        subject: &str,
        language: SchemaLanguage,
        text: &str,
        may_register: bool,
    ) -> Result<u32, RegisterError> {
        let Some(client) = &self.client else { return Ok(self.register_in_memory(language, text)) };
        let body = match language {
            SchemaLanguage::Avro => json!({ "schema": text }),
            other => json!({ "schema": text, "schemaType": other.name() }),
        };
        let path = match may_register {
            true => format!("subjects/{}/versions", encode(subject)),
            false => format!("subjects/{}", encode(subject)),
        };
        let refused = |reason: String| Err(RegisterError::Refused(format!("subject `{subject}`: {reason}")));
        match client.post(&path, &body).map_err(RegisterError::Unavailable)? {
            Answer::Ok(answer) => match answer.get("id").and_then(serde_json::Value::as_u64).map(u32::try_from) {
                Some(Ok(id)) => Ok(id),
                _ => Err(RegisterError::Unavailable("the schema registry answered without an id".to_owned())),
            },
            Answer::Refused { status: 409, message, .. } => {
                let level = self.compatibility(client, subject);
                refused(format!("the new schema is not compatible ({level}) with the one that is there: {message}"))
            }
            Answer::Refused { code: 40401 | SCHEMA_NOT_FOUND, .. } if !may_register => {
                refused("the schema is not registered there, and `auto_register` is false".to_owned())
            }
            Answer::Refused { message, .. } => refused(message),
        }
    }

    fn register_in_memory(&self, language: SchemaLanguage, text: &str) -> u32 {
        let schema = RegisteredSchema { language, text: text.to_owned(), references: Vec::new() };
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let same = entries.iter().find(|(_, entry)| matches!(entry, Entry::Known(known) if **known == schema));
        let id = same.map_or_else(|| entries.keys().max().copied().unwrap_or(0) + 1, |(id, _)| *id);
        entries.insert(id, Entry::Known(Arc::new(schema)));
        id
    }

    /// Which changes of a subject's schema the registry takes; only for messages.
    fn compatibility(&self, client: &Client, subject: &str) -> String {
        let answer = client.get(&format!("config/{}?defaultToGlobal=true", encode(subject)));
        match answer {
            Ok(Answer::Ok(answer)) => answer
                .get("compatibilityLevel")
                .and_then(|level| level.as_str())
                .map_or_else(|| "level unknown".to_owned(), str::to_owned),
            _ => "level unknown".to_owned(),
        }
    }

    /// Asks whether the registry answers as one; the reason says what is wrong otherwise.
    pub fn check(&self) -> Result<(), String> {
        match &self.client {
            None => Ok(()),
            Some(client) => client.get("subjects").map(|_| ()),
        }
    }
}

/// Why a number has no usable schema.
enum Absent {
    NotFound,
    Unreadable(String),
}

/// Asks for a schema and all that it refers to.
fn schema(client: &Client, id: u32) -> Result<Result<RegisteredSchema, Absent>, NotReady> {
    let answer = match client.get(&format!("schemas/ids/{id}")).map_err(NotReady::Unavailable)? {
        Answer::Ok(answer) => answer,
        Answer::Refused { code: SCHEMA_NOT_FOUND, .. } => return Ok(Err(Absent::NotFound)),
        Answer::Refused { status, message, .. } => {
            return Err(NotReady::Unavailable(format!("the schema registry answered {status}: {message}")));
        }
    };
    let unreadable = |reason: &str| Ok(Err(Absent::Unreadable(format!("schema {id}: {reason}"))));
    let Some(text) = answer.get("schema").and_then(|s| s.as_str()) else {
        return Err(NotReady::Unavailable("the schema registry answered without a schema".to_owned()));
    };
    let Some(language) = SchemaLanguage::of(answer.get("schemaType").and_then(|t| t.as_str())) else {
        return unreadable("in a language that cannot be read");
    };
    let mut references = Vec::new();
    let mut n_asked = 0;
    if let Err(reason) = resolve(client, &answer, &mut references, &mut n_asked, 0)? {
        return unreadable(&reason);
    }
    Ok(Ok(RegisteredSchema { language, text: text.to_owned(), references }))
}

/// Adds the schemas that an answer refers to, those that they refer to first.
fn resolve(
    client: &Client,
    answer: &serde_json::Value,
    found: &mut Vec<(String, String)>,
    n_asked: &mut usize,
    depth: usize,
) -> Result<Result<(), String>, NotReady> {
    let references = answer.get("references").and_then(|r| r.as_array()).map(Vec::as_slice).unwrap_or_default();
    for reference in references {
        let text = |name: &str| reference.get(name).and_then(|v| v.as_str()).unwrap_or_default();
        let (name, subject) = (text("name"), text("subject"));
        if found.iter().any(|(known, _)| known == name) {
            continue;
        }
        *n_asked += 1;
        if *n_asked > REFERENCES_MAX || depth > REFERENCES_MAX {
            return Ok(Err(format!("it refers to more than {REFERENCES_MAX} others")));
        }
        let version = reference.get("version").and_then(serde_json::Value::as_u64).unwrap_or(0);
        let path = format!("subjects/{}/versions/{version}", encode(subject));
        let inner = match client.get(&path).map_err(NotReady::Unavailable)? {
            Answer::Ok(inner) => inner,
            Answer::Refused { message, .. } => return Ok(Err(format!("it refers to `{name}`: {message}"))),
        };
        if let Err(reason) = resolve(client, &inner, found, n_asked, depth + 1)? {
            return Ok(Err(reason));
        }
        let text = inner.get("schema").and_then(|s| s.as_str()).unwrap_or_default();
        found.push((name.to_owned(), text.to_owned()));
    }
    Ok(Ok(()))
}

/// A subject as a part of a path.
fn encode(subject: &str) -> String {
    subject.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.extend([byte >> 4, byte & 15].into_iter().filter_map(|d| char::from_digit(d.into(), 16)));
        }
        out
    })
}

#[cfg(test)]
mod tests;
