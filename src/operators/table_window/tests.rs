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

/// Drops everything but the last column.
fn keep_last() -> Step {
    let last = |rows: Vec<Row>| -> Vec<Row> { rows.into_iter().map(|r| r[r.len() - 1..].to_vec()).collect() };
    let function: BatchFunction = Arc::new(|batch| Ok(batch.project(&[batch.num_columns() - 1])?));
    Step { step: WindowStep::Projection(function), naive: Arc::new(last) }
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
    limit: Option<u32>,
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
    let one = |steps: Vec<Step>| Query { n_keys: 1, steps, limit: None };
    let numbers = || [(WindowKernel::RowNumber, DataType::UInt64)];
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
        one([sessions(true), vec![keep_last()]].concat()),
        one(vec![
            kernels(&[KEY], &[(AT, o)], &forwards(Frame::Rows)[..1]),
            keep_odd(),
            kernels(&[KEY], &[(AT, o)], &forwards(Frame::Rows)),
        ]),
        one(vec![kernels(&[KEY], &[(AT, o)], &forwards(Frame::Rows)), count_by_key()]),
        Query { n_keys: 0, steps: vec![kernels(&[], &[(AT, o)], &with_lead(forwards(Frame::Rows)))], limit: None },
        Query { n_keys: 0, steps: vec![kernels(&[GROUP], &[(AT, o)], &forwards(Frame::Range))], limit: None },
        Query { n_keys: 0, steps: vec![count_all()], limit: None },
        Query { n_keys: 2, steps: vec![kernels(&[1, 0], &[(AT, o)], &forwards(Frame::Range))], limit: None },
        Query { n_keys: 1, steps: vec![kernels(&[KEY], &[(AT, o)], &numbers())], limit: Some(2) },
        Query { n_keys: 0, steps: vec![kernels(&[], &[(AT, o)], &numbers())], limit: Some(3) },
        Query { n_keys: 0, steps: vec![kernels(&[], &[(AT, o)], &numbers())], limit: Some(0) },
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
        let mut seen: BTreeMap<Row, u32> = BTreeMap::new();
        rows.retain(|row| {
            let n = seen.entry(row[..self.n_keys].to_vec()).or_default();
            *n += 1;
            self.limit.is_none_or(|limit| *n <= limit)
        });
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
        let spec = TableWindowSpec { n_keys: self.n_keys, steps, input: input(), schema, limit: self.limit };
        let mut operator = TableWindow::new(spec).unwrap();
        operator.partitions = Partitions::new(run_rows);
        operator
    }
}

