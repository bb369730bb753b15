//! The options that say how the records of a topic look: the format, and what goes with it.

use super::options::{OptionReader, Owner};
use super::{EpochUnit, Format, FormatSpec, KeyFormat};
use crate::dialect::{Diagnostic, codes};

/// Options that mean something in these formats only, and what they are called together.
const OPTIONS_OF: [(&str, &[Format], &str); 8] = [
    ("delimiter", &[Format::Csv], "format = 'csv'"),
    ("null_literal", &[Format::Csv], "format = 'csv'"),
    (
        "schema_file",
        &[Format::Avro, Format::AvroConfluent, Format::Protobuf, Format::ProtobufConfluent],
        "a format in Avro or Protobuf",
    ),
    ("message", &[Format::Protobuf, Format::ProtobufConfluent], "a format in Protobuf"),
    (
        "missing_columns",
        &[
            Format::Avro,
            Format::AvroConfluent,
            Format::Protobuf,
            Format::ProtobufConfluent,
            Format::DebeziumAvroConfluent,
        ],
        "a format whose records have a schema",
    ),
    ("epoch_unit", &[Format::DebeziumJson], "format = 'debezium-json'"),
    ("subject", &OF_A_REGISTRY, "a format with a schema registry"),
    ("auto_register", &OF_A_REGISTRY, "a format with a schema registry"),
];
const OF_A_REGISTRY: [Format; 3] = [Format::AvroConfluent, Format::ProtobufConfluent, Format::DebeziumAvroConfluent];

impl OptionReader<'_> {
    /// The format with its options; JSON unless another is given.
    pub(super) fn format(&mut self) -> FormatSpec {
        let format = self.choice("format", &Format::ALL).unwrap_or(Format::Json);
        let mut spec = FormatSpec::new(format);
        if let Some(key) = self.choice("key_format", &KeyFormat::ALL) {
            spec.key = key;
        }
        spec.delimiter = self.delimiter().unwrap_or(b',');
        spec.null_literal = self.text("null_literal").map(|(text, _)| text.to_owned());
        spec.schema_file = self.text("schema_file").map(|(text, _)| text.to_owned());
        spec.message = self.text("message").map(|(text, _)| text.to_owned());
        spec.rejects_missing = self.choice("missing_columns", &[("null", false), ("reject", true)]).unwrap_or(false);
        spec.epoch_unit = self.choice(
            "epoch_unit",
            &[
                ("milliseconds", EpochUnit::Milliseconds),
                ("microseconds", EpochUnit::Microseconds),
                ("nanoseconds", EpochUnit::Nanoseconds),
            ],
        );
        spec.subject = self.text("subject").map(|(text, _)| text.to_owned());
        spec.auto_register = self.boolean("auto_register").unwrap_or(true);
        self.check_format(&spec);
        spec
    }

    fn delimiter(&mut self) -> Option<u8> {
        let option = self.given("delimiter")?;
        // A tab and other blanks are texts, too.
        let text = match &option.value {
            crate::dialect::OptionValue::Text(text) => text.as_str(),
            _ => "",
        };
        match text.as_bytes() {
            b"\\t" => Some(b'\t'),
            [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n') => Some(*byte),
            _ => {
                self.refuse(
                    option,
                    "is not one character",
                    "Write one ASCII character that is no quote, as ';' or '\\t'.",
                );
                None
            }
        }
    }

    /// Reports options that contradict the format, or are missing.
    fn check_format(&mut self, spec: &FormatSpec) {
        for (name, formats, needed) in OPTIONS_OF {
            if let Some(option) = self.given(name).filter(|_| !formats.contains(&spec.format)) {
                let message = format!("option `{name}` of {} needs {needed}", self.subject);
                self.findings.push(
                    Diagnostic::new(codes::OPTION_CONFLICT, option.name.span, message)
                        .hint(format!("Leave it out: the format is '{}'.", spec.format.name())),
                );
            }
        }
        if let Some(option) =
            self.given("schema_file").filter(|_| self.owner != Owner::Sink && spec.format.needs_registry())
        {
            let message = format!("option `schema_file` of {} contradicts its format", self.subject);
            self.findings.push(
                Diagnostic::new(codes::OPTION_CONFLICT, option.name.span, message)
                    .hint("Leave it out: each record tells which schema of the registry it was written with."),
            );
        }
        let Some(option) = self.given("format") else { return };
        let name = spec.format.name();
        let mut refuse = |reason: &str, hint: String| {
            let message = format!("format '{name}' {reason} {}", self.subject);
            self.findings.push(Diagnostic::new(codes::FORMAT, option.value_span, message).hint(hint));
        };
        if spec.format.is_changelog() && self.owner == Owner::SourceStream {
            refuse("tells changes of rows, but events are what is in", "Declare a `TABLE` with a primary key.".into());
        }
        if spec.format.needs_schema_file() && spec.schema_file.is_none() {
            refuse("needs the option `schema_file` of", "Name the file of the schema, relative to the pack.".into());
        }
    }
}
