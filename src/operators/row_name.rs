//! Names of rows that follow from state, under which they leave and by which they are sorted: see [`Order::Key`].

use crate::stream::Order;

/// What a row follows from.
#[derive(Clone, Copy)]
pub(super) enum Cause<'a> {
    /// A row that arrived, by its place in a batch of this order.
    Arrival(&'a Order, usize),
    /// That an instant (milliseconds) was passed.
    Passed(i64),
}

/// The name of a row: what it follows from, its key, and the number of the epoch among those in which rows left.
///
/// Rows that follow from arrivals come first, in reading order. Names of different epochs differ as long as no two shards
/// have rows of one key.
pub(super) fn row_name(cause: Cause<'_>, key: &[u8], epoch: u64) -> Vec<u8> {
    let mut name = Vec::with_capacity(24 + key.len());
    match cause {
        Cause::Arrival(Order::Sequence(numbers), row) => {
            name.push(0);
            name.extend_from_slice(&numbers.get(row).copied().unwrap_or_default().to_be_bytes());
        }
        Cause::Arrival(Order::Key(keys), row) => {
            name.push(1);
            name.extend_from_slice(keys.value(row));
        }
        Cause::Arrival(Order::Unordered, row) => {
            name.push(2);
            name.extend_from_slice(&(row as u64).to_be_bytes());
        }
        Cause::Passed(instant_ms) => {
            name.push(3);
            name.extend_from_slice(&(instant_ms ^ i64::MIN).to_be_bytes());
        }
    }
    name.extend_from_slice(key);
    name.extend_from_slice(&(key.len() as u32).to_be_bytes());
    name.extend_from_slice(&epoch.to_be_bytes());
    name
}