pub(super) fn context() -> EpochContext {
    EpochContext::new(vec![Watermark::MIN], vec![Watermark::MIN], true)
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

mod against_datafusion {
    //! The kernels' results are those of DataFusion's own window functions.

    use super::*;
    use arrow::compute::concat_batches;
    use datafusion::datasource::MemTable;
    use datafusion::prelude::SessionContext;

    fn sql(batch: &RecordBatch, over: &str) -> RecordBatch {
        let functions = [
            "row_number()",
            "lag(value, 1)",
            "lag(name, 3)",
            "lead(value, 2)",
            "first_value(name)",
            "last_value(value)",
            "count(*)",
            "count(name)",
            "sum(value)",
            "min(name)",
            "max(value)",
        ];
        let columns: Vec<String> =
            functions.iter().enumerate().map(|(i, f)| format!("{f} OVER ({over}) AS w{i}")).collect();
        let query = format!("SELECT *, {} FROM t", columns.join(", "));
        let ctx = SessionContext::new();
        ctx.register_table("t", Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch.clone()]]).unwrap()))
            .unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let result = runtime.block_on(async { ctx.sql(&query).await?.collect().await }).unwrap();
        concat_batches(&result[0].schema(), &result).unwrap()
    }

    fn functions(frame: Frame) -> Vec<(WindowKernel, DataType)> {
        let mut functions = forwards(frame);
        functions.insert(3, (WindowKernel::Lead { column: VALUE, offset: 2 }, DataType::Int64));
        functions
    }

    /// Rows that no other row equals in order, so that frames by rows are decided; or rows with peers.
    fn rows(n: i64, peers: bool) -> RecordBatch {
        let rows: Vec<Row> = (0..n)
            .map(|i| {
                let mixed = (i * 7919) % n;
                let null = |cell: Cell, every: i64| if mixed % every == 1 { Cell::Null } else { cell };
                vec![
                    null(Cell::Text(format!("k{}", i % 7)), 11),
                    Cell::Int(i % 3),
                    null(Cell::Int(if peers { mixed / 9 } else { mixed }), if peers { 13 } else { n + 1 }),
                    null(Cell::Int(mixed % 17 - 8), 5),
                    null(Cell::Text(format!("n{}", mixed % 31)), 6),
                ]
            })
            .collect();
        to_batch(&input(), &rows)
    }

    fn check(partition: &[usize], order: &[(usize, SortOptions)], frame: Frame, columns: &[usize], peers: bool) {
        let batch = rows(500, peers);
        let functions = functions(frame);
        let name = |c: &usize| input().field(*c).name().clone();
        let by: Vec<String> = partition.iter().map(name).collect();
        let sort: Vec<String> = order
            .iter()
            .map(|(c, o)| {
                let (direction, nulls) =
                    (if o.descending { "DESC" } else { "ASC" }, if o.nulls_first { "FIRST" } else { "LAST" });
                format!("{} {direction} NULLS {nulls}", name(c))
            })
            .collect();
        let frame_text = match frame {
            Frame::Rows => "ROWS UNBOUNDED PRECEDING",
            Frame::Range => "RANGE UNBOUNDED PRECEDING",
            Frame::Whole => "ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING",
        };
        let over = format!("PARTITION BY {} ORDER BY {} {frame_text}", by.join(", "), sort.join(", "));
        let step = kernels(partition, order, &functions);
        let ours = steps::run(&[step.step], batch.clone()).unwrap();
        let keep: Vec<usize> = (0..5).chain(columns.iter().map(|c| c + 5)).collect();
        let sorted = |batch: RecordBatch| {
            let mut rows = to_rows(&batch.project(&keep).unwrap());
            rows.sort();
            rows
        };
        assert_eq!(sorted(ours), sorted(sql(&batch, &over)), "{over}");
    }

    #[test]
    fn without_ties_every_function_agrees() {
        let all: Vec<usize> = (0..11).collect();
        for (descending, nulls_first) in [(false, false), (false, true), (true, false), (true, true)] {
            let order = [(AT, options(descending, nulls_first))];
            for frame in [Frame::Rows, Frame::Range, Frame::Whole] {
                check(&[KEY], &order, frame, &all, false);
                check(&[GROUP, KEY], &order, frame, &all, false);
            }
        }
    }

    #[test]
    fn among_peers_what_does_not_depend_on_their_order_agrees() {
        // count, sum, min, max over RANGE and over the whole partition.
        for (descending, nulls_first) in [(false, false), (false, true), (true, false), (true, true)] {
            for frame in [Frame::Range, Frame::Whole] {
                check(&[KEY], &[(AT, options(descending, nulls_first))], frame, &[6, 7, 8, 9, 10], true);
            }
        }
    }
}

#[test]
fn an_append_to_a_long_partition_starts_from_a_checkpoint_near_its_end() {
    let query = &queries(options(false, true))[6];
    let mut operator = query.operator(64);
    let row = |i: i64| vec![Cell::Text("a".into()), Cell::Int(1), Cell::Int(i), Cell::Int(i), Cell::Null];
    let epoch = |rows: Vec<Row>| ChangeBatch::table(to_batch(&input(), &rows), vec![1; rows.len()]);
    for e in 0..3 {
        operator.process(&[epoch((e * 2000..(e + 1) * 2000).map(row).collect())], &context()).unwrap();
    }
    let (keys, rows) = operator.codec.encode(&to_batch(&input(), &[row(6000)])).unwrap();
    let id = operator.partitions.id(keys.get(0));
    let from = operator.partitions.resume_at(id, rows.get(0), 1);
    let n_runs = operator.partitions.run_starts(id, 0).len() + 1;
    assert!(n_runs > 90 && from + 2 >= n_runs, "run {from} of {n_runs}");
    let changes = operator.process(&[epoch(vec![row(6000)])], &context()).unwrap().changes;
    assert_eq!(
        to_rows(&changes.rows),
        [vec![Cell::Text("a".into()), Cell::Int(6000), Cell::Int(0), Cell::Int(1), Cell::Int(1)]]
    );
}

