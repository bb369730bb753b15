//! Random queries: a running worker answers as plain DataFusion does over the same rows.
//!
//! A query is made from a list of choices, so that what fails shrinks to a short one. Views are computed by the worker's own
//! operators on the one side, by DataFusion on the other.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray, TimestampMillisecondArray};
use datafusion::config::ConfigOptions;
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use proptest::prelude::*;

use super::{Record, World, texts};
use crate::engine::QueryLimits;

const ZONE: &str = "Asia/Shanghai";
/// 1 November 2023, midnight in UTC.
const START_MS: i64 = 1_698_796_800_000;

/// A relation that may be asked, without its PRIVATE columns.
struct Relation {
    name: &'static str,
    texts: &'static [&'static str],
    numbers: &'static [&'static str],
    /// What it is to batch SQL; nothing for what has rows of its own.
    batch: &'static str,
}

/// Each behind those that it follows from.
const RELATIONS: [Relation; 8] = [
    Relation { name: "people", texts: &["id", "town"], numbers: &[], batch: "" },
    Relation { name: "rides", texts: &["ride_id", "id"], numbers: &["km"], batch: "" },
    Relation {
        name: "known",
        texts: &["ride_id", "id", "town"],
        numbers: &["km"],
        batch: "SELECT r.ride_id, r.at, r.km, p.id, p.town FROM rides r JOIN people p ON p.id = r.id",
    },
    Relation {
        name: "by_town",
        texts: &["town"],
        numbers: &["n", "km"],
        batch: "SELECT town, count(*) AS n, sum(km) AS km FROM known GROUP BY town",
    },
    Relation {
        name: "by_day",
        texts: &["id", "day"],
        numbers: &["n"],
        batch: "SELECT id, date_trunc('day', at) AS day, count(*) AS n FROM rides GROUP BY id, date_trunc('day', at)",
    },
    Relation {
        name: "actions",
        texts: &["id"],
        numbers: &["km"],
        batch: "SELECT id, max(km) AS km FROM rides GROUP BY id HAVING max(km) > 10",
    },
    Relation { name: "days", texts: &["id"], numbers: &["n"], batch: "SELECT id, day, n FROM by_day" },
    Relation {
        name: "total",
        texts: &[],
        numbers: &["n"],
        batch: "SELECT count(*) AS n FROM people WHERE town = 'nowhere'",
    },
];

/// Choices that were made, one a byte; when none is left the first of all is chosen.
struct Choices<'a>(std::slice::Iter<'a, u8>);

