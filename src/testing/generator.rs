//! Plausible sources for a pack, written in SQL beside it: `PACK/simulation/*.sql`.
//!
//! A script is batch SQL. `CREATE VIEW` and `CREATE TABLE .. AS` make steps; `INSERT INTO source SELECT ..` gives a source its
//! records, in the order of the query, which is the order of their arrival. What may differ from run to run is said by
//! functions without arguments (`people()`, `days()`, `started_at()`), and all chance comes from `chance(..)`, which is the same for
//! the same seed and arguments on every machine.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, RecordBatch};
use arrow::compute::{CastOptions, cast, cast_with_options, concat_batches, filter_record_batch, not};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use chrono_tz::Tz;
use datafusion::common::{Result as DataFusionResult, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::{DFParser, Statement as DataFusionStatement};
use datafusion::sql::sqlparser::ast::{Insert, Statement, TableObject};
use tokio::runtime::Runtime;

use crate::catalog::{Catalog, SourceDefinition};
use crate::dialect::SourceFile;
use crate::format::json::Encoder;
use crate::plan::batch_session;

/// The column of a record that deletes its key.
const TOMBSTONE: &str = "_tombstone";

/// What a run of the scripts may differ in.
#[derive(Clone, Copy, Debug)]
pub struct GeneratorSettings {
    /// `people()`: how many people (or vehicles, or whatever the pack counts) there are.
    pub people: u32,
    /// `days()`: how many days are simulated.
    pub days: u32,
    /// `seed()`: another seed gives other records, of the same kind.
    pub seed: u64,
    /// `started_at()`: the first instant, in milliseconds since the Unix epoch.
    pub started_at_ms: i64,
}

/// The records of a source, in the order in which they arrive: JSON objects, deletions as `{"_tombstone": true, <key columns>}`.
#[derive(Clone, Debug, Default)]
pub struct Generated {
    /// One JSON object a record.
    pub lines: Vec<Vec<u8>>,
}

/// Why the sources could not be made.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {reason}")]
pub struct GeneratorError {
    /// The script.
    pub file: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Runs the scripts of a pack, and gives what they insert by source.
pub fn generate(
    catalog: &Catalog,
    scripts: &[SourceFile],
    settings: GeneratorSettings,
) -> Result<BTreeMap<Arc<str>, Generated>, GeneratorError> {
    let mut sources: BTreeMap<Arc<str>, Generated> = BTreeMap::new();
    let zone = catalog.time_zone;
    let ctx = session(zone, settings);
    for script in scripts {
        let failed = |reason: String| GeneratorError { file: script.path.clone(), reason };
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|e| failed(e.to_string()))?;
        let statements = DFParser::parse_sql(&script.text).map_err(|e| failed(e.strip_backtrace()))?;
        for statement in statements {
            let DataFusionStatement::Statement(statement) = statement else {
                return Err(failed(format!(
                    "`{statement}`: a script may CREATE VIEW, CREATE TABLE .. AS and INSERT INTO"
                )));
            };
            match *statement {
                Statement::Insert(insert) => {
                    let (source, rows) = inserted(catalog, &ctx, &runtime, insert).map_err(failed)?;
                    let lines = encoded(source, zone, &rows)
                        .map_err(|reason| failed(format!("rows of `{}`: {reason}", source.name)))?;
                    sources.entry(source.name.clone()).or_default().lines.extend(lines);
                }
                other => {
                    run(&ctx, &runtime, other).map_err(|e| failed(e.strip_backtrace()))?;
                }
            }
        }
    }
    Ok(sources)
}

fn session(zone: Tz, settings: GeneratorSettings) -> SessionContext {
    let ctx = batch_session(zone);
    let instant = DataType::Timestamp(TimeUnit::Millisecond, Some(zone.name().into()));
    let started_at = ScalarValue::TimestampMillisecond(Some(settings.started_at_ms), Some(zone.name().into()));
    debug_assert_eq!(started_at.data_type(), instant);
    let constants = [
        ("people", ScalarValue::Int64(Some(settings.people.into()))),
        ("days", ScalarValue::Int64(Some(settings.days.into()))),
        ("seed", ScalarValue::Int64(Some(settings.seed as i64))),
        ("started_at", started_at),
    ];
    for (name, value) in constants {
        let signature = Signature::nullary(Volatility::Immutable);
        ctx.register_udf(ScalarUDF::from(Constant { name, value, signature }));
    }
    let signature = Signature::one_of(vec![TypeSignature::VariadicAny, TypeSignature::Nullary], Volatility::Immutable);
    ctx.register_udf(ScalarUDF::from(Chance { seed: settings.seed, signature }));
    ctx
}

fn run(ctx: &SessionContext, runtime: &Runtime, statement: Statement) -> DataFusionResult<RecordBatch> {
    runtime.block_on(async {
        let plan = ctx.state().statement_to_plan(DataFusionStatement::Statement(Box::new(statement))).await?;
        let schema = Arc::new(plan.schema().as_arrow().clone());
        let batches = ctx.execute_logical_plan(plan).await?.collect().await?;
        let schema = batches.first().map_or(schema, |first: &RecordBatch| first.schema());
        concat_batches(&schema, &batches).map_err(DataFusionError::from)
    })
}

/// The source that a statement inserts into, and the rows.
fn inserted<'a>(
    catalog: &'a Catalog,
    ctx: &SessionContext,
    runtime: &Runtime,
    insert: Insert,
) -> Result<(&'a SourceDefinition, RecordBatch), String> {
    let TableObject::TableName(name) = &insert.table else { return Err(format!("`{}` is no source", insert.table)) };
    let name = name.to_string();
    let source = catalog.sources.iter().find(|s| *s.name == *name);
    let source = source.ok_or_else(|| format!("the pack has no source `{name}`"))?;
    if !insert.columns.is_empty() {
        return Err(format!("INSERT INTO {name}: name the columns in the SELECT instead, with AS"));
    }
    let query = insert.source.ok_or_else(|| format!("INSERT INTO {name} has no SELECT"))?;
    let rows = run(ctx, runtime, Statement::Query(query))
        .map_err(|e| format!("INSERT INTO {name}: {}", e.strip_backtrace()))?;
    Ok((source, rows))
}

