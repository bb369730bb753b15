//! Runs operators by text scripts, `tests/operators/*.txt`: input, watermarks, commits and crashes, with the output beside.
//!
//! A script is read line by line. Blank lines and lines that start with `#` are for the reader.
//!
//! ```text
//! + | p1 | 10 | a            a row of the input appears; cells as the schema's types, `null`, `''` = the empty text
//! - | p1 | 10 | a            it disappears; `+2`, `-3`: with that weight
//! left + | p1 | 10 | a       where there are several inputs: which one
//! watermark left 2000        event time of an input, in milliseconds or as RFC 3339, or `end`; without name: of all inputs
//! loading                    from this epoch on tables are still being loaded, until
//! loaded                     says otherwise
//! commit                     ends the epoch; the lines behind it tell what came out
//! > + | p1 | 1 | @0          a row that appeared, with the number of its source record if it is a stream's
//! > late 4                   source records that were late, `> duplicate 5` that were duplicates
//! > timer 2000               when the operator wants to be called next
//! crash                      drops what was not committed and builds the operator again
//! > restored                 what its relation then holds, if the operator tells
//! ```
//!
//! Lines that start with `>` are generated: `UPDATE_EXPECT=1 cargo test --lib operators::` writes them. A script is
//! added by writing its input lines to a new file, and a test that calls [`check`] with its inputs and its operator.
//!
//! After a crash an operator gets back the deltas that it gave at commits. One that gave none is derived: it gets the
//! rows that its input tables hold, in one epoch, and must answer with just the rows it had handed on before.
//! At every commit the runner checks that a table's output is net.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt32Array};
use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use arrow::compute::{CastOptions, cast_with_options, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::{EpochContext, Operator, Output};
use crate::stream::{ChangeBatch, Order, Watermark};

/// An input of an operator under test.
#[derive(Clone)]
pub(crate) struct Input {
    /// How the script calls it.
    pub name: &'static str,
    /// Its columns.
    pub schema: SchemaRef,
    /// Whether its rows are a set; else each row is a source record, numbered from 0 over the epoch.
    pub is_table: bool,
}

impl Input {
    /// A table's changes.
    pub(crate) fn table(name: &'static str, schema: SchemaRef) -> Self {
        Self { name, schema, is_table: true }
    }

    /// A stream's rows, or records in reading order.
    pub(crate) fn stream(name: &'static str, schema: SchemaRef) -> Self {
        Self { name, schema, is_table: false }
    }
}

/// Columns from text: `"person text, at timestamp, n int"`; all are nullable.
///
/// Types: text, int, uint, float, bool, date, timestamp (milliseconds, Asia/Shanghai), decimal (18, 2).
pub(crate) fn columns(text: &str) -> SchemaRef {
    let field = |column: &str| {
        let (name, data_type) = column.trim().split_once(' ').expect("a name and a type");
        let data_type = match data_type.trim() {
            "text" => DataType::Utf8,
            "int" => DataType::Int64,
            "uint" => DataType::UInt64,
            "float" => DataType::Float64,
            "bool" => DataType::Boolean,
            "date" => DataType::Date32,
            "timestamp" => DataType::Timestamp(TimeUnit::Millisecond, Some("Asia/Shanghai".into())),
            "decimal" => DataType::Decimal128(18, 2),
            other => panic!("no type {other}"),
        };
        Field::new(name, data_type, true)
    };
    Arc::new(Schema::new(text.split(',').map(field).collect::<Vec<_>>()))
}

/// Runs a script of `tests/operators/` and compares its output lines.
pub(crate) fn check<'a, O: Operator + 'static>(file: &str, inputs: &'a [Input], build: impl Fn() -> O + 'a) {
    check_any(file, inputs, move || Box::new(build()));
}

/// As [`check`], where the operator's type is not known.
pub(crate) fn check_any<'a>(file: &str, inputs: &'a [Input], build: impl Fn() -> Box<dyn Operator> + 'a) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/operators").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut runner = Runner::new(inputs, Box::new(build));
    let mut written = String::new();
    for (number, line) in text.lines().enumerate().filter(|(_, l)| !l.starts_with('>')) {
        written.push_str(line);
        written.push('\n');
        let output = runner.line(line).unwrap_or_else(|e| panic!("{}:{}: {e}", path.display(), number + 1));
        output.iter().for_each(|l| written.push_str(&format!("> {l}\n")));
    }
    expect_test::expect_file![path].assert_eq(&written);
}

type Build<'a> = Box<dyn Fn() -> Box<dyn Operator> + 'a>;
/// Rows of one input in an epoch: cells and weight.
type Pending = Vec<(Vec<String>, i64, u64)>;

struct Runner<'a> {
    inputs: &'a [Input],
    build: Build<'a>,
    operator: Box<dyn Operator>,
    pending: Vec<Pending>,
    n_records: u64,
    committed: EpochContext,
    next: EpochContext,
    deltas: Vec<RecordBatch>,
    /// What each input table holds, by its cells.
    tables: Vec<BTreeMap<Vec<String>, i64>>,
    /// What the operator's relation holds, as text.
    relation: BTreeMap<String, i64>,
}

