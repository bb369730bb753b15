//! What a pack says of the records of a topic: their format, that of their keys, and the options that go with it.

use std::sync::Arc;

/// How the values of a topic's records look. The names are those of Flink SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a record.
    Json,
    /// One row of comma-separated values a record, without names, in the order in which columns are declared.
    Csv,
    /// One Avro datum a record, all of one schema, which is in a file.
    Avro,
    /// One Avro datum a record behind the number of its schema in a registry.
    AvroConfluent,
    /// One message of Protocol Buffers a record, all of one type, which is in a file.
    Protobuf,
    /// One message a record behind the number of its schema in a registry and its place therein.
    ProtobufConfluent,
    /// Changes of a database's table in JSON.
    DebeziumJson,
    /// The same in Avro behind the number of its schema.
    DebeziumAvroConfluent,
}

impl Format {
    /// Every format and its name.
    pub const ALL: [(&'static str, Self); 8] = [
        ("json", Self::Json),
        ("csv", Self::Csv),
        ("avro", Self::Avro),
        ("avro-confluent", Self::AvroConfluent),
        ("protobuf", Self::Protobuf),
        ("protobuf-confluent", Self::ProtobufConfluent),
        ("debezium-json", Self::DebeziumJson),
        ("debezium-avro-confluent", Self::DebeziumAvroConfluent),
    ];

    /// The name in SQL.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, format)| *format == self).map_or("", |(name, _)| name)
    }

    /// Whether records are changes of a table.
    pub fn is_changelog(self) -> bool {
        matches!(self, Self::DebeziumJson | Self::DebeziumAvroConfluent)
    }

    /// Whether records tell the number of their schema.
    pub fn needs_registry(self) -> bool {
        matches!(self, Self::AvroConfluent | Self::ProtobufConfluent | Self::DebeziumAvroConfluent)
    }

    /// Whether the schema of all records is in a file.
    pub fn needs_schema_file(self) -> bool {
        matches!(self, Self::Avro | Self::Protobuf)
    }

    /// How keys look unless something else is said.
    pub fn default_key(self) -> KeyFormat {
        match self {
            Self::DebeziumJson => KeyFormat::Json,
            Self::DebeziumAvroConfluent => KeyFormat::AvroConfluent,
            _ => KeyFormat::Text,
        }
    }
}

/// How the keys of a topic's records look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFormat {
    /// One column as its text in JSON without quotes, several as a JSON array.
    Text,
    /// A JSON object of the key columns, also in Kafka Connect's wrapper of schema and payload.
    Json,
    /// An Avro record of the key columns, or the only one itself, behind the number of its schema.
    AvroConfluent,
    /// A message of the key columns behind the number of its schema.
    ProtobufConfluent,
}

impl KeyFormat {
    /// Every format of keys and its name.
    pub const ALL: [(&'static str, Self); 4] = [
        ("text", Self::Text),
        ("json", Self::Json),
        ("avro-confluent", Self::AvroConfluent),
        ("protobuf-confluent", Self::ProtobufConfluent),
    ];

    /// The name in SQL.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, format)| *format == self).map_or("", |(name, _)| name)
    }

    /// Whether keys tell the number of their schema.
    pub fn needs_registry(self) -> bool {
        matches!(self, Self::AvroConfluent | Self::ProtobufConfluent)
    }
}

/// What numbers of a column with time in it count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EpochUnit {
    /// Milliseconds since the Unix epoch.
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// Nanoseconds.
    Nanoseconds,
}

impl EpochUnit {
    /// A number in milliseconds; further digits are cut.
    pub(super) fn to_ms(self, value: i64) -> i64 {
        match self {
            Self::Milliseconds => value,
            Self::Microseconds => value.div_euclid(1_000),
            Self::Nanoseconds => value.div_euclid(1_000_000),
        }
    }
}

/// The format of a topic's records with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatSpec {
    /// Of the values.
    pub format: Format,
    /// Of the keys.
    pub key: KeyFormat,
    /// What separates the cells of a row (`delimiter`).
    pub delimiter: u8,
    /// The cell that is null (`null_literal`); none: an empty cell is.
    pub null_literal: Option<String>,
    /// What numbers in TIMESTAMP columns of Debezium's JSON count, where the record does not say (`epoch_unit`).
    pub epoch_unit: Option<EpochUnit>,
    /// The file of the schema, relative to the pack (`schema_file`).
    pub schema_file: Option<String>,
    /// What that file holds, once it has been read.
    pub schema: Option<Arc<[u8]>>,
    /// The message of the schema (`message`); none: the only one, or the first.
    pub message: Option<String>,
    /// Under which subject a sink's schema is registered (`subject`); none: that of the topic.
    pub subject: Option<String>,
    /// Whether a sink registers its schema; else it must be there (`auto_register`).
    pub auto_register: bool,
    /// Whether a record is rejected whose schema lacks a declared column; else that column is null (`missing_columns`).
    pub rejects_missing: bool,
}

impl FormatSpec {
    /// A format with nothing said about it.
    pub fn new(format: Format) -> Self {
        Self {
            format,
            key: format.default_key(),
            delimiter: b',',
            null_literal: None,
            epoch_unit: None,
            schema_file: None,
            schema: None,
            message: None,
            subject: None,
            auto_register: true,
            rejects_missing: false,
        }
    }

    /// Whether a registry must be reached to read or write such records.
    pub fn needs_registry(&self) -> bool {
        self.format.needs_registry() || self.key.needs_registry()
    }
}

impl Default for FormatSpec {
    fn default() -> Self {
        Self::new(Format::Json)
    }
}