/// The lines of rows: each column as its source declares it.
fn encoded(source: &SourceDefinition, zone: Tz, rows: &RecordBatch) -> Result<Vec<Vec<u8>>, String> {
    let mut fields: Vec<Field> = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    let mut deleted = None;
    for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
        if field.name() == TOMBSTONE {
            deleted = Some(cast(column, &DataType::Boolean).map_err(|e| e.to_string())?);
            continue;
        }
        let declared = source.columns.iter().find(|c| c.name == *field.name());
        let declared = declared.ok_or_else(|| format!("the source has no column `{}`", field.name()))?;
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let column = cast_with_options(column, &declared.data_type, &options)
            .map_err(|e| format!("column `{}`: {e}", field.name()))?;
        fields.push(Field::new(field.name(), declared.data_type.clone(), true));
        columns.push(column);
    }
    let key_names = || source.key.iter().filter_map(|c| source.columns.get(*c));
    let key: Vec<usize> = key_names().filter_map(|c| fields.iter().position(|f| *f.name() == c.name)).collect();
    let schema = Arc::new(Schema::new(fields));
    let rows = RecordBatch::try_new(schema.clone(), columns).map_err(|e| e.to_string())?;
    let encoder = Encoder::new(schema, zone).map_err(|e| e.to_string())?;
    let written = |rows: &RecordBatch| -> Result<Vec<Vec<u8>>, String> {
        Ok(encoder.encode(rows).map_err(|e| e.to_string())?.iter().map(<[u8]>::to_vec).collect())
    };
    let Some(deleted) = deleted else { return written(&rows) };
    let is_deleted: BooleanArray = deleted.as_boolean().iter().map(|is| Some(is.unwrap_or(false))).collect();
    let kept = filter_record_batch(&rows, &not(&is_deleted).map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
    let gone = filter_record_batch(&rows, &is_deleted).map_err(|e| e.to_string())?;
    let mut kept = written(&kept)?.into_iter();
    let tombstones = encoder.tombstone_lines(&gone, &key).map_err(|e| e.to_string())?;
    let mut gone = tombstones.iter().map(<[u8]>::to_vec);
    let line = |row: usize| if is_deleted.value(row) { gone.next() } else { kept.next() };
    Ok((0..rows.num_rows()).filter_map(line).collect())
}

/// A function without arguments that always has the same value.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Constant {
    name: &'static str,
    value: ScalarValue,
    signature: Signature,
}