impl<'a> Runner<'a> {
    fn new(inputs: &'a [Input], build: Build<'a>) -> Self {
        let unknown = vec![Watermark::MIN; inputs.len()];
        let ctx = EpochContext::new(unknown.clone(), unknown, true);
        Self {
            inputs,
            operator: build(),
            build,
            pending: vec![Vec::new(); inputs.len()],
            n_records: 0,
            committed: ctx.clone(),
            next: ctx,
            deltas: Vec::new(),
            tables: vec![BTreeMap::new(); inputs.len()],
            relation: BTreeMap::new(),
        }
    }

    /// Takes one line and returns the lines to write behind it.
    fn line(&mut self, line: &str) -> Result<Vec<String>, String> {
        let mut words = line.split_whitespace();
        match words.next() {
            None => {}
            Some(word) if word.starts_with('#') => {}
            Some("commit") => return self.commit(),
            Some("crash") => return self.crash(),
            Some("loaded") => self.next.loaded = true,
            Some("loading") => self.next.loaded = false,
            Some("watermark") => self.watermark(&words.collect::<Vec<_>>())?,
            Some(_) => self.row(line)?,
        }
        Ok(Vec::new())
    }

    fn input(&self, name: &str) -> Result<usize, String> {
        self.inputs.iter().position(|i| i.name == name).ok_or_else(|| format!("no input `{name}`"))
    }

    fn watermark(&mut self, words: &[&str]) -> Result<(), String> {
        let (inputs, instant) = match words {
            [instant] => (0..self.inputs.len(), *instant),
            [name, instant] => {
                let idx = self.input(name)?;
                (idx..idx + 1, *instant)
            }
            _ => return Err("`watermark [input] instant`".into()),
        };
        let watermark = match (instant, instant.parse()) {
            ("end", _) => Watermark::MAX,
            (_, Ok(ms)) => Watermark(ms),
            (text, _) => Watermark(string_to_timestamp_nanos(text).map_err(|e| e.to_string())? / 1_000_000),
        };
        self.next.watermarks_after[inputs].fill(watermark);
        Ok(())
    }

    fn row(&mut self, line: &str) -> Result<(), String> {
        let mut cells = line.split('|').map(str::trim);
        let head = cells.next().unwrap_or_default();
        let (name, weight) = head.rsplit_once(' ').unwrap_or((self.inputs[0].name, head));
        let idx = self.input(name.trim())?;
        let weight = match weight {
            "+" => 1,
            "-" => -1,
            other => other.parse().map_err(|_| format!("`{other}` is neither + nor -"))?,
        };
        let cells: Vec<String> = cells.map(String::from).collect();
        let n_columns = self.inputs[idx].schema.fields().len();
        if cells.len() != n_columns {
            return Err(format!("{} cells, but `{}` has {n_columns} columns", cells.len(), self.inputs[idx].name));
        }
        self.pending[idx].push((cells, weight, self.n_records));
        self.n_records += 1;
        Ok(())
    }

    fn process(&mut self) -> Result<Output, String> {
        let batches =
            self.inputs.iter().zip(&self.pending).map(|(i, rows)| batch(i, rows)).collect::<Result<Vec<_>, _>>()?;
        self.operator.process(&batches, &self.next).map_err(|e| e.to_string())
    }

    fn commit(&mut self) -> Result<Vec<String>, String> {
        let output = self.process()?;
        self.deltas.extend(self.operator.take_delta().map_err(|e| e.to_string())?);
        for (table, rows) in self.tables.iter_mut().zip(&mut self.pending) {
            for (cells, weight, _) in rows.drain(..) {
                *table.entry(cells).or_default() += weight;
            }
            table.retain(|_, w| *w != 0);
        }
        self.n_records = 0;
        self.next.watermarks_before = self.next.watermarks_after.clone();
        self.committed = self.next.clone();
        let mut lines = rows(&output.changes)?;
        if output.changes.order == Order::Unordered {
            fold(&mut self.relation, &output.changes)?;
        }
        lines.extend(output.late.iter().map(|n| format!("late {n}")));
        lines.extend(output.duplicate.iter().map(|n| format!("duplicate {n}")));
        if lines.is_empty() {
            lines.push("nothing".into());
        }
        lines.extend(self.operator.next_timer().map(|t| format!("timer {t}")));
        Ok(lines)
    }

