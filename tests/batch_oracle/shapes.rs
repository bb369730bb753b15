//! What is tested: a query with the views before it, the key of its result, and the batch SQL where that differs.

/// How the result gets its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyOf {
    /// The planner finds the key.
    Inferred,
    /// The key is declared: its columns.
    Declared(&'static str),
    /// The rows are a bag: they are counted by all columns, which are named here.
    Bag(&'static str),
    /// The result is a stream.
    Stream,
}

/// A query to be run both ways.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    steps: Vec<(&'static str, &'static str)>,
    /// Views that batch SQL does not read.
    streamed: Vec<(&'static str, &'static str)>,
    query: &'static str,
    batch: Option<&'static str>,
    result: KeyOf,
    /// Whether a table over streams equals batch after any epoch, not only at the end.
    pub(crate) at_any_time: bool,
    /// The columns that identify a row of the result, for CHANGES; found from the pack if inferred.
    key: &'static str,
}

impl Shape {
    pub(crate) fn new(name: &'static str, result: KeyOf, query: &'static str) -> Self {
        let key = match result {
            KeyOf::Declared(key) | KeyOf::Bag(key) => key,
            KeyOf::Inferred | KeyOf::Stream => "",
        };
        Self { name, steps: Vec::new(), streamed: Vec::new(), query, batch: None, result, at_any_time: false, key }
    }

    /// A result whose key the planner must find: these columns.
    pub(crate) fn inferred(name: &'static str, key: &'static str, query: &'static str) -> Self {
        Self { key, ..Self::new(name, KeyOf::Inferred, query) }
    }

    /// A view that the query reads.
    pub(crate) fn view(mut self, name: &'static str, sql: &'static str) -> Self {
        self.steps.push((name, sql));
        self
    }

    /// A view that the query reads, and of which batch SQL knows nothing.
    pub(crate) fn streamed_view(mut self, name: &'static str, sql: &'static str) -> Self {
        self.streamed.push((name, sql));
        self
    }

    /// What batch SQL says instead of the query.
    pub(crate) fn batch(mut self, sql: &'static str) -> Self {
        self.batch = Some(sql);
        self
    }

    /// The result is that of the rows so far after any epoch.
    pub(crate) fn at_any_time(mut self) -> Self {
        self.at_any_time = true;
        self
    }

    pub(crate) fn is_stream(&self) -> bool {
        let reads = |sql: &str| sql.contains("FROM q") || sql.contains("FROM s ");
        self.result == KeyOf::Stream
            || reads(self.query)
            || self.steps.iter().chain(&self.streamed).any(|(_, sql)| reads(sql))
    }

    /// The views and the final query, in batch SQL.
    pub(crate) fn batch_steps(&self) -> (Vec<(&'static str, &'static str)>, String) {
        (self.steps.clone(), self.counted(self.batch.unwrap_or(self.query)))
    }

    fn counted(&self, query: &str) -> String {
        match self.result {
            KeyOf::Bag(columns) => {
                format!("SELECT {columns}, count(*) AS times FROM ({query}) AS bag GROUP BY {columns}")
            }
            _ => query.to_owned(),
        }
    }

    /// The rules after the sources.
    pub(crate) fn pack(&self) -> String {
        let views = self.steps.iter().chain(&self.streamed);
        let mut pack: String = views.map(|(name, sql)| format!("CREATE VIEW {name} AS {sql};\n")).collect();
        let query = self.counted(self.query);
        match self.result {
            KeyOf::Stream => {
                pack.push_str(&format!("CREATE SINK result_sink WITH (topic = 'r', format = 'json') AS {query};\n"));
                return pack;
            }
            KeyOf::Declared(key) => {
                pack.push_str(&format!("CREATE TABLE result (PRIMARY KEY ({key})) AS {query};\n"));
            }
            _ => pack.push_str(&format!("CREATE TABLE result AS {query};\n")),
        }
        pack.push_str("CREATE SINK result_sink WITH (topic = 'r', format = 'json') AS SELECT * FROM result;\n");
        let keys: Vec<String> =
            self.key.split(',').map(|k| k.trim()).map(|k| format!("coalesce(after.{k}, before.{k})")).collect();
        pack.push_str(&format!(
            "CREATE SINK changes_sink WITH (topic = 'c', format = 'json') AS
             SELECT {} AS key, before, after, revision FROM CHANGES(result);\n",
            concat(&keys)
        ));
        pack
    }
}

/// Several key columns as one text.
fn concat(keys: &[String]) -> String {
    let text: Vec<String> = keys.iter().map(|k| format!("coalesce(CAST({k} AS VARCHAR), 'null')")).collect();
    text.join(" || '/' || ")
}
