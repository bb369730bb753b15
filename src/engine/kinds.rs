//! Rows of a sink by the value of one column: its option `count_by`.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;

use crate::stream::ChangeBatch;

/// How many values are told apart.
const KINDS_MAX: usize = 32;
/// A longer text is no name of a kind, in bytes.
const KIND_BYTES_MAX: usize = 64;
/// The kind of all values beyond the limits.
const OTHER: &str = "other";
/// The kind of rows without a value.
const NONE: &str = "(none)";

/// Rows by kind.
pub type Kinds = BTreeMap<Arc<str>, u64>;

/// Adds the rows of an epoch to `total` and returns what was added. Values that come after the first 32 are `other`.
pub(super) fn count(total: &mut Kinds, changes: &ChangeBatch, column: usize) -> Kinds {
    let mut added = Kinds::new();
    if changes.is_empty() || column >= changes.rows.num_columns() {
        return added;
    }
    let values = changes.rows.column(column);
    let mut add = |value: Option<&str>| {
        let value = value.unwrap_or(NONE);
        if let Some(n) = added.get_mut(value) {
            *n += 1;
            return;
        }
        let n_known =
            total.keys().chain(added.keys().filter(|k| !total.contains_key(*k))).filter(|k| &***k != OTHER).count();
        let is_kind = total.contains_key(value) || (value.len() <= KIND_BYTES_MAX && n_known < KINDS_MAX);
        *added.entry(if is_kind { value } else { OTHER }.into()).or_default() += 1;
    };
    match values.data_type() {
        DataType::Utf8 => values.as_string::<i32>().iter().for_each(&mut add),
        DataType::LargeUtf8 => values.as_string::<i64>().iter().for_each(&mut add),
        DataType::Utf8View => values.as_string_view().iter().for_each(&mut add),
        // Planning lets text through only.
        _ => {}
    }
    for (kind, n) in &added {
        *total.entry(kind.clone()).or_default() += n;
    }
    added
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, RecordBatch, StringArray, StringViewArray};

    use super::*;

    fn changes(values: ArrayRef) -> ChangeBatch {
        let n = values.len() as u64;
        let rows = RecordBatch::try_from_iter_with_nullable([("action", values, true)]).unwrap();
        ChangeBatch::stream(rows, (0..n).collect())
    }

    #[test]
    fn rows_are_counted_by_value_in_every_form_of_text() {
        let mut total = Kinds::new();
        let values = [Some("reminder"), None, Some("visit"), Some("reminder")];
        let added = count(&mut total, &changes(Arc::new(StringArray::from(values.to_vec()))), 0);
        assert_eq!(added, Kinds::from([("(none)".into(), 1), ("reminder".into(), 2), ("visit".into(), 1)]));
        count(&mut total, &changes(Arc::new(StringViewArray::from(values.to_vec()))), 0);
        assert_eq!(total[&Arc::from("reminder")], 4);
        assert_eq!(count(&mut total, &changes(Arc::new(StringArray::from(values.to_vec()))), 9), Kinds::new());
    }

    #[test]
    fn however_many_values_there_are_no_row_is_lost_and_there_are_at_most_33_kinds() {
        let mut total = Kinds::new();
        for epoch in 0..3 {
            let values: Vec<String> = (0..100).map(|i| format!("{}", epoch * 20 + i)).collect();
            count(&mut total, &changes(Arc::new(StringArray::from(values))), 0);
        }
        count(&mut total, &changes(Arc::new(StringArray::from(vec!["x".repeat(65)]))), 0);
        assert_eq!((total.len(), total.values().sum::<u64>()), (KINDS_MAX + 1, 301));
        assert_eq!(total[&Arc::from("0")], 1, "the first values keep their names");
        assert_eq!(total[&Arc::from(OTHER)], 301 - 32 - 12, "a known kind is counted as such ever after");
    }
}
