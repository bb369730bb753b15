//! Keyed state in memory: byte strings in an arena, an index from keys to dense ids, Z-sets of rows by key.
//!
//! Rows and keys are held in arrow's row format, whose byte order is the order of the columns it was made from.
//! No heap object per row: bytes lie in chunks of one MiB, everything else in flat vectors.

mod arena;
mod key_index;
mod weighted_rows;
mod zset;

pub use arena::RowArena;
pub use key_index::KeyIndex;
pub use weighted_rows::{RowUpdate, WeightedRows};
pub use zset::ZSetIndex;