impl ScalarUDFImpl for Constant {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.value.data_type())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        Ok(ColumnarValue::Scalar(self.value.clone()))
    }
}

/// `chance(..)`: a number from 0 to below 1 that depends on the seed and the arguments alone, evenly spread over them.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Chance {
    seed: u64,
    signature: Signature,
}

impl ScalarUDFImpl for Chance {
    fn name(&self) -> &str {
        "chance"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let n_rows = if args.args.is_empty() { 1 } else { args.number_rows };
        let mut hashes = vec![mixed(self.seed); n_rows];
        for argument in &args.args {
            let texts = cast(&argument.to_array(n_rows)?, &DataType::Utf8)?;
            let texts = texts.as_string::<i32>();
            for (row, hash) in hashes.iter_mut().enumerate() {
                let text = if texts.is_valid(row) { texts.value(row) } else { "\0" };
                *hash = mixed(text.bytes().fold(*hash, |h, byte| (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)));
            }
        }
        // 53 bits are as many as a DOUBLE holds.
        let numbers: Float64Array = hashes.iter().map(|h| Some((h >> 11) as f64 / (1_u64 << 53) as f64)).collect();
        Ok(ColumnarValue::Array(Arc::new(numbers)))
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): every bit of the input reaches every bit of the output.
fn mixed(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::resolve;
    use crate::dialect::{Pack, parse};

    const PACK: &str = "SET TIME ZONE = 'Asia/Shanghai';
        CREATE TABLE plates (plate VARCHAR PRIMARY KEY, at TIMESTAMP WITH TIME ZONE, n INT) WITH (topic = 'p', format = 'json');";

    fn made(script: &str, seed: u64) -> Result<Vec<String>, String> {
        let (statements, errors) = parse(&Pack::from_text("pack.sql", PACK));
        assert!(errors.is_empty());
        let catalog = resolve(statements, None).unwrap();
        let script = SourceFile { path: "simulation/plates.sql".into(), text: script.into() };
        let settings = GeneratorSettings { people: 2, days: 3, seed, started_at_ms: 1_709_222_400_000 };
        let made = generate(&catalog, &[script], settings).map_err(|e| e.to_string())?;
        Ok(made["plates"].lines.iter().map(|l| String::from_utf8(l.clone()).unwrap()).collect())
    }

    #[test]
    fn what_is_inserted_has_the_types_of_its_source() {
        let script = "CREATE VIEW numbers AS SELECT unnest(generate_series(1, people())) AS i;
            INSERT INTO plates SELECT 'P' || i AS plate, started_at() + i * INTERVAL '1 hour' AS at, i * days() AS n FROM numbers ORDER BY i DESC;
            INSERT INTO plates SELECT 'P1' AS plate, true AS _tombstone";
        assert_eq!(
            made(script, 1).unwrap(),
            [
                r#"{"plate":"P2","at":"2024-03-01T02:00:00.000+08:00","n":6}"#,
                r#"{"plate":"P1","at":"2024-03-01T01:00:00.000+08:00","n":3}"#,
                r#"{"_tombstone":true,"plate":"P1"}"#,
            ]
        );
    }

    #[test]
    fn chance_follows_the_seed_and_is_even() {
        let script = "INSERT INTO plates SELECT 'P' || i AS plate, CAST(floor(chance('n', i) * 10) AS INT) AS n
            FROM (SELECT unnest(generate_series(1, 10000)) AS i) AS s";
        assert_eq!(made(script, 1), made(script, 1));
        let rows = made(script, 7).unwrap();
        assert_ne!(rows, made(script, 8).unwrap());
        for digit in 0..10 {
            let n = rows.iter().filter(|row| row.ends_with(&format!("\"n\":{digit}}}"))).count();
            assert!((850..1150).contains(&n), "{digit} came {n} times of 10000");
        }
    }

    #[test]
    fn what_the_source_does_not_have_is_named_with_the_script() {
        let unknown = made("INSERT INTO plates SELECT 'P' AS plate, 1 AS colour", 1).unwrap_err();
        assert_eq!(unknown, "simulation/plates.sql: rows of `plates`: the source has no column `colour`");
        assert!(made("INSERT INTO plate SELECT 1 AS n", 1).unwrap_err().contains("no source `plate`"));
        assert!(made("SELECT", 1).unwrap_err().starts_with("simulation/plates.sql: "));
    }
}
