//! Compares every epoch with a naive evaluation of whole tables, and the kernels with DataFusion's own functions.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, UInt64Type};
use proptest::prelude::*;

use super::*;
use crate::stream::Watermark;

/// A value of a row, comparable and printable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cell {
    Null,
    Int(i64),
    Text(String),
}
type Row = Vec<Cell>;
type Table = BTreeMap<Row, i64>;

fn int(cell: &Cell) -> Option<i64> {
    match cell {
        Cell::Int(i) => Some(*i),
        _ => None,
    }
}

fn compare(left: &Cell, right: &Cell, options: SortOptions) -> Ordering {
    match (left, right) {
        (Cell::Null, Cell::Null) => Ordering::Equal,
        (Cell::Null, _) if options.nulls_first => Ordering::Less,
        (Cell::Null, _) => Ordering::Greater,
        (_, Cell::Null) => compare(right, left, options).reverse(),
        _ if options.descending => right.cmp(left),
        _ => left.cmp(right),
    }
}

fn compare_by(left: &Row, right: &Row, order: &[(usize, SortOptions)]) -> Ordering {
    order.iter().map(|(c, o)| compare(&left[*c], &right[*c], *o)).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
}

fn schema(fields: &[(&str, DataType)]) -> SchemaRef {
    Arc::new(Schema::new(fields.iter().map(|(n, t)| Field::new(*n, t.clone(), true)).collect::<Vec<_>>()))
}

fn to_batch(schema: &SchemaRef, rows: &[Row]) -> RecordBatch {
    let column = |(idx, field): (usize, &Arc<Field>)| -> ArrayRef {
        match field.data_type() {
            DataType::Int64 => Arc::new(rows.iter().map(|r| int(&r[idx])).collect::<Int64Array>()),
            DataType::UInt64 => {
                Arc::new(rows.iter().map(|r| int(&r[idx]).map(|i| i as u64)).collect::<arrow::array::UInt64Array>())
            }
            _ => Arc::new(
                rows.iter()
                    .map(|r| if let Cell::Text(t) = &r[idx] { Some(t.clone()) } else { None })
                    .collect::<StringArray>(),
            ),
        }
    };
    RecordBatch::try_new(schema.clone(), schema.fields().iter().enumerate().map(column).collect()).unwrap()
}

fn to_rows(batch: &RecordBatch) -> Vec<Row> {
    let cell = |array: &ArrayRef, row: usize| match array.data_type() {
        _ if array.is_null(row) => Cell::Null,
        DataType::Int64 => Cell::Int(array.as_primitive::<Int64Type>().value(row)),
        DataType::UInt64 => Cell::Int(array.as_primitive::<UInt64Type>().value(row) as i64),
        _ => Cell::Text(array.as_string::<i32>().value(row).to_string()),
    };
    (0..batch.num_rows()).map(|r| batch.columns().iter().map(|c| cell(c, r)).collect()).collect()
}

/// A step, and the same on rows.
#[derive(Clone)]
struct Step {
    step: WindowStep,
    naive: Arc<dyn Fn(Vec<Row>) -> Vec<Row>>,
}

fn kernels(partition: &[usize], order: &[(usize, SortOptions)], functions: &[(WindowKernel, DataType)]) -> Step {
    let field = |(i, (k, t)): (usize, &(WindowKernel, DataType))| {
        (k.clone(), Arc::new(Field::new(format!("w{i}"), t.clone(), true)) as FieldRef)
    };
    let step = KernelStep {
        partition: partition.to_vec(),
        order: order.to_vec(),
        functions: functions.iter().enumerate().map(field).collect(),
    };
    let naive_step = step.clone();
    Step { step: WindowStep::Kernels(step), naive: Arc::new(move |rows| naive_kernels(&naive_step, rows)) }
}

