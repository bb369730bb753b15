//! Measures the operator. Run with `cargo test --release --lib table_window::speed -- --ignored --nocapture --test-threads 1`.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, Int64Array, StringArray, TimestampMillisecondArray};
use arrow::compute::kernels::cmp::gt;
use arrow::compute::kernels::numeric::sub;
use arrow::compute::{cast, is_null, kernels::boolean::or, prep_null_mask_filter};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

use super::tests::context;
use super::*;

fn input() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Millisecond, Some("Asia/Shanghai".into()));
    Arc::new(Schema::new(vec![
        Field::new("person", DataType::Utf8, false),
        Field::new("at", time, false),
        Field::new("capture", DataType::Utf8, false),
    ]))
}

fn rows(ids: impl Iterator<Item = i64> + Clone, person: impl Fn(i64) -> i64) -> RecordBatch {
    let persons: StringArray = ids.clone().map(|i| Some(format!("person-{}", person(i)))).collect();
    let at: TimestampMillisecondArray = ids.clone().map(|i| Some(1_780_000_000_000 + i * 700_001)).collect();
    let captures: StringArray = ids.map(|i| Some(format!("c{i:09}"))).collect();
    let columns: Vec<ArrayRef> =
        vec![Arc::new(persons), Arc::new(at.with_timezone("Asia/Shanghai")), Arc::new(captures)];
    RecordBatch::try_new(input(), columns).unwrap()
}

/// Sessions: lag of the time, a flag where more than 30 minutes passed, a running sum of the flags.
fn sessions(projection: bool) -> TableWindow {
    let order = vec![(1, SortOptions { descending: false, nulls_first: false })];
    let field = |name: &str, t: &DataType| Arc::new(Field::new(name, t.clone(), true));
    let time = input().field(1).data_type().clone();
    let lag = KernelStep {
        partition: vec![0],
        order: order.clone(),
        functions: vec![(WindowKernel::Lag { column: 1, offset: 1 }, field("before", &time))],
    };
    let sum = KernelStep {
        partition: vec![0],
        order,
        functions: vec![(WindowKernel::Sum { column: 3, frame: Frame::Rows }, field("ride", &DataType::Int64))],
    };
    let flagged = |ride: bool| {
        let mut fields: Vec<Field> = input().fields().iter().map(|f| f.as_ref().clone()).collect();
        fields.push(Field::new("starts", DataType::Int64, true));
        fields.extend(ride.then(|| Field::new("ride", DataType::Int64, true)));
        Arc::new(Schema::new(fields))
    };
    let projected = flagged(false);
    let function: BatchFunction = Arc::new(move |batch| {
        let millis = |i: usize| cast(batch.column(i), &DataType::Int64);
        let gap = sub(&millis(1)?, &millis(3)?)?;
        let wide = gt(&gap, &Int64Array::new_scalar(30 * 60_000))?;
        let wide = if wide.null_count() > 0 { prep_null_mask_filter(&wide) } else { wide };
        let starts = or(&wide, &is_null(batch.column(3))?)?;
        let mut columns = batch.columns()[..3].to_vec();
        columns.push(cast(&starts, &DataType::Int64)?);
        Ok(RecordBatch::try_new(projected.clone(), columns)?)
    });
    let function = if projection { WindowStep::Projection(function) } else { WindowStep::Function(function) };
    let steps = vec![WindowStep::Kernels(lag), function, WindowStep::Kernels(sum)];
    TableWindow::new(TableWindowSpec { n_keys: 1, steps, input: input(), schema: flagged(true), limit: None }).unwrap()
}

/// One of 100,000 persons, as good as at random.
fn some_person(id: i64) -> i64 {
    (((id as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % 100_000) as i64
}

/// CPU time of this thread: other processes do not matter.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

fn run(operator: &mut TableWindow, epochs: impl Iterator<Item = ChangeBatch>) -> (usize, usize, Duration) {
    let (mut n_in, mut n_out, mut spent) = (0, 0, Duration::ZERO);
    for epoch in epochs {
        let start = cpu();
        n_in += epoch.len();
        n_out += operator.process(&[epoch], &context()).unwrap().changes.len();
        spent += cpu() - start;
    }
    (n_in, n_out, spent)
}

fn report(name: &str, operator: &TableWindow, (n_in, n_out, spent): (usize, usize, Duration)) {
    let size = operator.state_size();
    println!(
        "{name}: {n_in} rows in, {n_out} out, {spent:.2?}, {:.2} M rows/s, {} rows of state at {:.0} B",
        n_in as f64 / spent.as_secs_f64() / 1e6,
        size.rows,
        size.bytes as f64 / size.rows.max(1) as f64
    );
}

#[test]
#[ignore = "a measurement"]
fn a_million_rows_over_a_hundred_thousand_partitions() {
    for projection in [false, true] {
        let mut operator = sessions(projection);
        let epochs = (0..10).map(|e| {
            let rows = rows(e * 100_000..(e + 1) * 100_000, some_person);
            ChangeBatch::table(rows, vec![1; 100_000])
        });
        let result = run(&mut operator, epochs);
        report(if projection { "sessions, projection" } else { "sessions, function" }, &operator, result);
        let back = (0..10).map(|e| {
            let rows = rows((0..20_000).map(move |i| i * 50 + e), some_person);
            ChangeBatch::table(rows, vec![-1; 20_000])
        });
        let result = run(&mut operator, back);
        report("  20 % withdrawn", &operator, result);
    }
}

#[test]
#[ignore = "a measurement"]
fn one_partition_of_two_hundred_thousand_rows() {
    for projection in [false, true] {
        let n_epochs = if projection { 2000 } else { 200 };
        let mut operator = sessions(projection);
        let n = 200_000 / n_epochs;
        let epochs = (0..n_epochs).map(|e| ChangeBatch::table(rows(e * n..(e + 1) * n, |_| 1), vec![1; n as usize]));
        let result = run(&mut operator, epochs);
        report(&format!("one partition, {n} rows an epoch"), &operator, result);
        let epochs = (0..20).map(|e| ChangeBatch::table(rows((0..10).map(|i| i * 19_000 + e), |_| 1), vec![-1; 10]));
        let result = run(&mut operator, epochs);
        report("  10 withdrawn an epoch", &operator, result);
    }
}

#[test]
#[ignore = "a measurement"]
fn one_row_an_epoch() {
    let mut operator = sessions(true);
    let all = ChangeBatch::table(rows(0..1_000_000, some_person), vec![1; 1_000_000]);
    let result = run(&mut operator, std::iter::once(all));
    report("loaded at once", &operator, result);
    let one = (1_000_000..1_010_000).map(|i| ChangeBatch::table(rows(i..i + 1, some_person), vec![1]));
    let result = run(&mut operator, one);
    println!("one row an epoch: {:.1} us", result.2.as_secs_f64() * 1e6 / result.0 as f64);
}
