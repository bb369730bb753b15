//! Random queries: steps that read sources and each other, with a deterministic batch answer.
//!
//! What would not have one is not written: row numbers and frames of rows have an order that ends in all columns, floats
//! are multiples of a quarter until they are divided, and a stream looks up tables that do not follow from streams.

use fastrand::Rng;

use super::query::{Column, Form, Item, Kind, Query, ResultKey, Step};
use super::schema::{Source, TIME};
use super::scope::{Offered, Scope};

/// Something that can be read, with what is known of it.
#[derive(Clone, Debug)]
struct Relation {
    name: String,
    columns: Vec<Column>,
    key: Option<Vec<String>>,
    is_stream: bool,
    /// Whether a stream is somewhere below it.
    of_streams: bool,
    broadcast: bool,
    valid_from: Option<String>,
    /// Columns that hold the event time of a stream.
    times: Vec<String>,
    /// About how many rows it may have.
    size: f64,
}

/// A FROM clause.
#[derive(Clone, Debug, Default)]
struct From {
    inputs: Vec<String>,
    sql: String,
    batch: Option<String>,
    scope: Scope,
    /// The qualified columns that identify a row.
    key: Option<Vec<String>>,
    times: Vec<String>,
    is_stream: bool,
    of_streams: bool,
    size: f64,
    words: Vec<&'static str>,
}

const SIZE_MAX: f64 = 4_000.0;

/// Writes a query over random sources.
pub(super) fn query(with_streams: bool, rng: &mut Rng) -> Query {
    let sources = super::schema::random(with_streams, rng);
    let relations = sources.iter().map(of_source).collect();
    let mut writer = Writer { rng, relations, steps: Vec::new(), n_names: 0 };
    for _ in 0..writer.rng.usize(1..5) {
        writer.step();
    }
    let result = [ResultKey::Inferred, ResultKey::Declared, ResultKey::Bag][rng_index(writer.rng)];
    let steps = writer.steps;
    Query { sources, steps, result }.pruned()
}

fn rng_index(rng: &mut Rng) -> usize {
    [0, 0, 1, 2][rng.usize(0..4)]
}

fn of_source(source: &Source) -> Relation {
    Relation {
        name: source.name.clone(),
        columns: source.columns.clone(),
        key: Some(source.key.clone()).filter(|k| !k.is_empty()),
        is_stream: source.is_stream,
        of_streams: source.is_stream,
        broadcast: source.broadcast,
        valid_from: source.valid_from.clone(),
        times: if source.is_stream { vec![TIME.into()] } else { Vec::new() },
        size: if source.is_stream { 80.0 } else { 20.0 },
    }
}

struct Writer<'a> {
    rng: &'a mut Rng,
    relations: Vec<Relation>,
    steps: Vec<Step>,
    n_names: usize,
}

/// What a step adds to its FROM clause.
#[derive(Default)]
struct Select {
    items: Vec<Item>,
    distinct: bool,
    filters: Vec<String>,
    groups: Vec<(String, String)>,
    having: Vec<String>,
    qualify: Vec<String>,
    branches: Vec<String>,
    emit: &'static str,
    /// By alias.
    key: Option<Vec<String>>,
    times: Vec<String>,
    is_stream: bool,
    size: f64,
    words: Vec<&'static str>,
    /// Written as a view always.
    alone: bool,
}