fn naive_kernels(step: &KernelStep, rows: Vec<Row>) -> Vec<Row> {
    let mut out = rows.clone();
    for (idx, row) in rows.iter().enumerate() {
        let mut window: Vec<usize> =
            (0..rows.len()).filter(|i| step.partition.iter().all(|c| rows[*i][*c] == row[*c])).collect();
        window.sort_by(|a, b| compare_by(&rows[*a], &rows[*b], &step.order));
        let at = window.iter().position(|i| *i == idx).unwrap();
        for (kernel, _) in &step.functions {
            out[idx].push(naive_value(kernel, &rows, &window, at, &step.order));
        }
    }
    out
}

fn naive_value(
    kernel: &WindowKernel,
    rows: &[Row],
    window: &[usize],
    at: usize,
    order: &[(usize, SortOptions)],
) -> Cell {
    let value = |p: usize, c: usize| rows[window[p]][c].clone();
    let end = |frame: Frame| match frame {
        Frame::Rows => at,
        Frame::Range => {
            (at..window.len()).rfind(|p| compare_by(&rows[window[at]], &rows[window[*p]], order).is_eq()).unwrap_or(at)
        }
        Frame::Whole => window.len() - 1,
    };
    let values = |c: usize, frame: Frame| (0..=end(frame)).map(move |p| value(p, c)).filter(|v| *v != Cell::Null);
    match kernel {
        WindowKernel::RowNumber => Cell::Int(at as i64 + 1),
        WindowKernel::Lag { column, offset } => at.checked_sub(*offset).map_or(Cell::Null, |p| value(p, *column)),
        WindowKernel::Lead { column, offset } if at + offset < window.len() => value(at + offset, *column),
        WindowKernel::Lead { .. } => Cell::Null,
        WindowKernel::FirstValue { column, .. } => value(0, *column),
        WindowKernel::LastValue { column, frame } => value(end(*frame), *column),
        WindowKernel::Count { column: None, frame } => Cell::Int(end(*frame) as i64 + 1),
        WindowKernel::Count { column: Some(c), frame } => Cell::Int(values(*c, *frame).count() as i64),
        WindowKernel::Sum { column, frame } => {
            values(*column, *frame).filter_map(|v| int(&v)).reduce(i64::wrapping_add).map_or(Cell::Null, Cell::Int)
        }
        WindowKernel::Min { column, frame } => values(*column, *frame).min().unwrap_or(Cell::Null),
        WindowKernel::Max { column, frame } => values(*column, *frame).max().unwrap_or(Cell::Null),
    }
}

const KEY: usize = 0;
const GROUP: usize = 1;
const AT: usize = 2;
const VALUE: usize = 3;
const NAME: usize = 4;

fn input() -> SchemaRef {
    schema(&[
        ("key", DataType::Utf8),
        ("grp", DataType::Int64),
        ("at", DataType::Int64),
        ("value", DataType::Int64),
        ("name", DataType::Utf8),
    ])
}

fn options(descending: bool, nulls_first: bool) -> SortOptions {
    SortOptions { descending, nulls_first }
}

/// All functions that are computed forwards, over a frame.
fn forwards(frame: Frame) -> Vec<(WindowKernel, DataType)> {
    vec![
        (WindowKernel::RowNumber, DataType::UInt64),
        (WindowKernel::Lag { column: VALUE, offset: 1 }, DataType::Int64),
        (WindowKernel::Lag { column: NAME, offset: 3 }, DataType::Utf8),
        (WindowKernel::FirstValue { column: NAME, frame }, DataType::Utf8),
        (WindowKernel::LastValue { column: VALUE, frame }, DataType::Int64),
        (WindowKernel::Count { column: None, frame }, DataType::Int64),
        (WindowKernel::Count { column: Some(NAME), frame }, DataType::Int64),
        (WindowKernel::Sum { column: VALUE, frame }, DataType::Int64),
        (WindowKernel::Min { column: NAME, frame }, DataType::Utf8),
        (WindowKernel::Max { column: VALUE, frame }, DataType::Int64),
    ]
}

