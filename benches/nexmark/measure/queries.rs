//! The queries of this folder, planned, and what stands in batch SQL where a query says something that batch SQL does not know.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use curb::catalog::{Catalog, resolve};
use curb::dialect::{Diagnostic, Pack, parse, render};
use curb::plan::{Pipeline, plan};

/// One query with the sources that it reads.
pub(crate) struct Query {
    /// As its file and its sink are called: `q5`.
    pub(crate) name: String,
    pub(crate) catalog: Catalog,
    pub(crate) pipeline: Arc<Pipeline>,
    /// `batch/<name>.sql`; none where the query itself is batch SQL.
    pub(crate) batch: Option<String>,
}

/// The names of all queries of a folder, in their order.
pub(crate) fn names(folder: &Path) -> Result<Vec<String>, String> {
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut numbers: Vec<u32> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix('q')?.strip_suffix(".sql")?.parse().ok())
        .collect();
    numbers.sort_unstable();
    Ok(numbers.into_iter().map(|n| format!("q{n}")).collect())
}

/// The SQL of one query as a pack of its own: the sources and the query.
pub(crate) fn pack(folder: &Path, name: &str) -> Result<Pack, String> {
    let mut pack = Pack::read(&folder.join("sources.sql")).map_err(|e| e.to_string())?;
    let query = Pack::read(&folder.join(format!("{name}.sql"))).map_err(|e| e.to_string())?;
    pack.files.extend(query.files);
    Ok(pack)
}

/// Reads and plans one query.
pub(crate) fn read(folder: &Path, name: &str) -> Result<Query, String> {
    let pack = pack(folder, name)?;
    let shown = |findings: Vec<Diagnostic>| render(&findings, &pack);
    let (statements, findings) = parse(&pack);
    if !findings.is_empty() {
        return Err(shown(findings));
    }
    let catalog = resolve(statements, None).map_err(shown)?;
    let pipeline = Arc::new(plan(&catalog).map_err(shown)?);
    let batch = fs::read_to_string(folder.join(format!("batch/{name}.sql"))).ok();
    Ok(Query { name: name.to_owned(), catalog, pipeline, batch })
}

impl Query {
    /// What batch SQL runs: views in their order, and the final query.
    pub(crate) fn batch_steps(&self) -> (Vec<(String, String)>, String) {
        if let Some(sql) = &self.batch {
            return (Vec::new(), sql.clone());
        }
        let mut views: Vec<(String, String)> =
            self.catalog.queries.iter().map(|q| (q.name.to_string(), q.query.to_string())).collect();
        let last = views.pop().map_or_else(String::new, |(_, sql)| sql);
        (views, last)
    }
}
