//! Bytes to Arrow and back: one folder a format.
//!
//! Decoding never fails as a whole: what cannot be read is handed back, record by record, with the reason. JSON with keys of
//! text has a way of its own, from bytes to columns; records of all other formats go through `rows`, which asks a
//! reader of values and one of keys. Both end in the same cells, checked by the same rules.

mod avro;
mod confluent;
pub mod csv;
mod debezium;
mod decode;
mod encode;
pub mod json;
mod key;
pub mod parquet;
mod protobuf;
mod registry;
mod rows;
mod spec;
mod value;

pub use decode::{DecoderSource, NO_REGISTRY, RecordDecoder};
pub use encode::RecordEncoder;
pub use registry::{NotReady, RegisterError, RegisteredSchema, RegistrySettings, SchemaLanguage, SchemaRegistry};
pub use spec::{EpochUnit, Format, FormatSpec, KeyFormat};

#[cfg(test)]
mod tests;