fn with_lead(mut functions: Vec<(WindowKernel, DataType)>) -> Vec<(WindowKernel, DataType)> {
    functions.push((WindowKernel::Lead { column: VALUE, offset: 2 }, DataType::Int64));
    functions
}

/// From (input, lag of `at`) to (key, at, 1 where a new session starts).
fn session_start(projection: bool) -> Step {
    let function: BatchFunction = Arc::new(|batch| {
        let out = schema(&[("key", DataType::Utf8), ("at", DataType::Int64), ("start", DataType::Int64)]);
        Ok(to_batch(&out, &naive_session_start(to_rows(batch))))
    });
    let step = if projection { WindowStep::Projection(function) } else { WindowStep::Function(function) };
    Step { step, naive: Arc::new(naive_session_start) }
}

fn naive_session_start(rows: Vec<Row>) -> Vec<Row> {
    let start = |r: &Row| match (int(&r[AT]), int(&r[NAME + 1])) {
        (Some(at), Some(before)) => i64::from(at - before > 1),
        _ => 1,
    };
    rows.into_iter().map(|r| vec![r[KEY].clone(), r[AT].clone(), Cell::Int(start(&r))]).collect()
}

/// Keeps rows whose last column is odd.
fn keep_odd() -> Step {
    let odd = |cell: &Cell| int(cell).is_some_and(|i| i % 2 == 1);
    let function: BatchFunction = Arc::new(move |batch| {
        let keep: BooleanArray = to_rows(batch).iter().map(|r| Some(r.last().is_some_and(odd))).collect();
        Ok(filter_record_batch(batch, &keep)?)
    });
    let naive = move |rows: Vec<Row>| rows.into_iter().filter(|r| r.last().is_some_and(odd)).collect();
    Step { step: WindowStep::Function(function), naive: Arc::new(naive) }
}

/// One row a key with its number of rows.
fn count_by_key() -> Step {
    let count = |rows: Vec<Row>| -> Vec<Row> {
        let mut counts: BTreeMap<Cell, i64> = BTreeMap::new();
        rows.iter().for_each(|r| *counts.entry(r[KEY].clone()).or_default() += 1);
        counts.into_iter().map(|(k, n)| vec![k, Cell::Int(n)]).collect()
    };
    let function: BatchFunction = Arc::new(move |batch| {
        Ok(to_batch(&schema(&[("key", DataType::Utf8), ("n", DataType::Int64)]), &count(to_rows(batch))))
    });
    Step { step: WindowStep::Function(function), naive: Arc::new(count) }
}

/// One row with the number of all rows, also of none.
fn count_all() -> Step {
    let count = |rows: Vec<Row>| vec![vec![Cell::Int(rows.len() as i64)]];
    let function: BatchFunction =
        Arc::new(move |batch| Ok(to_batch(&schema(&[("n", DataType::Int64)]), &count(to_rows(batch)))));
    Step { step: WindowStep::Function(function), naive: Arc::new(count) }
}

/// A query: number of keys and steps.
struct Query {
    n_keys: usize,
    steps: Vec<Step>,
}

