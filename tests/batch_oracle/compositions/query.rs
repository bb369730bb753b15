//! A query of several steps, taken apart so far that pieces of it can be left out, and its two texts.

use fastrand::Rng;

use super::schema::Source;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Int,
    /// Multiples of a quarter, which add up without rounding.
    Float,
    /// A quotient: its sum would depend on the order.
    Rounded,
    Decimal,
    Bool,
    Instant,
    Date,
    Texts,
}

impl Kind {
    pub(super) fn any(rng: &mut Rng) -> Self {
        use Kind::*;
        [Text, Int, Int, Float, Decimal, Bool, Instant, Instant, Date, Texts][rng.usize(0..10)]
    }

    pub(super) fn letter(self) -> &'static str {
        match self {
            Self::Text => "g",
            Self::Int => "n",
            Self::Float => "x",
            Self::Rounded => "q",
            Self::Decimal => "m",
            Self::Bool => "b",
            Self::Instant => "at",
            Self::Date => "d",
            Self::Texts => "l",
        }
    }

    pub(super) fn sql(self) -> &'static str {
        match self {
            Self::Text => "VARCHAR",
            Self::Int => "BIGINT",
            Self::Float | Self::Rounded => "DOUBLE",
            Self::Decimal => "DECIMAL(10, 2)",
            Self::Bool => "BOOLEAN",
            Self::Instant => "TIMESTAMP WITH TIME ZONE",
            Self::Date => "DATE",
            Self::Texts => "VARCHAR[]",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// One output column: what it is called, and how it is computed both ways.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) alias: String,
    pub(super) kind: Kind,
    pub(super) sql: String,
    pub(super) batch: Option<String>,
}

/// How a step is written where it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    View,
    Subquery,
    Cte,
}

/// One SELECT. `{0}`, `{1}` .. in its texts stand for what it reads.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) name: String,
    /// Names of sources and earlier steps.
    pub(super) inputs: Vec<String>,
    pub(super) from: String,
    pub(super) batch_from: Option<String>,
    pub(super) items: Vec<Item>,
    pub(super) distinct: bool,
    pub(super) filters: Vec<String>,
    /// Group keys, both ways.
    pub(super) groups: Vec<(String, String)>,
    pub(super) having: Vec<String>,
    pub(super) qualify: Vec<String>,
    /// Further SELECTs behind UNION ALL.
    pub(super) branches: Vec<String>,
    pub(super) emit: &'static str,
    pub(super) form: Form,
    /// What the step is made of, for counting.
    pub(super) words: Vec<&'static str>,
    /// The columns that identify a row, if there are any.
    pub(super) key: Option<Vec<String>>,
    pub(super) is_stream: bool,
}

impl Step {
    fn select(&self, batch: bool, read: &dyn Fn(&str) -> String) -> String {
        let items: Vec<String> = self
            .items
            .iter()
            .map(|i| format!("{} AS {}", if batch { i.batch.as_ref().unwrap_or(&i.sql) } else { &i.sql }, i.alias))
            .collect();
        let from = if batch { self.batch_from.as_ref().unwrap_or(&self.from) } else { &self.from };
        let distinct = if self.distinct { "DISTINCT " } else { "" };
        let mut text = format!("SELECT {distinct}{} FROM {from}", items.join(", "));
        let mut clause = |word: &str, parts: &[String], between: &str| {
            if !parts.is_empty() {
                text.push_str(&format!(" {word} {}", parts.join(between)));
            }
        };
        clause("WHERE", &self.filters, " AND ");
        let groups: Vec<String> = self.groups.iter().map(|g| if batch { g.1.clone() } else { g.0.clone() }).collect();
        clause("GROUP BY", &groups, ", ");
        clause("HAVING", &self.having, " AND ");
        clause("QUALIFY", &self.qualify, " AND ");
        for branch in &self.branches {
            text.push_str(&format!(" UNION ALL {branch}"));
        }
        if !batch && !self.emit.is_empty() {
            text.push_str(&format!(" EMIT {}", self.emit));
        }
        for (idx, input) in self.inputs.iter().enumerate() {
            text = text.replace(&format!("{{{idx}}}"), &read(input));
        }
        text
    }
}

/// How the result gets its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResultKey {
    Inferred,
    Declared,
    /// Equal rows are counted.
    Bag,
}

/// A whole query over sources.
#[derive(Clone, Debug)]
pub(super) struct Query {
    pub(super) sources: Vec<Source>,
    pub(super) steps: Vec<Step>,
    pub(super) result: ResultKey,
}

impl Query {
    /// The last step, whose rows are compared.
    fn last(&self) -> Option<&Step> {
        self.steps.last()
    }

    pub(super) fn is_stream(&self) -> bool {
        self.last().is_some_and(|s| s.is_stream)
    }

    pub(super) fn reads_streams(&self) -> bool {
        self.sources.iter().any(|s| s.is_stream)
    }

