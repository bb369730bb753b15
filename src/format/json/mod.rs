//! One JSON object a record: [`Decoder`] reads records into columns, [`Encoder`] writes rows.
//!
//! A record goes `scan` (the usual form, key order guessed from the record before) or `parse` (anything else), then each
//! field through `cell` (typed, checked), then, if nothing in it is wrong, into the `column`s. Both ways into `cell` accept
//! the same language and yield the same values.

pub(super) mod cell;
pub(super) mod column;
pub(super) mod decode;
pub(super) mod encode;
pub(super) mod instant;
pub(super) mod key;
pub(super) mod number;
pub(super) mod parse;
pub(super) mod scan;
pub(super) mod value;

use arrow::datatypes::DataType;

pub use decode::{DecodeColumn, DecodeSpec, Decoded, Decoder, Rejected, Wire};
pub use encode::{Encoded, Encoder};

/// A column's type has no JSON form here; the column must be cast or left out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("type {0} cannot be read from or written to JSON")]
pub struct UnsupportedType(pub DataType);

/// The name of a type in SQL; Arrow's own where it has none here.
pub fn sql_type(data_type: &DataType) -> String {
    cell::Kind::of(data_type).map_or_else(|_| data_type.to_string(), |kind| kind.to_string())
}

/// The field that marks a line as the deletion of a key.
pub(super) const TOMBSTONE: &str = "_tombstone";