fn queries(o: SortOptions) -> Vec<Query> {
    let sums = |column: usize, frame| vec![(WindowKernel::Sum { column, frame }, DataType::Int64)];
    let lag_at = [(WindowKernel::Lag { column: AT, offset: 1 }, DataType::Int64)];
    let sessions = |projection| {
        vec![
            kernels(&[KEY], &[(AT, o)], &lag_at),
            session_start(projection),
            kernels(&[0], &[(1, o)], &[sums(2, Frame::Rows), sums(2, Frame::Range)].concat()),
        ]
    };
    let one = |steps: Vec<Step>| Query { n_keys: 1, steps };
    vec![
        one(vec![kernels(&[KEY], &[(AT, o)], &forwards(Frame::Rows))]),
        one(vec![kernels(&[KEY], &[(AT, o)], &with_lead(forwards(Frame::Range)))]),
        one(vec![kernels(&[KEY], &[], &forwards(Frame::Whole))]),
        one(vec![kernels(&[KEY, GROUP], &[(VALUE, o), (AT, options(true, true))], &with_lead(forwards(Frame::Rows)))]),
        one(vec![
            kernels(&[KEY], &[(AT, o), (NAME, options(false, false))], &forwards(Frame::Range)),
            kernels(&[KEY], &[(AT, o)], &[(WindowKernel::Sum { column: 5, frame: Frame::Rows }, DataType::UInt64)]),
            kernels(&[GROUP, KEY], &[(VALUE, options(true, false))], &forwards(Frame::Whole)),
        ]),
        one(sessions(false)),
        one(sessions(true)),
        one(vec![
            kernels(&[KEY], &[(AT, o)], &forwards(Frame::Rows)[..1]),
            keep_odd(),
            kernels(&[KEY], &[(AT, o)], &forwards(Frame::Rows)),
        ]),
        one(vec![kernels(&[KEY], &[(AT, o)], &forwards(Frame::Rows)), count_by_key()]),
        Query { n_keys: 0, steps: vec![kernels(&[], &[(AT, o)], &with_lead(forwards(Frame::Rows)))] },
        Query { n_keys: 0, steps: vec![kernels(&[GROUP], &[(AT, o)], &forwards(Frame::Range))] },
        Query { n_keys: 0, steps: vec![count_all()] },
        Query { n_keys: 2, steps: vec![kernels(&[1, 0], &[(AT, o)], &forwards(Frame::Range))] },
    ]
}

impl Query {
    /// The order of the rows before the first step: by key, by the first order, by what is left.
    fn naive(&self, table: &Table) -> Table {
        let mut rows: Vec<Row> =
            table.iter().flat_map(|(row, w)| std::iter::repeat_n(row.clone(), (*w).max(0) as usize)).collect();
        let mut order: Vec<(usize, SortOptions)> = (0..self.n_keys).map(|c| (c, SortOptions::default())).collect();
        if let Some(WindowStep::Kernels(first)) = self.steps.first().map(|s| &s.step) {
            order.extend(&first.order);
        }
        order.extend((0..5).map(|c| (c, SortOptions::default())));
        rows.sort_by(|a, b| compare_by(a, b, &order));
        let mut out = Table::new();
        for row in self.steps.iter().fold(rows, |rows, s| (s.naive)(rows)) {
            *out.entry(row).or_default() += 1;
        }
        out
    }

    /// Takes the schema of the output from a run over no rows.
    fn operator(&self, run_rows: usize) -> TableWindow {
        let steps: Vec<WindowStep> = self.steps.iter().map(|s| s.step.clone()).collect();
        let schema = steps::run(&steps, RecordBatch::new_empty(input())).unwrap().schema();
        let spec = TableWindowSpec { n_keys: self.n_keys, steps, input: input(), schema };
        let mut operator = TableWindow::new(spec).unwrap();
        operator.partitions = Partitions::new(run_rows);
        operator
    }
}

pub(super) fn context() -> EpochContext {
    EpochContext { watermarks_before: vec![Watermark::MIN], watermarks_after: vec![Watermark::MIN], loaded: true }
}

fn apply(table: &mut Table, row: &Row, weight: i64) {
    *table.entry(row.clone()).or_default() += weight;
    table.retain(|_, w| *w != 0);
}