impl Writer<'_> {
    fn chance(&mut self, percent: u32) -> bool {
        self.rng.u32(0..100) < percent
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.rng.usize(0..of.len())]
    }

    /// The relation that the next step mostly reads: the last one.
    fn main_input(&mut self) -> Relation {
        let last = self.relations.len() - 1;
        let idx = if self.steps.is_empty() || self.chance(15) { self.rng.usize(0..=last) } else { last };
        self.relations[idx].clone()
    }

    fn step(&mut self) {
        let input = self.main_input();
        let mut from = match self.rng.u32(0..100) {
            0..=19 if input.is_stream => self.interval_join(&input),
            0..=44 => self.join(&input),
            45..=54 => self.as_of(&input),
            _ => None,
        }
        .unwrap_or_else(|| self.single(&input));
        // A condition with a subquery may be added to everything.
        let mut filters = Vec::new();
        if self.chance(30) {
            filters.push(from.scope.predicate(2, self.rng));
        }
        if self.chance(15)
            && let Some(filter) = self.subquery(&mut from)
        {
            filters.push(filter);
        }
        let select = match self.rng.u32(0..100) {
            0..=29 => self.group(&mut from),
            30..=49 => self.over(&mut from),
            50..=57 => self.top(&from),
            58..=63 => self.distinct(&from),
            64..=71 => self.unnest(&from),
            72..=79 => self.union(&mut from),
            _ => None,
        };
        let mut select = select.unwrap_or_else(|| self.project(&mut from));
        if !select.words.contains(&"session") {
            select.filters.extend(filters);
        }
        self.add(from, select);
    }

    /// Adds the step, and what can be read of it.
    fn add(&mut self, from: From, select: Select) {
        let name = format!("v{}", self.steps.len());
        let form = match self.rng.u32(0..10) {
            0..=5 => Form::View,
            _ if select.alone => Form::View,
            6..=7 => Form::Subquery,
            _ => Form::Cte,
        };
        let mut words = from.words;
        words.extend(select.words);
        self.relations.push(Relation {
            name: name.clone(),
            columns: select.items.iter().map(|i| Column { name: i.alias.clone(), kind: i.kind }).collect(),
            key: select.key.clone(),
            is_stream: select.is_stream,
            of_streams: from.of_streams,
            broadcast: false,
            valid_from: None,
            times: select.times,
            size: select.size,
        });
        self.steps.push(Step {
            name,
            inputs: from.inputs,
            from: from.sql,
            batch_from: from.batch,
            items: select.items,
            distinct: select.distinct,
            filters: select.filters,
            groups: select.groups,
            having: select.having,
            qualify: select.qualify,
            branches: select.branches,
            emit: select.emit,
            form,
            words,
            key: select.key,
            is_stream: select.is_stream,
        });
    }

    fn fresh(&mut self, letter: &str) -> String {
        self.n_names += 1;
        format!("{letter}_{}", self.n_names)
    }

    fn single(&mut self, input: &Relation) -> From {
        let qualified = |names: &[String]| names.iter().map(|n| format!("l.{n}")).collect::<Vec<_>>();
        From {
            inputs: vec![input.name.clone()],
            sql: "{0} AS l".into(),
            batch: None,
            scope: scope(input, "l"),
            key: input.key.as_deref().map(qualified),
            times: qualified(&input.times),
            is_stream: input.is_stream,
            of_streams: input.of_streams,
            size: input.size,
            words: Vec::new(),
        }
    }

    /// An equality between columns of both sides, and the right one's name.
    fn equality(&mut self, left: &Scope, right: &Relation) -> Option<(String, String)> {
        let r = scope(right, "r");
        let pairs: Vec<(&Offered, &Offered)> = left
            .0
            .iter()
            .flat_map(|a| r.0.iter().map(move |b| (a, b)))
            .filter(|(a, b)| a.kind == b.kind && matches!(a.kind, Kind::Text | Kind::Int | Kind::Date | Kind::Bool))
            .collect();
        if pairs.is_empty() {
            return None;
        }
        let (a, b) = pairs[self.rng.usize(0..pairs.len())];
        let sql = match self.rng.u32(0..12) {
            // The parser takes an AND behind it for part of its right side.
            0 => format!("({} IS NOT DISTINCT FROM {})", a.sql, b.sql),
            1 if a.kind == Kind::Int => format!("{} + 1 = {}", a.sql, b.sql),
            _ => format!("{} = {}", a.sql, b.sql),
        };
        Some((sql, b.name.clone()))
    }

    /// Equalities with the whole key of the right side, if the kinds are there.
    fn key_equalities(&mut self, left: &Scope, right: &Relation) -> Option<Vec<(String, String)>> {
        let key = right.key.clone().filter(|k| !k.is_empty())?;
        let mut found = Vec::new();
        for name in key {
            let kind = right.columns.iter().find(|c| c.name == name)?.kind;
            if kind == Kind::Rounded || kind == Kind::Texts {
                return None;
            }
            let column = left.any(&[kind], self.rng)?;
            found.push((format!("{} = r.{name}", column.sql), name));
        }
        Some(found)
    }

    /// A table that a relation may be joined with.
    fn other(&mut self, input: &Relation) -> Option<Relation> {
        let fits = |r: &&Relation| {
            !r.is_stream
                && r.valid_from.is_none()
                && (!input.is_stream || !r.of_streams)
                && r.size * input.size / 4.0 < SIZE_MAX
        };
        let found: Vec<Relation> = self.relations.iter().filter(fits).cloned().collect();
        if found.is_empty() { None } else { Some(found[self.rng.usize(0..found.len())].clone()) }
    }

    fn join(&mut self, input: &Relation) -> Option<From> {
        let left = self.single(input);
        let right =
            if !input.is_stream && self.chance(15) && input.size < 60.0 { input.clone() } else { self.other(input)? };
        let r = scope(&right, "r");
        let both = Scope(left.scope.0.iter().chain(&r.0).cloned().collect());
        let mut word =
            self.pick(&["JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "LEFT SEMI JOIN", "LEFT ANTI JOIN"]);
        if self.chance(10) {
            word = "FULL JOIN";
        }
        let keeps_right = |word: &str| matches!(word, "RIGHT JOIN" | "FULL JOIN");
        if input.is_stream && keeps_right(word) {
            word = "LEFT JOIN";
        }
        let mut on = Vec::new();
        let mut equated = Vec::new();
        if right.broadcast && self.chance(70) {
            let (low, high) = (both.int(self.rng), r.int(self.rng));
            on.push(match self.rng.u32(0..3) {
                0 => format!("{low} <= {high}"),
                1 => format!("{} BETWEEN {low} AND {high}", left.scope.int(self.rng)),
                _ => both.predicate(1, self.rng),
            });
            if keeps_right(word) {
                word = "LEFT JOIN";
            }
        } else {
            let by_key = if self.chance(50) { self.key_equalities(&left.scope, &right) } else { None };
            let pairs = match by_key {
                Some(pairs) => pairs,
                None => {
                    let mut pairs = vec![self.equality(&left.scope, &right)?];
                    if self.chance(20) {
                        pairs.extend(self.equality(&left.scope, &right));
                    }
                    pairs
                }
            };
            for (sql, name) in pairs {
                equated.extend(Some(name).filter(|_| sql.contains(" = ")));
                on.push(sql);
            }
        }
        if self.chance(25) {
            on.push(both.predicate(1, self.rng));
        }
        let keeps_one = right.key.as_ref().is_some_and(|k| k.iter().all(|c| equated.contains(c)));
        let keeps_left = word.contains("SEMI") || word.contains("ANTI");
        let right_key: Option<Vec<String>> = right.key.as_ref().map(|k| k.iter().map(|c| format!("r.{c}")).collect());
        let pair = left.key.clone().zip(right_key).map(|(mut l, r)| {
            l.extend(r);
            l
        });
        let key = match word {
            "RIGHT JOIN" => pair,
            // Rows of either side without a match may look alike.
            "FULL JOIN" => None,
            _ if keeps_left || keeps_one => left.key.clone(),
            _ => pair,
        };
        Some(From {
            inputs: vec![input.name.clone(), right.name.clone()],
            sql: format!("{{0}} AS l {word} {{1}} AS r ON {}", on.join(" AND ")),
            scope: if keeps_left { left.scope.clone() } else { both },
            key,
            size: if keeps_one || keeps_left { left.size } else { left.size * right.size / 4.0 },
            of_streams: left.of_streams || right.of_streams,
            words: vec![if input.is_stream { "lookup" } else { "join" }, word],
            ..left
        })
    }

    /// A join of two streams, whose event times bound each other.
    fn interval_join(&mut self, input: &Relation) -> Option<From> {
        let left = self.single(input);
        let time = left.times.first()?.clone();
        let fits = |r: &&Relation| r.is_stream && !r.times.is_empty() && r.size * input.size / 8.0 < SIZE_MAX;
        let found: Vec<Relation> = self.relations.iter().filter(fits).cloned().collect();
        if found.is_empty() {
            return None;
        }
        let right = found[self.rng.usize(0..found.len())].clone();
        let other = format!("r.{}", right.times.first()?);
        let both = Scope(left.scope.0.iter().chain(&scope(&right, "r").0).cloned().collect());
        let (before, after) =
            (self.pick(&["5 minutes", "20 minutes", "1 hour"]), self.pick(&["0 minutes", "30 minutes", "2 hours"]));
        let mut on = vec![match self.rng.u32(0..5) {
            0 => format!("{other} = {time}"),
            1 => format!("{other} > {time} - INTERVAL '{before}' AND {other} <= {time}"),
            2 => format!("{time} >= {other} AND {time} < {other} + INTERVAL '{after}'"),
            _ => format!("{other} BETWEEN {time} - INTERVAL '{before}' AND {time} + INTERVAL '{after}'"),
        }];
        if self.chance(80) {
            on.extend(self.equality(&left.scope, &right).map(|(sql, _)| sql));
        }
        if self.chance(20) {
            on.push(both.predicate(1, self.rng));
        }
        let word =
            self.pick(&["JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "LEFT SEMI JOIN", "LEFT ANTI JOIN"]);
        let word = if self.chance(8) { "FULL JOIN" } else { word };
        let keeps_left = word.contains("SEMI") || word.contains("ANTI");
        // An outer row has no time of the other side.
        let times = match word {
            "JOIN" => vec![time, other],
            "RIGHT JOIN" => vec![other],
            "FULL JOIN" => Vec::new(),
            _ => vec![time],
        };
        Some(From {
            inputs: vec![input.name.clone(), right.name.clone()],
            sql: format!("{{0}} AS l {word} {{1}} AS r ON {}", on.join(" AND ")),
            scope: if keeps_left { left.scope.clone() } else { both },
            key: left.key.clone().filter(|_| keeps_left),
            times,
            size: if keeps_left { left.size } else { left.size * right.size / 8.0 },
            words: vec!["interval", word],
            ..left
        })
    }

    fn as_of(&mut self, input: &Relation) -> Option<From> {
        let left = self.single(input);
        let versions = self.relations.iter().find(|r| r.valid_from.is_some())?.clone();
        let since = versions.valid_from.clone()?;
        let time = if input.is_stream {
            let times = left.times.clone();
            times.first()?.clone()
        } else {
            left.scope.any(&[Kind::Instant], self.rng)?.sql.clone()
        };
        let by = versions.key.clone()?.into_iter().find(|k| *k != since);
        let equal = match &by {
            Some(by) => format!("{} = r.{by}", left.scope.any(&[Kind::Text], self.rng)?.sql),
            None => "TRUE".into(),
        };
        let word = self.pick(&["JOIN", "LEFT JOIN", "LEFT JOIN"]);
        let partition = by.as_ref().map_or(String::new(), |by| format!("PARTITION BY {by} "));
        let until = format!("(SELECT *, lead({since}) OVER ({partition}ORDER BY {since}) AS until_ FROM {{1}})");
        let mut both = left.scope.clone();
        both.0.extend(scope(&versions, "r").0);
        Some(From {
            inputs: vec![input.name.clone(), versions.name.clone()],
            sql: format!("{{0}} AS l {word} {{1}} FOR SYSTEM_TIME AS OF {time} AS r ON {equal}"),
            batch: Some(format!(
                "{{0}} AS l {word} {until} AS r ON {equal} AND r.{since} <= {time} AND (r.until_ IS NULL OR {time} < r.until_)"
            )),
            scope: both,
            words: vec!["as_of", word],
            ..left
        })
    }

    /// A condition that reads another table.
    fn subquery(&mut self, from: &mut From) -> Option<String> {
        let input = Relation { is_stream: from.is_stream, size: 1.0, ..self.relations[0].clone() };
        let right = self.other(&input)?;
        let r = scope(&right, "r");
        let place = from.inputs.len();
        let no = if self.rng.bool() { "NOT " } else { "" };
        let sql = match self.rng.u32(0..4) {
            0..=1 => {
                let (equal, _) = self.equality(&from.scope, &right)?;
                let both = Scope(from.scope.0.iter().chain(&r.0).cloned().collect());
                let more =
                    if self.chance(30) { format!(" AND {}", both.predicate(0, self.rng)) } else { String::new() };
                format!("{no}EXISTS (SELECT 1 FROM {{{place}}} AS r WHERE {equal}{more})")
            }
            2 => {
                let mine = from.scope.any(&[Kind::Text, Kind::Int], self.rng)?.clone();
                let column = r.any(&[mine.kind], self.rng)?.sql.clone();
                let filter =
                    if self.chance(50) { format!(" WHERE {}", r.predicate(0, self.rng)) } else { String::new() };
                format!("{} {no}IN (SELECT {column} FROM {{{place}}} AS r{filter})", mine.sql)
            }
            _ => {
                let function = self.pick(&["max", "min", "count"]);
                let column = r.any(&[Kind::Int], self.rng)?.sql.clone();
                format!("{} >= (SELECT {function}({column}) FROM {{{place}}} AS r)", from.scope.int(self.rng))
            }
        };
        // Inside a subquery `r` hides the outer one of that name.
        if from.scope.0.iter().any(|o| o.sql.starts_with("r.")) {
            return None;
        }
        from.inputs.push(right.name);
        from.of_streams |= right.of_streams;
        from.words.push("subquery");
        Some(sql)
    }

    /// Items for these columns; the first alias of a name is the name itself.
    fn items(&mut self, chosen: &[Offered]) -> Vec<Item> {
        let mut items: Vec<Item> = Vec::new();
        for offered in chosen {
            if items.iter().any(|i| i.sql == offered.sql) {
                continue;
            }
            let is_taken = items.iter().any(|i| i.alias == offered.name);
            let alias = if is_taken { self.fresh(offered.kind.letter()) } else { offered.name.clone() };
            items.push(Item { alias, kind: offered.kind, sql: offered.sql.clone(), batch: None });
        }
        items
    }

    /// The key and time columns mostly, and some others.
    fn chosen(&mut self, from: &From) -> Vec<Offered> {
        let keeps_key = self.chance(85);
        let is_wanted = |sql: &String| {
            (keeps_key && from.key.as_ref().is_some_and(|k| k.contains(sql))) || from.times.contains(sql)
        };
        let mut chosen: Vec<Offered> = from.scope.0.iter().filter(|o| is_wanted(&o.sql)).cloned().collect();
        for _ in 0..self.rng.usize(1..4) {
            chosen.push(from.scope.0[self.rng.usize(0..from.scope.0.len())].clone());
        }
        if chosen.iter().all(|o| o.kind == Kind::Texts) {
            chosen.extend(from.scope.0.iter().find(|o| o.kind != Kind::Texts).cloned());
        }
        chosen
    }

    fn alias_of(items: &[Item], sql: &str) -> Option<String> {
        items.iter().find(|i| i.sql == sql).map(|i| i.alias.clone())
    }

    fn carried(from: &From, items: &[Item]) -> (Option<Vec<String>>, Vec<String>) {
        let key = from.key.as_ref().and_then(|k| k.iter().map(|c| Self::alias_of(items, c)).collect());
        (key, from.times.iter().filter_map(|t| Self::alias_of(items, t)).collect())
    }

    fn project(&mut self, from: &mut From) -> Select {
        let chosen = self.chosen(from);
        let mut items = self.items(&chosen);
        for _ in 0..self.rng.usize(0..3) {
            let (sql, kind) = from.scope.value(self.rng);
            let alias = self.fresh(kind.letter());
            items.push(Item { alias, kind, sql, batch: None });
        }
        if self.chance(10)
            && let Some(item) = self.scalar(from)
        {
            items.push(item);
        }
        let (key, times) = Self::carried(from, &items);
        Select {
            items,
            key,
            times,
            is_stream: from.is_stream,
            size: from.size,
            words: vec!["project"],
            ..Select::default()
        }
    }

    /// A correlated scalar subquery.
    fn scalar(&mut self, from: &mut From) -> Option<Item> {
        let input = Relation { is_stream: from.is_stream, size: 1.0, ..self.relations[0].clone() };
        let right = self.other(&input)?;
        if from.scope.0.iter().any(|o| o.sql.starts_with("r.")) || from.is_stream {
            return None;
        }
        let (equal, _) =
            self.equality(&from.scope, &right).filter(|(sql, _)| sql.contains(" = ") && !sql.contains('+'))?;
        let place = from.inputs.len();
        let what = match scope(&right, "r").any(&[Kind::Int], self.rng) {
            Some(column) if self.rng.bool() => format!("max({})", column.sql),
            _ => "count(*)".into(),
        };
        from.inputs.push(right.name);
        from.of_streams |= right.of_streams;
        from.words.push("scalar");
        let alias = self.fresh("n");
        let sql = format!("(SELECT {what} FROM {{{place}}} AS r WHERE {equal})");
        Some(Item { alias, kind: Kind::Int, sql, batch: None })
    }

    /// An aggregate over rows: its SQL and kind.
    fn aggregate(&mut self, from: &From) -> (String, Kind) {
        let scope = &from.scope;
        let int = scope.int(self.rng);
        let mut found = vec![
            ("count(*)".to_owned(), Kind::Int),
            (format!("sum({int})"), Kind::Int),
            (format!("count({int})"), Kind::Int),
            (format!("count(DISTINCT {int})"), Kind::Int),
            (format!("sum(DISTINCT {int})"), Kind::Int),
            (format!("avg({int})"), Kind::Rounded),
            (format!("min({int})"), Kind::Int),
        ];
        if let Some(x) = scope.any(&[Kind::Float], self.rng) {
            let x = &x.sql;
            found.extend([
                (format!("sum({x})"), Kind::Float),
                (format!("avg({x})"), Kind::Rounded),
                (format!("max({x})"), Kind::Float),
            ]);
        }
        if let Some(m) = scope.any(&[Kind::Decimal], self.rng) {
            found.extend([(format!("sum({})", m.sql), Kind::Decimal), (format!("min({})", m.sql), Kind::Decimal)]);
        }
        if let Some(b) = scope.any(&[Kind::Bool], self.rng) {
            found.extend([(format!("bool_or({})", b.sql), Kind::Bool), (format!("bool_and({})", b.sql), Kind::Bool)]);
        }
        if let Some(o) = scope.any(&[Kind::Text, Kind::Instant, Kind::Date, Kind::Rounded], self.rng) {
            let function = ["min", "max"][self.rng.usize(0..2)];
            found.extend([
                (format!("{function}({})", o.sql), o.kind),
                (format!("count(DISTINCT {})", o.sql), Kind::Int),
            ]);
        }
        if !from.is_stream && self.chance(40) {
            let order = scope.ordered().join(", ");
            if let Some(text) = scope.any(&[Kind::Text], self.rng) {
                found.push((format!("array_agg({} ORDER BY {order})", text.sql), Kind::Texts));
                found.push((format!("string_agg({}, ',' ORDER BY {order})", text.sql), Kind::Text));
            }
            found.push((format!("first_value({int} ORDER BY {order})"), Kind::Int));
            found.push((format!("last_value({int} ORDER BY {order})"), Kind::Int));
        }
        let (mut sql, kind) = found.swap_remove(self.rng.usize(0..found.len()));
        if self.chance(20) && !sql.contains("ORDER BY") {
            sql = format!("{sql} FILTER (WHERE {})", scope.predicate(0, self.rng));
        }
        (sql, kind)
    }

    fn group(&mut self, from: &mut From) -> Option<Select> {
        let mut select = Select { words: vec!["group"], size: from.size / 2.0, ..Select::default() };
        let mut key = Vec::new();
        // The bucket comes first.
        let bucket = if from.is_stream { from.times.first().cloned().filter(|_| self.chance(75)) } else { None };
        let bucket = match bucket {
            None if !from.is_stream && self.chance(20) => {
                from.scope.any(&[Kind::Instant], self.rng).map(|o| o.sql.clone())
            }
            other => other,
        };
        let is_plain = from.sql == "{0} AS l";
        let overlapping = bucket.is_some() && is_plain && self.chance(35);
        let session = overlapping && self.rng.bool();
        if let Some(time) = &bucket {
            let alias = self.fresh("at");
            let named = from.is_stream && self.rng.bool();
            if session {
                // Its keys come first.
            } else if overlapping {
                self.hop(from, &mut select, time, alias.clone());
            } else {
                let (sql, word) = match self.rng.u32(0..4) {
                    0 => (format!("date_trunc('day', {time})"), "date_trunc"),
                    n => (
                        format!("tumble({time}, INTERVAL '{}')", ["1 hour", "3 hours", "1 day"][n as usize - 1]),
                        "tumble",
                    ),
                };
                let shown = if named && word == "tumble" { "window_start".to_owned() } else { sql.clone() };
                select.items.push(Item {
                    alias: alias.clone(),
                    kind: Kind::Instant,
                    sql: shown,
                    batch: Some(sql.clone()),
                });
                select.groups.push((sql.clone(), sql));
                select.words.push(word);
            }
            if !session {
                key.push(alias.clone());
            }
            if from.is_stream {
                select.alone = true;
                select.emit = self.pick(&["FINAL", "CHANGES", "CHANGES", ""]);
                select.is_stream = select.emit != "CHANGES";
                select.words.push(if select.is_stream { "final" } else { "changes" });
                if select.is_stream && !overlapping {
                    select.times = vec![alias];
                }
            }
        }
        for _ in 0..self.rng.usize(0..3) {
            let kinds = [Kind::Text, Kind::Text, Kind::Int, Kind::Bool, Kind::Date, Kind::Float];
            let kind = self.pick(&kinds);
            let Some(offered) = from.scope.any(&[kind], self.rng).cloned() else { continue };
            if select.groups.iter().any(|g| g.0 == offered.sql) {
                continue;
            }
            let (sql, kind) = match (kind, self.rng.u32(0..5)) {
                (Kind::Text, 0) => (format!("coalesce({}, 'none')", offered.sql), Kind::Text),
                (Kind::Int, 0) => (format!("{} % 3", offered.sql), Kind::Int),
                _ => (offered.sql.clone(), offered.kind),
            };
            let alias = self.fresh(kind.letter());
            select.items.push(Item { alias: alias.clone(), kind, sql: sql.clone(), batch: None });
            select.groups.push((sql.clone(), sql));
            key.push(alias);
        }
        if let Some(time) = bucket.filter(|_| session) {
            let start = self.session(from, &mut select, &time);
            key.push(start.clone());
            if select.is_stream {
                select.times = vec![start];
            }
        }
        let mut n_ordinary = 0;
        for _ in 0..self.rng.usize(1..4) {
            let (sql, kind) = self.aggregate(from);
            // Of a whole table only what can be retracted is computed.
            if select.groups.is_empty() && sql.contains("ORDER BY") {
                continue;
            }
            n_ordinary += usize::from(kind != Kind::Texts);
            let alias = self.fresh(kind.letter());
            select.items.push(Item { alias, kind, sql, batch: None });
        }
        if select.groups.is_empty() && n_ordinary == 0 {
            let alias = self.fresh("n");
            select.items.push(Item { alias, kind: Kind::Int, sql: "count(*)".into(), batch: None });
        }
        if self.chance(25) {
            select.having.push(
                ["count(*) > 1".into(), format!("max({}) > 1", from.scope.int(self.rng))][self.rng.usize(0..2)].clone(),
            );
        }
        if select.groups.is_empty() {
            select.words.push("whole");
            select.size = 1.0;
        }
        select.key = Some(key);
        Some(select)
    }

    /// A bucket that overlaps its neighbours, or leaves gaps.
    fn hop(&mut self, from: &mut From, select: &mut Select, time: &str, alias: String) {
        let widths = self.pick(&[
            "INTERVAL '20 minutes', INTERVAL '1 hour'",
            "INTERVAL '25 minutes', INTERVAL '1 hour'",
            "INTERVAL '2 hours', INTERVAL '30 minutes'",
            "INTERVAL '7 hours', INTERVAL '1 day'",
        ]);
        let column = time.trim_start_matches("l.");
        from.batch = Some(format!("(SELECT *, unnest(hop_starts({column}, {widths})) AS start_ FROM {{0}}) AS l"));
        let start = "l.start_".to_owned();
        select.items.push(Item { alias, kind: Kind::Instant, sql: "window_start".into(), batch: Some(start.clone()) });
        select.groups.push((format!("hop({time}, {widths})"), start));
        if self.chance(30) {
            let (alias, end) = (self.fresh("at"), format!("hop_end(l.start_, {widths})"));
            select.items.push(Item { alias, kind: Kind::Instant, sql: "window_end".into(), batch: Some(end) });
        }
        select.words.push("hop");
    }

    /// A bucket that ends where nothing happens; in batch numbered by hand, by the other keys.
    fn session(&mut self, from: &mut From, select: &mut Select, time: &str) -> String {
        let gap = self.pick(&["INTERVAL '12 minutes'", "INTERVAL '40 minutes'", "INTERVAL '5 hours'"]);
        let keys: Vec<String> = select.groups.iter().map(|g| g.1.replace("l.", "")).collect();
        let partition = if keys.is_empty() { String::new() } else { format!("PARTITION BY {} ", keys.join(", ")) };
        let column = time.trim_start_matches("l.");
        from.batch = Some(format!(
            "(SELECT *, sum(begins_) OVER ({partition}ORDER BY {column}) AS number_ FROM (SELECT *, CASE WHEN {column} <= \
             session_end(lag({column}) OVER ({partition}ORDER BY {column}), {gap}) THEN 0 ELSE 1 END AS begins_ \
             FROM {{0}} WHERE {column} IS NOT NULL) AS marked) AS l"
        ));
        let alias = self.fresh("at");
        let (start, end) = (format!("min({time})"), format!("session_end(max({time}), {gap})"));
        select.items.push(Item {
            alias: alias.clone(),
            kind: Kind::Instant,
            sql: "window_start".into(),
            batch: Some(start),
        });
        select.groups.push((format!("session({time}, {gap})"), "l.number_".into()));
        if self.chance(30) {
            let alias = self.fresh("at");
            select.items.push(Item { alias, kind: Kind::Instant, sql: "window_end".into(), batch: Some(end) });
        }
        select.words.push("session");
        alias
    }

    /// OVER on a stream: by event time, behind which all columns tell rows apart.
    fn running(&mut self, from: &mut From) -> Option<Select> {
        let time = from.times.first()?.clone();
        let chosen = self.chosen(from);
        let mut items = self.items(&chosen);
        let (key, times) = Self::carried(from, &items);
        let scope = from.scope.clone();
        let by: Option<String> = scope.any(&[Kind::Text, Kind::Int, Kind::Bool], self.rng).map(|o| o.sql.clone());
        let partition = by.filter(|_| self.rng.u32(0..8) > 0).map_or(String::new(), |by| format!("PARTITION BY {by} "));
        let mut order = vec![time.clone()];
        order.extend(scope.ordered().into_iter().filter(|c| *c != time));
        let order = order.join(", ");
        let mut qualify = Vec::new();
        // Rows that cannot be told apart may swap places from one call to the next.
        let calls = if from.key.is_some() { self.rng.usize(1..4) } else { 1 };
        for _ in 0..calls {
            let int = scope.int(self.rng);
            let rows = self.pick(&[
                "ROWS UNBOUNDED PRECEDING",
                "ROWS BETWEEN 3 PRECEDING AND CURRENT ROW",
                "ROWS BETWEEN 4 PRECEDING AND 1 PRECEDING",
                "ROWS BETWEEN 1 PRECEDING AND 2 FOLLOWING",
            ]);
            let range = self.pick(&[
                "",
                " RANGE BETWEEN INTERVAL '2 hours' PRECEDING AND CURRENT ROW",
                " RANGE BETWEEN INTERVAL '3 hours' PRECEDING AND INTERVAL '30 minutes' PRECEDING",
                " RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND INTERVAL '40 minutes' FOLLOWING",
                " GROUPS BETWEEN 2 PRECEDING AND CURRENT ROW",
                " GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING",
            ]);
            let (window, peers) =
                (format!("{partition}ORDER BY {order} {rows}"), format!("{partition}ORDER BY {time}{range}"));
            let (ordered, by_time) = (format!("{partition}ORDER BY {order}"), format!("{partition}ORDER BY {time}"));
            let function = self.pick(&["sum", "count", "min", "max"]);
            let (sql, kind) = match self.rng.u32(0..14) {
                0..=1 => (format!("{function}({int}) OVER ({window})"), Kind::Int),
                2..=3 => (format!("{function}({int}) OVER ({peers})"), Kind::Int),
                11 => (format!("lead({int}) OVER ({ordered})"), Kind::Int),
                12 => (format!("last_value({int}) IGNORE NULLS OVER ({window})"), Kind::Int),
                13 => (format!("lag({int}) IGNORE NULLS OVER ({ordered})"), Kind::Int),
                4 => (format!("row_number() OVER ({ordered})"), Kind::Int),
                5 => (format!("lag({int}) OVER ({ordered})"), Kind::Int),
                6 => (format!("first_value({int}) OVER ({window})"), Kind::Int),
                7 => (format!("CAST(rank() OVER ({by_time}) AS BIGINT)"), Kind::Int),
                8 => (format!("avg({int}) OVER ({peers})"), Kind::Rounded),
                9 => (format!("last_value({int}) OVER ({window})"), Kind::Int),
                _ => (format!("count(DISTINCT {int}) OVER ({by_time})"), Kind::Int),
            };
            let alias = self.fresh(kind.letter());
            if kind == Kind::Int && self.chance(15) {
                qualify.push(format!("{sql} > 1"));
            } else {
                items.push(Item { alias, kind, sql, batch: None });
            }
        }
        Some(Select {
            items,
            key,
            times,
            qualify,
            is_stream: true,
            size: from.size,
            words: vec!["running"],
            ..Select::default()
        })
    }

    /// The first row of each key by event time, the first or last in a bucket; or, as a table, the last of all or the greatest.
    fn first_rows(&mut self, from: &From) -> Option<Select> {
        let time = from.times.first()?.clone();
        let chosen = self.chosen(from);
        let items = self.items(&chosen);
        let (_, times) = Self::carried(from, &items);
        let by = from.scope.any(&[Kind::Text, Kind::Int, Kind::Bool], self.rng)?.sql.clone();
        let mut order: Vec<String> = from.scope.ordered();
        order.retain(|c| *c != time);
        let others = order.join(", ");
        let bucket = format!("tumble({time}, INTERVAL '2 hours')");
        let greatest = format!("{} DESC NULLS LAST, {time}, {others}", from.scope.int(self.rng));
        let choice = self.rng.u32(0..6);
        let (partition, order) = match choice {
            0 => (by.clone(), format!("{time}, {others}")),
            1 => (format!("{by}, {bucket}"), format!("{time}, {others}")),
            2 => (format!("{by}, {bucket}"), format!("{time} DESC, {others}")),
            3 => (bucket, greatest),
            4 => (by.clone(), format!("{time} DESC, {others}")),
            _ => (by.clone(), greatest),
        };
        let is_stream = choice < 4;
        let n = if choice > 0 { self.pick(&["= 1", "<= 2"]) } else { "= 1" };
        let key = if is_stream || n != "= 1" { None } else { Self::alias_of(&items, &by).map(|key| vec![key]) };
        let qualify = vec![format!("row_number() OVER (PARTITION BY {partition} ORDER BY {order}) {n}")];
        Some(Select {
            items,
            key,
            times: if is_stream { times } else { Vec::new() },
            qualify,
            is_stream,
            size: from.size / 2.0,
            words: vec![if is_stream { "first_rows" } else { "top_rows" }],
            ..Select::default()
        })
    }

    fn over(&mut self, from: &mut From) -> Option<Select> {
        if from.is_stream {
            return self.running(from);
        }
        if from.size > 1_500.0 {
            return None;
        }
        let chosen = self.chosen(from);
        let mut items = self.items(&chosen);
        let (key, times) = Self::carried(from, &items);
        let mut qualify = Vec::new();
        let mut windows: Vec<String> = Vec::new();
        // Rows that cannot be told apart may swap places from one call to the next.
        let calls = if from.key.is_some() { self.rng.usize(1..4) } else { 1 };
        for _ in 0..calls {
            let (sql, kind) = self.window_call(from, &mut windows);
            let alias = self.fresh(kind.letter());
            if kind == Kind::Int && self.chance(15) {
                qualify.push(format!("{sql} > 1"));
            } else {
                items.push(Item { alias, kind, sql, batch: None });
            }
        }
        Some(Select {
            items,
            key,
            times,
            qualify,
            is_stream: from.is_stream,
            size: from.size,
            words: vec!["over"],
            ..Select::default()
        })
    }

    /// A call with OVER; windows used before are often used again.
    fn window_call(&mut self, from: &From, windows: &mut Vec<String>) -> (String, Kind) {
        let scope = &from.scope;
        let all = scope.ordered();
        let partition = match scope.any(&[Kind::Text, Kind::Bool, Kind::Int, Kind::Date], self.rng) {
            Some(column) if self.rng.u32(0..8) > 0 => format!("PARTITION BY {} ", column.sql),
            _ => String::new(),
        };
        // An order that ends in all columns tells rows apart, or they are the same.
        let first = scope.any(&[Kind::Int, Kind::Instant, Kind::Text, Kind::Float], self.rng).map(|o| o.sql.clone());
        let direction = self.pick(&["", "", " DESC", " DESC NULLS LAST", " NULLS FIRST"]);
        let mut order: Vec<String> = first.iter().map(|f| format!("{f}{direction}")).collect();
        order.extend(all.iter().filter(|c| Some(*c) != first.as_ref()).cloned());
        let total = order.join(", ");
        let mut window = format!("{partition}ORDER BY {total}");
        if let Some(used) = windows.first()
            && self.rng.u32(0..2) == 0
        {
            window.clone_from(used);
        }
        windows.push(window.clone());
        let int = scope.int(self.rng);
        let frame = self.pick(&[
            "",
            " ROWS UNBOUNDED PRECEDING",
            " ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING",
            " ROWS BETWEEN 2 PRECEDING AND CURRENT ROW",
            " ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
        ]);
        let peers = first.map_or(String::new(), |f| format!("ORDER BY {f}{direction}"));
        let text = scope.any(&[Kind::Text], self.rng).map_or_else(|| int.clone(), |o| o.sql.clone());
        let text_kind = if text == int { Kind::Int } else { Kind::Text };
        let float = scope.any(&[Kind::Float], self.rng).map(|o| o.sql.clone());
        match self.rng.u32(0..14) {
            0..=1 => (format!("row_number() OVER ({window})"), Kind::Int),
            2 => (format!("lag({int}) OVER ({window})"), Kind::Int),
            3 => (format!("lead({text}, 2) OVER ({window})"), text_kind),
            4 => (format!("first_value({text}) OVER ({window}{frame})"), text_kind),
            5 => (format!("last_value({int}) OVER ({window}{frame})"), Kind::Int),
            6 => (format!("sum({int}) OVER ({window}{frame})"), Kind::Int),
            7 => (format!("count(*) OVER ({window}{frame})"), Kind::Int),
            8 => (format!("max({int}) OVER ({window}{frame})"), Kind::Int),
            // Peers share a value.
            9 => (format!("CAST(rank() OVER ({partition}{peers}) AS BIGINT)"), Kind::Int),
            10 => (format!("sum({int}) OVER ({partition}{peers})"), Kind::Int),
            11 => (format!("count({int}) OVER ({partition})"), Kind::Int),
            12 => (format!("avg({int}) OVER ({partition})"), Kind::Rounded),
            _ => match float {
                Some(x) => (format!("sum({x}) OVER ({window}{frame})"), Kind::Float),
                None => (format!("min({text}) OVER ({partition})"), text_kind),
            },
        }
    }

    /// The first rows of each partition.
    fn top(&mut self, from: &From) -> Option<Select> {
        if from.is_stream {
            return self.first_rows(from);
        }
        if from.size > 1_500.0 {
            return None;
        }
        let chosen = self.chosen(from);
        let items = self.items(&chosen);
        let by = from.scope.any(&[Kind::Text, Kind::Int, Kind::Bool], self.rng)?.sql.clone();
        let order = from.scope.ordered().join(", ");
        let first = from.scope.int(self.rng);
        let n = self.pick(&["= 1", "= 1", "<= 2"]);
        let (mut key, times) = Self::carried(from, &items);
        if n == "= 1"
            && let Some(alias) = Self::alias_of(&items, &by)
        {
            key = Some(vec![alias]);
        }
        let qualify =
            vec![format!("row_number() OVER (PARTITION BY {by} ORDER BY {first} DESC NULLS LAST, {order}) {n}")];
        Some(Select { items, key, times, qualify, size: from.size / 2.0, words: vec!["top"], ..Select::default() })
    }

    fn distinct(&mut self, from: &From) -> Option<Select> {
        let mut chosen: Vec<Offered> = Vec::new();
        for _ in 0..self.rng.usize(1..4) {
            let kinds = [Kind::Text, Kind::Int, Kind::Bool, Kind::Date, Kind::Instant];
            chosen.extend(from.scope.any(&kinds, self.rng).cloned());
        }
        if chosen.is_empty() {
            return None;
        }
        let items = self.items(&chosen);
        let key = Some(items.iter().map(|i| i.alias.clone()).collect());
        Some(Select { items, distinct: true, key, size: from.size / 2.0, words: vec!["distinct"], ..Select::default() })
    }

    fn unnest(&mut self, from: &From) -> Option<Select> {
        let chosen = self.chosen(from);
        let mut items = self.items(&chosen);
        let (sql, kind) = match from.scope.any(&[Kind::Texts], self.rng) {
            Some(list) => (format!("unnest({})", list.sql), Kind::Text),
            None => {
                let int = from.scope.int(self.rng);
                (format!("unnest(make_array({int}, {}))", from.scope.int(self.rng)), Kind::Int)
            }
        };
        let alias = self.fresh(kind.letter());
        items.push(Item { alias, kind, sql, batch: None });
        let (_, times) = Self::carried(from, &items);
        Some(Select {
            items,
            times,
            is_stream: from.is_stream,
            size: from.size * 2.0,
            words: vec!["unnest"],
            ..Select::default()
        })
    }

    /// Rows of the same kinds from another relation behind those of this one.
    fn union(&mut self, from: &mut From) -> Option<Select> {
        let fits = |r: &&Relation| r.is_stream == from.is_stream && r.size < SIZE_MAX / 2.0;
        let others: Vec<Relation> = self.relations.iter().filter(fits).cloned().collect();
        if others.is_empty() || from.size > SIZE_MAX / 2.0 {
            return None;
        }
        let other = others[self.rng.usize(0..others.len())].clone();
        let o = scope(&other, "o");
        let place = from.inputs.len();
        let mut pairs: Vec<(Offered, String)> = Vec::new();
        let mut times = Vec::new();
        if let (Some(mine), Some(theirs)) = (from.times.first(), other.times.first()) {
            let offered = from.scope.0.iter().find(|c| c.sql == *mine)?.clone();
            times.push(offered.name.clone());
            pairs.push((offered, format!("o.{theirs}")));
        }
        for _ in 0..self.rng.usize(2..5) {
            let offered = from.scope.0[self.rng.usize(0..from.scope.0.len())].clone();
            if matches!(offered.kind, Kind::Texts | Kind::Decimal) || pairs.iter().any(|(p, _)| p.name == offered.name)
            {
                continue;
            }
            if let Some(match_) = o.any(&[offered.kind], self.rng) {
                pairs.push((offered, match_.sql.clone()));
            }
        }
        if pairs.is_empty() {
            return None;
        }
        let chosen: Vec<Offered> = pairs.iter().map(|(o, _)| o.clone()).collect();
        let items = self.items(&chosen);
        if items.len() != pairs.len() {
            return None;
        }
        let theirs: Vec<String> =
            pairs.iter().zip(&items).map(|((_, sql), i)| format!("{sql} AS {}", i.alias)).collect();
        let filter = if self.chance(40) { format!(" WHERE {}", o.predicate(1, self.rng)) } else { String::new() };
        let branch = format!("SELECT {} FROM {{{place}}} AS o{filter}", theirs.join(", "));
        from.inputs.push(other.name);
        from.of_streams |= other.of_streams;
        Some(Select {
            items,
            times,
            branches: vec![branch],
            is_stream: from.is_stream,
            size: from.size + other.size,
            words: vec!["union"],
            ..Select::default()
        })
    }
}

fn scope(relation: &Relation, alias: &str) -> Scope {
    let offered = |c: &Column| Offered { sql: format!("{alias}.{}", c.name), name: c.name.clone(), kind: c.kind };
    Scope(relation.columns.iter().map(offered).collect())
}