mod scripts {
    //! Telling examples: `tests/operators/table_window_*.txt`.

    use super::*;
    use crate::operators::script::{self, Input, columns};

    fn check(file: &str, input: &str, output: &str, n_keys: usize, steps: Vec<WindowStep>) {
        let (input, schema) = (columns(input), columns(output));
        script::check(file, &[Input::table("rows", input.clone())], || {
            let steps = steps.clone();
            TableWindow::new(TableWindowSpec {
                n_keys,
                steps,
                input: input.clone(),
                schema: schema.clone(),
                limit: None,
            })
            .unwrap()
        });
    }

    fn step(partition: &[usize], order: &[(usize, SortOptions)], functions: &[(WindowKernel, DataType)]) -> WindowStep {
        kernels(partition, order, functions).step
    }

    #[test]
    fn rides_are_renumbered_when_captures_come_late_and_go() {
        let order = [(1, options(false, false)), (2, options(false, false))];
        let starts: BatchFunction = Arc::new(|batch| {
            let start = |r: &Row| match (int(&r[1]), int(&r[3])) {
                (Some(at), Some(before)) => i64::from(at - before > 30),
                _ => 1,
            };
            let rows: Vec<Row> =
                to_rows(batch).into_iter().map(|r| [&r[..3], &[Cell::Int(start(&r))]].concat()).collect();
            Ok(to_batch(&columns("person text, at int, capture text, starts int"), &rows))
        });
        let steps = vec![
            step(&[0], &order, &[(WindowKernel::Lag { column: 1, offset: 1 }, DataType::Int64)]),
            WindowStep::Projection(starts),
            step(&[0], &order, &[(WindowKernel::Sum { column: 3, frame: Frame::Rows }, DataType::Int64)]),
        ];
        let output = "person text, at int, capture text, starts int, ride int";
        check("table_window_sessions.txt", "person text, at int, capture text", output, 1, steps);
    }

    #[test]
    fn the_latest_version_of_each_key_follows_what_comes_and_goes() {
        let first: BatchFunction = Arc::new(|batch| {
            let number = batch.column(3).as_primitive::<UInt64Type>();
            let keep: BooleanArray = number.values().iter().map(|n| Some(*n == 1)).collect();
            Ok(filter_record_batch(&batch.project(&[0, 1, 2])?, &keep)?)
        });
        let steps = vec![
            step(&[0], &[(1, options(true, false))], &[(WindowKernel::RowNumber, DataType::UInt64)]),
            WindowStep::Function(first),
        ];
        let columns = "key text, version int, value text";
        check("table_window_latest.txt", columns, columns, 1, steps);
    }

    #[test]
    fn running_totals_over_peers_duplicates_and_early_disappearances() {
        let frame = Frame::Range;
        let functions = [
            (WindowKernel::Count { column: None, frame }, DataType::Int64),
            (WindowKernel::Sum { column: 2, frame }, DataType::Int64),
            (WindowKernel::Max { column: 2, frame }, DataType::Int64),
        ];
        let steps = vec![step(&[0], &[(1, options(false, false))], &functions)];
        let output = "key text, at int, n int, count int, sum int, max int";
        check("table_window_running.txt", "key text, at int, n int", output, 1, steps);
    }

    #[test]
    fn a_table_without_keys_owes_one_row() {
        check("table_window_whole_table.txt", "name text", "n int", 0, vec![count_all().step]);
    }

    #[test]
    fn windows_within_a_partition_look_ahead_and_over_the_whole() {
        let frame = Frame::Whole;
        let functions = [
            (WindowKernel::Lead { column: 3, offset: 1 }, DataType::Int64),
            (WindowKernel::LastValue { column: 3, frame }, DataType::Int64),
            (WindowKernel::Count { column: None, frame }, DataType::Int64),
        ];
        let steps = vec![step(&[0, 1], &[(2, options(true, true))], &functions)];
        let output = "key text, part int, at int, n int, next int, last int, count int";
        check("table_window_neighbours.txt", "key text, part int, at int, n int", output, 1, steps);
    }
}
