//! `curb sql`: a query about a running worker, and its rows.

mod shown;

use std::io::{self, Read, Write};

use clap::{Args, ValueEnum};

use self::shown::{csv, table};
use super::worker_client::{WorkerArgs, WorkerClient, parsed};
use super::{Failure, print};
use crate::server::RICH;

pub(super) use self::shown::aligned;

/// Ask a running worker: SQL about what its sources, views, tables and sinks hold now
///
/// The whole answer is of one epoch. Nothing is changed, and values of PRIVATE columns are shown as ***.
#[derive(Debug, Args)]
pub(super) struct SqlArgs {
    /// One SELECT; - reads it from stdin
    query: String,
    #[command(flatten)]
    worker: WorkerArgs,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    output: RowsForm,
}

/// How rows are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum RowsForm {
    /// For people.
    #[default]
    Table,
    /// A JSON array with an object for each row.
    Json,
    /// Comma-separated values; the first row names the columns.
    Csv,
}

pub(super) fn run(args: &SqlArgs) -> Result<(), Failure> {
    let query = match args.query.as_str() {
        "-" => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text)?;
            text
        }
        text => text.to_owned(),
    };
    ask(&args.worker.client()?, &query, args.output)
}

/// Asks, and prints the rows.
pub(super) fn ask(client: &WorkerClient, query: &str, form: RowsForm) -> Result<(), Failure> {
    if form == RowsForm::Json {
        // As it comes: numbers keep all their digits.
        let rows = client.post("/api/sql", "application/json", query)?;
        return print(&format!("{rows}\n"));
    }
    let answer = parsed(&client.post("/api/sql", RICH, query)?)?;
    print(&if form == RowsForm::Csv { csv(&answer) } else { table(&answer) })?;
    let n_rows = answer["rows"].as_array().map_or(0, Vec::len);
    let rows = if n_rows == 1 { "row" } else { "rows" };
    let (epoch, ms) = (&answer["as_of"]["epoch"], &answer["elapsed_ms"]);
    if answer["truncated"] == true {
        writeln!(io::stderr(), "(the first {n_rows} {rows} of more: add LIMIT or WHERE; epoch {epoch}, {ms} ms)")?;
    } else if form == RowsForm::Table {
        writeln!(io::stderr(), "({n_rows} {rows}; epoch {epoch}, {ms} ms)")?;
    }
    Ok(())
}