    fn crash(&mut self) -> Result<Vec<String>, String> {
        // What was computed and not committed must leave no trace.
        self.process()?;
        self.pending.iter_mut().for_each(Vec::clear);
        self.n_records = 0;
        self.next = self.committed.clone();
        self.operator = (self.build)();
        for delta in &self.deltas {
            self.operator.restore(delta).map_err(|e| e.to_string())?;
        }
        if !self.deltas.is_empty() {
            let mut lines = vec!["restored".into()];
            let mut part = 0;
            while let Some(contents) = self.operator.contents(part).map_err(|e| e.to_string())? {
                lines.extend(rows(&contents)?);
                part += 1;
            }
            return Ok(lines);
        }
        for (idx, _) in self.inputs.iter().enumerate().filter(|(_, i)| i.is_table) {
            let rows = self.tables[idx].iter().map(|(cells, weight)| (cells.clone(), *weight, 0));
            self.pending[idx] = rows.collect();
        }
        let output = self.process()?;
        self.pending.iter_mut().for_each(Vec::clear);
        let mut relation = BTreeMap::new();
        fold(&mut relation, &output.changes)?;
        if relation != self.relation {
            return Err(format!("derived again as\n{relation:#?}\nbut handed on were\n{:#?}", self.relation));
        }
        Ok(Vec::new())
    }
}

/// Adds a table's changes to what it holds, and checks that they are net.
fn fold(relation: &mut BTreeMap<String, i64>, changes: &ChangeBatch) -> Result<(), String> {
    let mut signs: BTreeMap<String, i64> = BTreeMap::new();
    for (line, weight) in cells(&changes.rows)?.into_iter().map(|c| c.join(" | ")).zip(changes.weights.iter()) {
        let sign = *signs.entry(line.clone()).or_insert(weight.signum());
        if *weight == 0 || sign != weight.signum() {
            return Err(format!("not net: {line}"));
        }
        *relation.entry(line).or_default() += weight;
    }
    relation.retain(|_, w| *w != 0);
    Ok(())
}

/// Text cells to columns.
fn batch(input: &Input, rows: &Pending) -> Result<ChangeBatch, String> {
    let column = |(idx, field): (usize, &Arc<Field>)| -> Result<ArrayRef, String> {
        let cell = |row: &(Vec<String>, i64, u64)| match row.0[idx].as_str() {
            "null" => None,
            "''" => Some(String::new()),
            text => Some(text.to_string()),
        };
        let texts: StringArray = rows.iter().map(cell).collect();
        let options = CastOptions { safe: false, ..CastOptions::default() };
        cast_with_options(&texts, field.data_type(), &options).map_err(|e| format!("column `{}`: {e}", field.name()))
    };
    let columns = input.schema.fields().iter().enumerate().map(column).collect::<Result<Vec<_>, _>>()?;
    let batch = RecordBatch::try_new(input.schema.clone(), columns).map_err(|e| e.to_string())?;
    let weights = rows.iter().map(|(_, w, _)| *w).collect();
    let mut changes = ChangeBatch::table(batch, weights);
    if !input.is_table {
        changes.order = Order::Sequence(rows.iter().map(|(.., n)| *n).collect());
    }
    Ok(changes)
}

/// Output lines: a stream's rows as they came, rows with an order key by it, a table's rows by their text.
fn rows(changes: &ChangeBatch) -> Result<Vec<String>, String> {
    let mut order: Vec<u32> = (0..changes.len() as u32).collect();
    if let Order::Key(keys) = &changes.order {
        order.sort_by_key(|i| keys.value(*i as usize));
    }
    let batch = take_record_batch(&changes.rows, &UInt32Array::from(order.clone())).map_err(|e| e.to_string())?;
    let mut lines = cells(&batch)?;
    for (line, i) in lines.iter_mut().zip(&order) {
        let sign = match changes.weights[*i as usize] {
            1 => "+".into(),
            -1 => "-".into(),
            weight => format!("{weight:+}"),
        };
        line.insert(0, sign);
        if let Order::Sequence(numbers) = &changes.order {
            line.push(format!("@{}", numbers[*i as usize]));
        }
    }
    if changes.order == Order::Unordered {
        lines.sort_by(|a, b| a[1..].cmp(&b[1..]).then(b[0].cmp(&a[0])));
    }
    let n_cells = lines.first().map_or(0, Vec::len);
    let width = |c: usize| lines.iter().map(|l| l[c].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..n_cells).map(width).collect();
    let aligned = |line: &Vec<String>| {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, w)| format!("{cell:w$}")).collect();
        cells.join(" | ").trim_end().to_string()
    };
    Ok(lines.iter().map(aligned).collect())
}

fn cells(batch: &RecordBatch) -> Result<Vec<Vec<String>>, String> {
    let options = FormatOptions::default().with_null("null");
    let formatters = batch
        .columns()
        .iter()
        .map(|c| ArrayFormatter::try_new(c.as_ref(), &options))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| e.to_string())?;
    let cell = |f: &ArrayFormatter, row: usize| {
        let text = f.value(row).to_string();
        if text.is_empty() { "''".to_string() } else { text }
    };
    Ok((0..batch.num_rows()).map(|row| formatters.iter().map(|f| cell(f, row)).collect()).collect())
}
