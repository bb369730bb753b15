//! `curb shell`: queries about a running worker, one after the other.

use std::io::{self, BufRead, IsTerminal, Write};

use clap::Args;
use serde_json::Value;

use super::sql::{RowsForm, aligned, ask};
use super::worker_client::{WorkerArgs, WorkerClient};
use super::{Failure, print};

const HELP: &str = "\
SELECT .. ;     asks; a query may go over several lines and ends with ;
\\d              lists the relations
\\d NAME         lists the columns of a relation
\\?              this
\\q              ends
";

/// Ask a running worker query by query: SQL that ends with ;, \d for the relations, \q to end
///
/// Reads from stdin, so that a script may be piped in; the exit code is 1 if one of its queries failed.
#[derive(Debug, Args)]
pub(super) struct ShellArgs {
    #[command(flatten)]
    worker: WorkerArgs,
}

pub(super) fn run(args: &ShellArgs) -> Result<(), Failure> {
    let client = args.worker.client()?;
    let is_terminal = io::stdin().is_terminal();
    if is_terminal {
        // Whoever types wants to know at once whether anybody listens.
        let status = client.get("/api/status")?;
        let pipeline = status["pipeline"].as_str().unwrap_or_default();
        print(&format!("pipeline {pipeline} at {}; \\? for help\n", client.base()))?;
    }
    let mut input = Input::default();
    let mut has_failed = false;
    prompt(is_terminal, &input)?;
    for line in io::stdin().lock().lines() {
        match input.take(&line?) {
            Next::More => {}
            Next::End => break,
            Next::Do(what) => match answer(&client, &what) {
                Ok(()) => {}
                Err(failure @ Failure::Unreachable(_)) if !is_terminal => return Err(failure),
                Err(failure) => {
                    has_failed = true;
                    if let Some(error) = failure.error() {
                        writeln!(io::stderr(), "error: {error:#}")?;
                    }
                }
            },
        }
        prompt(is_terminal, &input)?;
    }
    if let Some(rest) = input.rest() {
        has_failed |= answer(&client, &rest).is_err();
    }
    if has_failed && !is_terminal { Err(Failure::Refused) } else { Ok(()) }
}

fn prompt(is_terminal: bool, input: &Input) -> io::Result<()> {
    if !is_terminal {
        return Ok(());
    }
    let mut stdout = io::stdout();
    write!(stdout, "{}", if input.lines.is_empty() { "curb> " } else { "   -> " })?;
    stdout.flush()
}

/// What was typed and is no whole query yet.
#[derive(Default)]
struct Input {
    lines: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    More,
    Do(Wish),
    End,
}

#[derive(Debug, PartialEq, Eq)]
enum Wish {
    Query(String),
    Relations(Option<String>),
    Help,
}

impl Input {
    fn take(&mut self, line: &str) -> Next {
        let words = line.trim();
        if self.lines.is_empty() {
            match words.split_whitespace().collect::<Vec<_>>().as_slice() {
                [] => return Next::More,
                ["\\q" | "exit" | "quit", ..] => return Next::End,
                ["\\d"] => return Next::Do(Wish::Relations(None)),
                ["\\d", name, ..] => return Next::Do(Wish::Relations(Some(name.trim_end_matches(';').to_owned()))),
                [word, ..] if word.starts_with('\\') => return Next::Do(Wish::Help),
                _ => {}
            }
        }
        self.lines.push(line.to_owned());
        match words.ends_with(';') {
            true => Next::Do(Wish::Query(std::mem::take(&mut self.lines).join("\n"))),
            false => Next::More,
        }
    }

    /// A last query without its `;`.
    fn rest(self) -> Option<Wish> {
        let text = self.lines.join("\n");
        (!text.trim().is_empty()).then_some(Wish::Query(text))
    }
}

fn answer(client: &WorkerClient, wish: &Wish) -> Result<(), Failure> {
    match wish {
        Wish::Query(query) => ask(client, query, RowsForm::Table),
        Wish::Help => print(HELP),
        Wish::Relations(None) => print(&relations(&client.get("/api/relations")?)),
        Wish::Relations(Some(name)) => print(&columns(&client.get("/api/relations")?, name)),
    }
}

fn all(answer: &Value) -> impl Iterator<Item = &Value> {
    answer["relations"].as_array().map(Vec::as_slice).unwrap_or_default().iter()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn relations(answer: &Value) -> String {
    let row = |r: &Value| {
        let note = if r["refusal"].is_null() { String::new() } else { "cannot be asked".to_owned() };
        vec![text(&r["name"]), text(&r["kind"]), note]
    };
    aligned(&["relation", "kind", ""].map(str::to_owned), &[], all(answer).map(row).collect())
}

fn columns(answer: &Value, name: &str) -> String {
    let Some(relation) = all(answer).find(|r| r["name"] == name) else {
        return format!("there is no relation {name}; \\d lists them\n");
    };
    if let Some(refusal) = relation["refusal"].as_str() {
        return format!("{refusal}\n");
    }
    let row = |c: &Value| {
        let note = if c["private"] == true { "PRIVATE: shown as ***".to_owned() } else { String::new() };
        vec![text(&c["name"]), text(&c["type"]), note]
    };
    let rows = relation["columns"].as_array().into_iter().flatten().map(row).collect();
    aligned(&["column", "type", ""].map(str::to_owned), &[], rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_goes_over_lines_until_its_semicolon() {
        let mut input = Input::default();
        assert_eq!(input.take("  "), Next::More);
        assert_eq!(input.take("SELECT 1,"), Next::More);
        assert_eq!(input.take("  \\d"), Next::More, "in the midst of a query it is a part of it");
        assert_eq!(input.take("  2; "), Next::Do(Wish::Query("SELECT 1,\n  \\d\n  2; ".into())));
        assert_eq!(input.take("\\d"), Next::Do(Wish::Relations(None)));
        assert_eq!(input.take("\\d captures;"), Next::Do(Wish::Relations(Some("captures".into()))));
        assert_eq!(input.take("\\help"), Next::Do(Wish::Help));
        assert_eq!(input.take("SELECT 3"), Next::More);
        assert_eq!(input.rest(), Some(Wish::Query("SELECT 3".into())));
        assert_eq!(Input::default().take("\\q"), Next::End);
    }
}
