//! Comma-separated values: files with a row of names ([`CsvReader`]), and records of topics whose columns come in the order
//! of declaration.

mod encode;
mod file;
mod record;

pub use file::CsvReader;

pub(super) use encode::CsvEncoder;
pub(super) use record::CsvRecord;