/// Runs epochs and compares after each.
fn check(query: &Query, run_rows: usize, epochs: &[Vec<(Row, i64)>]) -> Result<(), TestCaseError> {
    let mut operator = query.operator(run_rows);
    let (mut table, mut output) = (Table::new(), Table::new());
    for epoch in epochs {
        let rows: Vec<Row> = epoch.iter().map(|(r, _)| r.clone()).collect();
        let weights = epoch.iter().map(|(_, w)| *w).collect();
        epoch.iter().for_each(|(r, w)| apply(&mut table, r, *w));
        let input = ChangeBatch::table(to_batch(&input(), &rows), weights);
        let changes = operator.process(&[input], &context()).unwrap().changes;
        let mut seen = Table::new();
        for (row, weight) in to_rows(&changes.rows).iter().zip(changes.weights.iter()) {
            prop_assert!(*weight != 0);
            let other = seen.insert(row.clone(), *weight);
            prop_assert!(other.is_none_or(|o| o.signum() == weight.signum()), "not net: {:?}", row);
            apply(&mut output, row, *weight);
        }
        prop_assert_eq!(&output, &query.naive(&table));
        prop_assert_eq!(operator.state_size().rows, table.len());
    }
    Ok(())
}

fn cell(range: std::ops::Range<i64>) -> impl Strategy<Value = Cell> {
    range.prop_map(|i| if i == 0 { Cell::Null } else { Cell::Int(i) })
}

fn row() -> impl Strategy<Value = Row> {
    let text = |names: &'static [&'static str]| {
        prop::sample::select(names).prop_map(|n| if n.is_empty() { Cell::Null } else { Cell::Text(n.into()) })
    };
    (text(&["a", "b", ""]), cell(0..3), cell(0..8), cell(-1..4), text(&["x", "yy", "a name of some length", ""]))
        .prop_map(|(k, g, a, v, n)| vec![k, g, a, v, n])
}

/// Rows that come and go; some weights are two, some rows disappear before they appear.
fn epochs() -> impl Strategy<Value = Vec<Vec<(Row, i64)>>> {
    let change = (row(), prop::sample::select(vec![1, 1, 1, 1, 2, -1]));
    let fresh = prop::collection::vec(change, 0..14);
    let back = prop::collection::vec(any::<prop::sample::Index>(), 0..5);
    prop::collection::vec((fresh, back), 1..10).prop_map(|plan| {
        let mut past: Vec<Row> = Vec::new();
        let mut epochs = Vec::new();
        for (fresh, back) in plan {
            let mut epoch = fresh.clone();
            if !past.is_empty() {
                epoch.extend(back.iter().map(|i| (past[i.index(past.len())].clone(), -1)));
            }
            past.extend(fresh.into_iter().map(|(r, _)| r));
            epochs.push(epoch);
        }
        epochs
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn every_epoch_leaves_what_a_batch_would(
        epochs in epochs(),
        descending in any::<bool>(),
        nulls_first in any::<bool>(),
        run_rows in 2usize..9,
    ) {
        for query in queries(options(descending, nulls_first)) {
            check(&query, run_rows, &epochs)?;
        }
    }

    #[test]
    fn long_partitions_with_appends_and_corrections_leave_what_a_batch_would(
        corrections in prop::collection::vec((0i64..60, row(), prop::sample::select(vec![1, 1, -1])), 0..12),
        step in 1i64..4,
    ) {
        // Rows in order of time, a few an epoch, and now and then one somewhere before.
        let mut epochs: Vec<Vec<(Row, i64)>> = Vec::new();
        for e in 0..20 {
            let at = |i: i64| Cell::Int((e * 3 + i) / step);
            let row = |i| vec![Cell::Text("a".into()), Cell::Int(1), at(i), Cell::Int(i), Cell::Text(format!("n{e}{i}"))];
            epochs.push((0..3).map(|i| (row(i), 1)).collect());
        }
        for (at, mut row, weight) in corrections {
            row[KEY] = Cell::Text("a".into());
            row[AT] = Cell::Int(at / step);
            let epoch = (at as usize * 7) % epochs.len();
            if weight < 0 && epoch > 0 {
                let old = epochs[epoch - 1][at as usize % 3].0.clone();
                epochs[epoch].push((old, -1));
            } else {
                epochs[epoch].push((row, 1));
            }
        }
        for query in queries(options(false, true)) {
            check(&query, 4, &epochs)?;
        }
    }
}
