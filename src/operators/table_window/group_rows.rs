//! GROUP BY within partitions: one row a group, from rows that mostly lie group by group already.

use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::compute::{SortOptions, take};
use arrow::datatypes::{DataType, SchemaRef};

use super::kernels;
use super::layout::{Layout, column};
use super::{KernelStep, WindowKernel};
use crate::operators::OperatorError;

/// Groups the rows of each partition and makes one row of each group.
#[derive(Clone, Debug)]
pub struct GroupStep {
    /// The columns that rows of one group share; handed on first.
    pub keys: Vec<usize>,
    /// The order of the rows within a group.
    pub order: Vec<(usize, SortOptions)>,
    /// The aggregates, one output column each.
    pub aggregates: Vec<GroupAggregate>,
    /// The keys, then the aggregates.
    pub schema: SchemaRef,
}

/// The aggregates that a [`GroupStep`] knows.
#[derive(Clone, Debug, PartialEq)]
pub enum GroupAggregate {
    /// What a window function that runs to the end of the group says there.
    Running(WindowKernel),
    /// All values of a column in the order of the group, nulls too.
    Values(usize),
}

/// Refuses a step that cannot be computed.
pub(super) fn check(step: &GroupStep) -> Result<(), OperatorError> {
    if step.schema.fields().len() != step.keys.len() + step.aggregates.len() {
        return Err(OperatorError::Function("a grouping has one column a key and aggregate".into()));
    }
    kernels::check(&running(step))
}

/// The running functions of a step, as a step of their own.
fn running(step: &GroupStep) -> KernelStep {
    let fields = step.schema.fields().iter().skip(step.keys.len());
    let functions = step.aggregates.iter().zip(fields).filter_map(|(aggregate, field)| match aggregate {
        GroupAggregate::Running(kernel) => Some((kernel.clone(), field.clone())),
        GroupAggregate::Values(_) => None,
    });
    KernelStep { partition: step.keys.clone(), order: step.order.clone(), functions: functions.collect() }
}

/// One row for each group of the rows.
pub(super) fn group(step: &GroupStep, rows: &RecordBatch) -> Result<RecordBatch, OperatorError> {
    let layout = Layout::new(&running(step), rows)?;
    let last_of_group = layout.windows().map(|group| layout.row(group.end - 1) as u32);
    let last_of_group = UInt32Array::from_iter_values(last_of_group);
    let mut columns = Vec::with_capacity(step.schema.fields().len());
    for key in &step.keys {
        columns.push(take(&column(rows, *key)?, &last_of_group, None)?);
    }
    for (aggregate, field) in step.aggregates.iter().zip(step.schema.fields().iter().skip(step.keys.len())) {
        columns.push(match aggregate {
            GroupAggregate::Running(kernel) => {
                let values = kernels::evaluate(kernel, field, rows, &layout, None)?;
                take(&values, &last_of_group, None)?
            }
            GroupAggregate::Values(of) => lists(&column(rows, *of)?, field.data_type(), &layout)?,
        });
    }
    let options = RecordBatchOptions::new().with_row_count(Some(last_of_group.len()));
    Ok(RecordBatch::try_new_with_options(step.schema.clone(), columns, &options)?)
}

/// The values of each group as a list.
fn lists(values: &ArrayRef, list: &DataType, layout: &Layout) -> Result<ArrayRef, OperatorError> {
    let DataType::List(item) = list else {
        return Err(OperatorError::Function(format!("values are gathered as {list}")));
    };
    let values = if layout.is_in_order() {
        values.clone()
    } else {
        take(values, &UInt32Array::from_iter_values((0..layout.len()).map(|k| layout.row(k) as u32)), None)?
    };
    let mut offsets: Vec<i32> = Vec::with_capacity(layout.len() + 1);
    offsets.push(0);
    for group in layout.windows() {
        let end = i32::try_from(group.end);
        offsets.push(end.map_err(|_| OperatorError::Function("too many values in the groups touched at once".into()))?);
    }
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    Ok(Arc::new(ListArray::try_new(item.clone(), offsets, values, None)?))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray, Int64Array, StringArray};
    use arrow::datatypes::{Field, Int64Type, Schema};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    use super::super::Frame;
    use super::*;

    fn step() -> GroupStep {
        let list = DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)));
        GroupStep {
            keys: vec![0],
            order: vec![(1, SortOptions { descending: true, nulls_first: true })],
            aggregates: vec![
                GroupAggregate::Values(2),
                GroupAggregate::Running(WindowKernel::Min { column: 1, frame: Frame::Rows }),
                GroupAggregate::Running(WindowKernel::Sum { column: 1, frame: Frame::Rows }),
                GroupAggregate::Running(WindowKernel::Count { column: Some(1), frame: Frame::Rows }),
            ],
            schema: Arc::new(Schema::new(vec![
                Field::new("key", DataType::Int64, true),
                Field::new("texts", list, true),
                Field::new("min", DataType::Int64, true),
                Field::new("sum", DataType::Int64, true),
                Field::new("count", DataType::Int64, true),
            ])),
        }
    }

    proptest! {
        #[test]
        fn groups_are_those_of_a_map_whatever_the_order_of_rows(
            rows in prop::collection::vec((prop::option::of(0i64..4), prop::option::of(-9i64..9)), 0..40),
        ) {
            let texts: Vec<Option<String>> = (0..rows.len()).map(|i| (i % 5 > 0).then(|| format!("t{i}"))).collect();
            let keys: Int64Array = rows.iter().map(|r| r.0).collect();
            let values: Int64Array = rows.iter().map(|r| r.1).collect();
            let batch = RecordBatch::try_from_iter_with_nullable([
                ("key", Arc::new(keys) as ArrayRef, true),
                ("value", Arc::new(values), true),
                ("text", Arc::new(StringArray::from(texts.clone())), true),
            ]).unwrap();
            let grouped = group(&step(), &batch).unwrap();

            let mut model: BTreeMap<Option<i64>, Vec<usize>> = BTreeMap::new();
            rows.iter().enumerate().for_each(|(i, (key, _))| model.entry(*key).or_default().push(i));
            prop_assert_eq!(grouped.num_rows(), model.len());
            for (at, (key, mut members)) in model.into_iter().enumerate() {
                // Descending with nulls first; equal values as they came.
                members.sort_by_key(|i| rows[*i].1.map(|v| -v));
                let own: Vec<i64> = members.iter().filter_map(|i| rows[*i].1).collect();
                let int = |c: usize| {
                    let column = grouped.column(c).as_primitive::<Int64Type>();
                    column.is_valid(at).then(|| column.value(at))
                };
                prop_assert_eq!(int(0), key);
                prop_assert_eq!(int(2), own.iter().min().copied());
                prop_assert_eq!(int(3), (!own.is_empty()).then(|| own.iter().sum()));
                prop_assert_eq!(int(4), Some(own.len() as i64));
                let list = grouped.column(1).as_list::<i32>().value(at);
                let got: Vec<Option<String>> = list.as_string::<i32>().iter().map(|t| t.map(str::to_owned)).collect();
                let wanted: Vec<Option<String>> = members.iter().map(|i| texts[*i].clone()).collect();
                prop_assert_eq!(got, wanted);
            }
        }
    }
}