impl Choices<'_> {
    /// A number below `n`.
    fn below(&mut self, n: usize) -> usize {
        self.0.next().map_or(0, |byte| usize::from(*byte) % n)
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// The columns in reach.
#[derive(Default)]
struct Scope {
    texts: Vec<String>,
    numbers: Vec<String>,
}

impl Scope {
    fn add(&mut self, alias: &str, relation: &Relation) {
        // A date is compared as no text is.
        let texts = relation.texts.iter().filter(|name| **name != "day");
        self.texts.extend(texts.map(|name| format!("{alias}.{name}")));
        self.numbers.extend(relation.numbers.iter().map(|name| format!("{alias}.{name}")));
    }

    fn any(&self, c: &mut Choices<'_>) -> String {
        let all: Vec<&String> = self.texts.iter().chain(&self.numbers).collect();
        c.of(&all).clone()
    }

    /// A number; the length of a text where there is none.
    fn number(&self, c: &mut Choices<'_>) -> String {
        match self.numbers.is_empty() {
            true => format!("length({})", self.text(c)),
            false => self.numbers[c.below(self.numbers.len())].clone(),
        }
    }

    fn text(&self, c: &mut Choices<'_>) -> String {
        match self.texts.is_empty() {
            true => format!("CAST({} AS VARCHAR)", self.number(c)),
            false => self.texts[c.below(self.texts.len())].clone(),
        }
    }

    fn condition(&self, c: &mut Choices<'_>, depth: usize) -> String {
        match c.below(if depth == 0 { 6 } else { 10 }) {
            0 => format!("{} > {}", self.number(c), c.below(20)),
            1 => format!("{} IS NULL", self.any(c)),
            2 => format!("{} = '{}'", self.text(c), c.of(&["Deqing", "p1", "r3", "nowhere"])),
            3 => format!("{} LIKE '{}'", self.text(c), c.of(&["%i%", "p%", "_3"])),
            4 => format!("{} IN ('Anji', 'p2', 'r1')", self.text(c)),
            5 => format!("{} BETWEEN -3 AND {}", self.number(c), c.below(30)),
            6 => format!("({} AND {})", self.condition(c, depth - 1), self.condition(c, depth - 1)),
            7 => format!("({} OR {})", self.condition(c, depth - 1), self.condition(c, depth - 1)),
            8 => format!("NOT ({})", self.condition(c, depth - 1)),
            _ => {
                let not = c.of(&["", "NOT "]);
                let text = self.text(c);
                format!("{not}EXISTS (SELECT 1 FROM rides AS z WHERE z.id = {text} AND z.km > {})", c.below(20))
            }
        }
    }

    fn expression(&self, c: &mut Choices<'_>) -> String {
        match c.below(8) {
            0 | 1 => self.any(c),
            2 => format!("{} + {}", self.number(c), c.below(5)),
            3 => format!("{} % 7", self.number(c)),
            4 => format!("upper({}) || '!'", self.text(c)),
            5 => format!("coalesce({}, '-')", self.text(c)),
            6 => format!("CASE WHEN {} THEN 1 ELSE 0 END", self.condition(c, 0)),
            _ => format!("rank() OVER (PARTITION BY {} ORDER BY {})", self.text(c), self.number(c)),
        }
    }

    fn aggregate(&self, c: &mut Choices<'_>) -> String {
        match c.below(7) {
            0 => "count(*)".to_owned(),
            1 => format!("count({})", self.any(c)),
            2 => format!("sum({})", self.number(c)),
            3 => format!("min({})", self.any(c)),
            4 => format!("max({})", self.any(c)),
            5 => format!("avg({})", self.number(c)),
            _ => format!("count(DISTINCT {})", self.any(c)),
        }
    }
}

fn query(choices: &[u8]) -> String {
    let c = &mut Choices(choices.iter());
    match c.below(5) {
        0..=2 => select(c),
        3 => format!("WITH q AS ({}) SELECT count(*) AS n FROM q", select(c)),
        _ => format!("SELECT * FROM ({}) AS q UNION ALL SELECT * FROM ({0}) AS q", select(c)),
    }
}

fn select(c: &mut Choices<'_>) -> String {
    let mut scope = Scope::default();
    let first = &RELATIONS[c.below(RELATIONS.len())];
    scope.add("a", first);
    let mut from = format!("{} AS a", first.name);
    if c.below(3) == 2 {
        let second = &RELATIONS[c.below(RELATIONS.len())];
        let mut other = Scope::default();
        other.add("b", second);
        let join = c.of(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
        from = format!("{from} {join} {} AS b ON {} = {}", second.name, scope.text(c), other.text(c));
        scope.add("b", second);
    }
    let condition = if c.below(3) == 0 { String::new() } else { format!(" WHERE {}", scope.condition(c, 2)) };
    let (columns, behind) = if c.below(3) == 0 {
        let keys: Vec<String> = (0..c.below(3)).map(|_| scope.any(c)).collect();
        let aggregates = (0..=c.below(2)).map(|_| scope.aggregate(c));
        let columns: Vec<String> = keys.iter().cloned().chain(aggregates).collect();
        let group = if keys.is_empty() { String::new() } else { format!(" GROUP BY {}", keys.join(", ")) };
        let having = if c.below(3) == 2 { format!(" HAVING count(*) > {}", c.below(3)) } else { String::new() };
        (columns, group + &having)
    } else {
        ((0..=c.below(3)).map(|_| scope.expression(c)).collect(), String::new())
    };
    let distinct = c.of(&["", "", "DISTINCT "]);
    let named: Vec<String> = columns.iter().enumerate().map(|(idx, column)| format!("{column} AS c{idx}")).collect();
    // In the order of all columns it does not matter which of equal rows are the first.
    let all: Vec<String> = (1..=columns.len()).map(|n| n.to_string()).collect();
    let limit = match c.below(3) {
        2 => format!(" ORDER BY {} LIMIT {}", all.join(", "), 1 + c.below(5)),
        _ => String::new(),
    };
    format!("SELECT {distinct}{} FROM {from}{condition}{behind}{limit}", named.join(", "))
}

/// The rows of both source tables, by key.
#[derive(Clone, Debug, Default)]
struct Rows {
    people: BTreeMap<u8, Option<&'static str>>,
    rides: BTreeMap<u8, (u8, u8, Option<i32>)>,
}

fn rows() -> impl Strategy<Value = Rows> {
    let town = prop::sample::select(vec![Some("Deqing"), Some("Anji"), Some("Huzhou"), None]);
    let ride = (0u8..7, 0u8..72, prop::option::of(-5i32..40));
    let (people, rides) =
        (prop::collection::btree_map(0u8..6, town, 0..6), prop::collection::btree_map(0u8..30, ride, 0..20));
    (people, rides).prop_map(|(people, rides)| Rows { people, rides })
}

impl Rows {
    fn records(&self) -> Vec<Record> {
        let people = self.people.iter().map(|(id, town)| {
            let town = town.map_or("null".to_owned(), |town| format!("\"{town}\""));
            let value =
                format!("{{\"id\":\"p{id}\",\"name\":\"Name {id}\",\"born\":null,\"town\":{town},\"unread\":\"x\"}}");
            ("people", Some(format!("p{id}")), value)
        });
        let rides = self.rides.iter().map(|(ride, (id, hour, km))| {
            let km = km.map_or("null".to_owned(), |km| km.to_string());
            let (day, hour) = (hour / 24 + 1, hour % 24);
            let at = format!("2023-11-{day:02}T{hour:02}:00:00Z");
            let value = format!("{{\"ride_id\":\"r{ride}\",\"id\":\"p{id}\",\"at\":\"{at}\",\"km\":{km}}}");
            ("rides", Some(format!("r{ride}")), value)
        });
        people.chain(rides).collect()
    }

    /// The same in plain DataFusion.
    async fn session(&self) -> SessionContext {
        let mut options = ConfigOptions::new();
        options.sql_parser.map_string_types_to_utf8view = false;
        options.execution.time_zone = Some(ZONE.to_owned());
        let ctx = SessionContext::new_with_config(SessionConfig::from(options).with_target_partitions(1));
        let ids = |prefix: &'static str, ids: Vec<u8>| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(ids.into_iter().map(|id| format!("{prefix}{id}"))))
        };
        let towns: ArrayRef = Arc::new(self.people.values().copied().collect::<StringArray>());
        let people = [("id", ids("p", self.people.keys().copied().collect())), ("town", towns)];
        let of_rides = self.rides.values();
        let at = of_rides.clone().map(|(_, hour, _)| START_MS + i64::from(*hour) * 3_600_000);
        let at: ArrayRef = Arc::new(TimestampMillisecondArray::from_iter_values(at).with_timezone(ZONE));
        let km: ArrayRef = Arc::new(of_rides.clone().map(|(_, _, km)| *km).collect::<Int32Array>());
        let rides = [
            ("ride_id", ids("r", self.rides.keys().copied().collect())),
            ("id", ids("p", of_rides.map(|(id, _, _)| *id).collect())),
            ("at", at),
            ("km", km),
        ];
        let nullable = |columns: Vec<(&str, ArrayRef)>| {
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
                .unwrap()
        };
        for (name, batch) in [("people", nullable(people.into())), ("rides", nullable(rides.into()))] {
            let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap();
            ctx.register_table(name, Arc::new(table)).unwrap();
        }
        for relation in RELATIONS.iter().filter(|r| !r.batch.is_empty()) {
            // Not views: above a full join DataFusion (55.2) takes the column of an aggregate without groups for the same in all rows,
            // also in those without a match, and does not sort by it.
            ctx.sql(&format!("CREATE TABLE {} AS {}", relation.name, relation.batch)).await.unwrap();
        }
        ctx
    }
}

fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort();
    rows
}

proptest! {
    // A case plans the pack and has a worker read the rows; queries are cheap.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_worker_answers_as_plain_datafusion_does(
        rows in rows(),
        n_shards in prop::sample::select(vec![1u32, 3]),
        queries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..20),
    ) {
        let world = World::of(n_shards, QueryLimits::default(), &rows.records());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let ctx = runtime.block_on(rows.session());
        for choices in queries {
            let sql = query(&choices);
            let expected = runtime.block_on(async { ctx.sql(&sql).await?.collect().await });
            let expected = expected.map_err(|e| TestCaseError::fail(format!("{sql}: plain DataFusion: {}", e.strip_backtrace())))?;
            match world.ask(&sql) {
                Ok(answer) => prop_assert_eq!(sorted(texts(&answer.batches)), sorted(texts(&expected)), "{}", sql),
                // Beside other relations, rows of months that are frozen would have to be computed in another way than they are kept.
                Err(error) => {
                    let is_known = error.finding.code == "C0605" && sql.contains("by_town AS") && sql.contains("known AS");
                    prop_assert!(is_known, "{}: {:?}", sql, error.finding);
                }
            }
        }
    }
}
