//! Descriptions of messages: the text of a `.proto` file with what it imports, or a compiled set of descriptors.

use prost_reflect::prost::Message as _;
use prost_reflect::prost_types::FileDescriptorSet;
use prost_reflect::{DescriptorPool, FileDescriptor, MessageDescriptor};
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};
use protox::{Compiler, Error};

/// What a text is called among the files that it imports.
const ROOT: &str = "curb_root.proto";

/// Files that schemas import without anyone handing them out.
const KNOWN: [(&str, &str); 5] = [
    (
        "confluent/meta.proto",
        r#"syntax = "proto3"; package confluent; import "google/protobuf/descriptor.proto";
        message Meta { string doc = 1; map<string, string> params = 2; repeated string tags = 3; }
        extend google.protobuf.FileOptions { Meta file_meta = 1088; }
        extend google.protobuf.MessageOptions { Meta message_meta = 1088; }
        extend google.protobuf.FieldOptions { Meta field_meta = 1088; }
        extend google.protobuf.EnumOptions { Meta enum_meta = 1088; }
        extend google.protobuf.EnumValueOptions { Meta enum_value_meta = 1088; }"#,
    ),
    (
        "confluent/type/decimal.proto",
        r#"syntax = "proto3"; package confluent.type;
        message Decimal { bytes value = 1; uint32 precision = 2; int32 scale = 3; }"#,
    ),
    (
        "google/type/date.proto",
        r#"syntax = "proto3"; package google.type; message Date { int32 year = 1; int32 month = 2; int32 day = 3; }"#,
    ),
    (
        "google/type/timeofday.proto",
        r#"syntax = "proto3"; package google.type;
        message TimeOfDay { int32 hours = 1; int32 minutes = 2; int32 seconds = 3; int32 nanos = 4; }"#,
    ),
    (
        "google/type/latlng.proto",
        r#"syntax = "proto3"; package google.type; message LatLng { double latitude = 1; double longitude = 2; }"#,
    ),
];

/// The messages of a file and of those that it imports.
#[derive(Clone, Debug)]
pub(super) struct Description {
    file: FileDescriptor,
    pool: DescriptorPool,
}

/// Files by name and text.
struct Texts(Vec<(String, String)>);

impl FileResolver for Texts {
    fn open_file(&self, name: &str) -> Result<File, Error> {
        match self.0.iter().find(|(known, _)| known == name) {
            Some((_, text)) => File::from_source(name, text),
            None => Err(Error::file_not_found(name)),
        }
    }
}

impl Description {
    /// Of the text of a `.proto` file, which is told too, or of a set of descriptors as
    /// `protoc --descriptor_set_out --include_imports` writes it.
    pub(super) fn of_file(file: &[u8]) -> Result<(Self, Option<String>), String> {
        // The fields of descriptors have numbers that are control characters as text.
        match std::str::from_utf8(file) {
            Ok(text) if !text.contains('\u{12}') => Ok((Self::of_text(text, &[])?, Some(text.to_owned()))),
            _ => {
                let broken = |e: &dyn std::fmt::Display| format!("not a set of descriptors: {e}");
                let set = FileDescriptorSet::decode(file).map_err(|e| broken(&e))?;
                // The pool panics where it would refuse these.
                if let Some(other) =
                    set.file.iter().find(|f| !matches!(f.syntax.as_deref(), None | Some("proto2" | "proto3")))
                {
                    let (name, syntax) = (other.name().escape_debug(), other.syntax().escape_debug());
                    return Err(format!("file `{name}` is written in `{syntax}`; only proto2 and proto3 can be read"));
                }
                let pool = DescriptorPool::decode(file).map_err(|e| broken(&e))?;
                // Imports come before what imports them.
                let file = pool.files().last().ok_or("a set of no descriptors")?;
                Ok((Self { file, pool }, None))
            }
        }
    }

    /// Of the text of a file, with the name and text of each that it imports.
    pub(super) fn of_text(text: &str, references: &[(String, String)]) -> Result<Self, String> {
        let mut texts = vec![(ROOT.to_owned(), text.to_owned())];
        // The first of a name counts.
        texts.extend(references.iter().cloned());
        texts.extend(KNOWN.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())));
        let mut resolver = ChainFileResolver::new();
        resolver.add(Texts(texts));
        resolver.add(GoogleFileResolver::new());
        let mut compiler = Compiler::with_file_resolver(resolver);
        compiler.open_file(ROOT).map_err(|e| format!("the schema cannot be compiled: {e}"))?;
        let pool = compiler.descriptor_pool();
        let file = pool.get_file_by_name(ROOT).ok_or("the schema has no file")?;
        Ok(Self { file, pool })
    }

    /// The message of a name, with or without its package; without a name the first of the file.
    pub(super) fn message(&self, name: Option<&str>) -> Result<MessageDescriptor, String> {
        let Some(name) = name else {
            return self.file.messages().next().ok_or_else(|| "the schema has no message".to_owned());
        };
        if let Some(message) = self.pool.get_message_by_name(name) {
            return Ok(message);
        }
        let found = self.pool.all_messages().find(|m| m.name() == name);
        found.ok_or_else(|| format!("the schema has no message `{name}`"))
    }

    /// The message at a place: its number in the file, then that within it, and so on.
    pub(super) fn message_at(&self, place: &[i64]) -> Result<MessageDescriptor, String> {
        let nth = |idx: &i64| usize::try_from(*idx).unwrap_or(usize::MAX);
        let mut place = place.iter();
        let mut message = place.next().and_then(|idx| self.file.messages().nth(nth(idx)));
        for idx in place {
            message = message.and_then(|m| m.child_messages().nth(nth(idx)));
        }
        message.ok_or_else(|| "the schema has no message at the place that the record tells".to_owned())
    }
}