    fn step(&self, name: &str) -> Option<&Step> {
        self.steps.iter().find(|s| s.name == name)
    }

    /// Leaves out what the last step does not need.
    pub(super) fn pruned(mut self) -> Self {
        let mut wanted: Vec<String> = self.last().map(|s| vec![s.name.clone()]).unwrap_or_default();
        let mut next = 0;
        while next < wanted.len() {
            if let Some(step) = self.step(&wanted[next]) {
                wanted.extend(step.inputs.clone());
            }
            next += 1;
        }
        self.steps.retain(|s| wanted.contains(&s.name));
        self.sources.retain(|s| wanted.contains(&s.name));
        self
    }

    /// A step's SELECT in streaming SQL; what it reads is named, or written out in it.
    fn sql(&self, step: &Step, is_statement: bool) -> String {
        let mut with = Vec::new();
        if is_statement {
            for input in &step.inputs {
                if let Some(read) = self.step(input).filter(|s| s.form == Form::Cte)
                    && !with.iter().any(|(name, _)| name == input)
                {
                    with.push((input.clone(), self.sql(read, false)));
                }
            }
        }
        let text = step.select(false, &|name| match self.step(name) {
            Some(s) if s.form == Form::Subquery || (s.form == Form::Cte && !is_statement) => {
                format!("({})", self.sql(s, false))
            }
            _ => name.to_owned(),
        });
        if with.is_empty() {
            return text;
        }
        let with: Vec<String> = with.into_iter().map(|(name, sql)| format!("{name} AS ({sql})")).collect();
        format!("WITH {} {text}", with.join(", "))
    }

    /// The columns whose values make a row, but for lists, which are not counted.
    fn columns(&self) -> Vec<String> {
        let items = self.last().map(|s| s.items.as_slice()).unwrap_or_default();
        items.iter().filter(|i| i.kind != Kind::Texts).map(|i| i.alias.clone()).collect()
    }

    fn counted(&self, from: &str) -> String {
        let columns = self.columns().join(", ");
        format!("SELECT {columns}, count(*) AS times FROM {from} AS bag GROUP BY {columns}")
    }

    fn result_key(&self) -> ResultKey {
        let step = self.last();
        let is_there = |key: &Vec<String>| {
            !key.is_empty() && step.is_some_and(|s| key.iter().all(|k| s.items.iter().any(|i| i.alias == *k)))
        };
        match step.and_then(|s| s.key.as_ref()) {
            Some(key) if is_there(key) => self.result,
            _ => ResultKey::Bag,
        }
    }

    /// The whole pack.
    pub(super) fn pack(&self) -> String {
        let mut pack = String::from("SET TIME ZONE = 'Europe/London';\n");
        pack.extend(self.sources.iter().map(Source::ddl));
        let Some((last, before)) = self.steps.split_last() else { return pack };
        for step in before.iter().filter(|s| s.form == Form::View) {
            pack.push_str(&format!("CREATE VIEW {} AS {};\n", step.name, self.sql(step, true)));
        }
        let query = self.sql(last, true);
        if last.is_stream {
            pack.push_str(&format!("CREATE SINK result_sink WITH (topic = 'r', format = 'json') AS {query};\n"));
            return pack;
        }
        let result = self.result_key();
        let mut key = last.key.clone().unwrap_or_default();
        match result {
            ResultKey::Inferred => pack.push_str(&format!("CREATE TABLE result AS {query};\n")),
            ResultKey::Declared => {
                pack.push_str(&format!("CREATE TABLE result (PRIMARY KEY ({})) AS {query};\n", key.join(", ")));
            }
            ResultKey::Bag => {
                key = self.columns();
                pack.push_str(&format!("CREATE VIEW {} AS {query};\n", last.name));
                pack.push_str(&format!("CREATE TABLE result AS {};\n", self.counted(&last.name)));
            }
        }
        pack.push_str("CREATE SINK result_sink WITH (topic = 'r', format = 'json') AS SELECT * FROM result;\n");
        let keys: Vec<String> =
            key.iter().map(|k| format!("coalesce(CAST(coalesce(after.{k}, before.{k}) AS VARCHAR), 'null')")).collect();
        pack.push_str(&format!(
            "CREATE SINK changes_sink WITH (topic = 'c', format = 'json') AS \
             SELECT {} AS key, before, after, revision FROM CHANGES(result);\n",
            keys.join(" || '|' || ")
        ));
        pack
    }

    /// The views and the final query, in batch SQL.
    pub(super) fn batch(&self) -> (Vec<(String, String)>, String) {
        let named = |name: &str| name.to_owned();
        let steps: Vec<(String, String)> =
            self.steps.iter().map(|s| (s.name.clone(), s.select(true, &named))).collect();
        let last = self.last().map(|s| s.name.clone()).unwrap_or_default();
        let query = match self.result_key() {
            ResultKey::Bag if !self.is_stream() => self.counted(&last),
            _ => format!("SELECT * FROM {last}"),
        };
        (steps, query)
    }
}
