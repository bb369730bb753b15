//! `curb shell`: queries about a running worker, one after the other.

use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::Arc;

use anyhow::anyhow;
use clap::Args;
use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::sql::{RowsForm, aligned, ask};
use super::worker_client::{WorkerArgs, WorkerClient};
use super::{Failure, print};

const HELP: &str = "\
SELECT .. ;     asks; a query may go over several lines, and several may stand in one
\\d              lists the relations
\\d NAME         lists the columns of a relation
\\?              this
\\q              ends, and so does Ctrl-D
Ctrl-C          drops what was typed of a query; while one is answered it ends the shell, and the query with it
";

const NO_EDITING: &str = "\
Lines are read as the terminal gives them, without a history and without arrow keys: `rlwrap curb shell` adds both.
In a script, what a query answers goes to stdout, all else to stderr; one that fails does not keep the next from being asked.";

/// Ask a running worker query by query: SQL that ends with ;, \d for the relations, \q to end
///
/// Reads from stdin, so that a script may be piped in; the exit code is 1 if one of its queries failed.
#[derive(Debug, Args)]
#[command(after_help = format!("Commands:\n{HELP}\n{NO_EDITING}"))]
pub(super) struct ShellArgs {
    #[command(flatten)]
    worker: WorkerArgs,
}

pub(super) fn run(args: &ShellArgs) -> Result<(), Failure> {
    let client = Arc::new(args.worker.client()?);
    let is_terminal = io::stdin().is_terminal();
    if is_terminal {
        // Whoever types wants to know at once whether anybody listens.
        let status = client.get("/api/status")?;
        let pipeline = status["pipeline"].as_str().unwrap_or_default();
        print(&format!("pipeline {pipeline} at {}; \\? for help\n", client.base()))?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(converse(client, is_terminal));
    // Neither a query that was given up nor the terminal is waited for.
    runtime.shutdown_background();
    outcome
}

async fn converse(client: Arc<WorkerClient>, is_terminal: bool) -> Result<(), Failure> {
    let mut interrupts = is_terminal.then(|| signal(SignalKind::interrupt())).transpose()?;
    let mut lines = typed_lines()?;
    let mut input = Input::default();
    let mut has_failed = false;
    loop {
        prompt(is_terminal, &input)?;
        let line = tokio::select! {
            line = lines.recv() => line.transpose()?,
            () = interrupted(&mut interrupts) => {
                input = Input::default();
                writeln!(io::stdout())?;
                continue;
            }
        };
        let is_end = line.is_none();
        let wishes = match line {
            Some(line) => input.take(&line),
            None => input.rest().into_iter().collect(),
        };
        for wish in wishes {
            if wish == Wish::End {
                return end(has_failed && !is_terminal);
            }
            let asking = client.clone();
            let answered = spawn_blocking(move || answer(&asking, &wish));
            let answered = tokio::select! {
                answered = answered => answered.map_err(|e| Failure::Failed(anyhow!(e)))?,
                () = interrupted(&mut interrupts) => {
                    return Err(Failure::Failed(anyhow!("interrupted; the query was given up")));
                }
            };
            match answered {
                Ok(()) => {}
                Err(failure @ Failure::Unreachable(_)) if !is_terminal => return Err(failure),
                Err(failure) => {
                    has_failed = true;
                    if let Some(error) = failure.error() {
                        writeln!(io::stderr(), "error: {error:#}")?;
                    }
                }
            }
        }
        if is_end {
            if is_terminal {
                // The shell that is returned to begins a line of its own.
                writeln!(io::stdout())?;
            }
            return end(has_failed && !is_terminal);
        }
    }
}

fn end(has_failed: bool) -> Result<(), Failure> {
    if has_failed { Err(Failure::Refused) } else { Ok(()) }
}

/// Waits for Ctrl-C; for ever where it is not listened to, and ends the program.
async fn interrupted(interrupts: &mut Option<Signal>) {
    match interrupts {
        Some(interrupts) => drop(interrupts.recv().await),
        None => std::future::pending().await,
    }
}

/// The lines of stdin. They are read on a thread of their own, which nobody waits for.
fn typed_lines() -> io::Result<mpsc::Receiver<io::Result<String>>> {
    let (sender, lines) = mpsc::channel(1);
    let read = move || {
        for line in io::stdin().lock().lines() {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("curb-stdin".to_owned()).spawn(read)?;
    Ok(lines)
}

fn prompt(is_terminal: bool, input: &Input) -> io::Result<()> {
    if !is_terminal {
        return Ok(());
    }
    let mut stdout = io::stdout();
    write!(stdout, "{}", if input.text.is_empty() { "curb> " } else { "   -> " })?;
    stdout.flush()
}

/// What was typed and is no whole query yet.
#[derive(Default)]
struct Input {
    text: String,
}

#[derive(Debug, PartialEq, Eq)]
enum Wish {
    Query(String),
    Relations(Option<String>),
    Help,
    End,
}

impl Input {
    /// What is to be done after a line.
    fn take(&mut self, line: &str) -> Vec<Wish> {
        if self.text.is_empty() {
            match line.split_whitespace().collect::<Vec<_>>().as_slice() {
                [] => return Vec::new(),
                ["\\q" | "exit" | "quit" | "exit;" | "quit;", ..] => return vec![Wish::End],
                ["\\d"] => return vec![Wish::Relations(None)],
                ["\\d", name, ..] => return vec![Wish::Relations(Some(name.trim_end_matches(';').to_owned()))],
                [word, ..] if word.starts_with('\\') => return vec![Wish::Help],
                _ => {}
            }
        }
        self.text.push_str(line);
        self.text.push('\n');
        let mut wishes = Vec::new();
        while let Some(end) = end_of_query(&self.text) {
            let rest = self.text.split_off(end);
            wishes.push(Wish::Query(std::mem::replace(&mut self.text, rest).trim().to_owned()));
        }
        if self.is_blank() {
            self.text.clear();
        }
        wishes
    }

    /// Whether there is nothing but blanks and remarks.
    fn is_blank(&self) -> bool {
        self.text.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with("--"))
    }

    /// A last query without its `;`.
    fn rest(&mut self) -> Option<Wish> {
        let text = std::mem::take(&mut self.text);
        (!text.trim().is_empty()).then(|| Wish::Query(text.trim().to_owned()))
    }
}

/// Behind the first `;` that ends a query: one that stands in no text, name, or comment.
fn end_of_query(text: &str) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = text.get(at..)?;
        let next = rest.chars().next()?;
        let past = |open: usize, close: &str| rest.get(open..)?.find(close).map(|found| open + found + close.len());
        at += match next {
            ';' => return Some(at + 1),
            // A doubled quote ends one text and begins the next, which comes to the same.
            '\'' => past(1, "'")?,
            '"' => past(1, "\"")?,
            '-' if rest.starts_with("--") => past(2, "\n")?,
            '/' if rest.starts_with("/*") => past(2, "*/")?,
            other => other.len_utf8(),
        };
    }
}

fn answer(client: &WorkerClient, wish: &Wish) -> Result<(), Failure> {
    match wish {
        Wish::Query(query) => ask(client, query, RowsForm::Table),
        Wish::Help => print(HELP),
        Wish::End => Ok(()),
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
        let note = if r["refusal"].is_null() { String::new() } else { "cannot be asked: \\d NAME says why".to_owned() };
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

    fn query(text: &str) -> Wish {
        Wish::Query(text.to_owned())
    }

    #[test]
    fn a_query_goes_over_lines_until_its_semicolon() {
        let mut input = Input::default();
        assert_eq!(input.take("  "), []);
        assert_eq!(input.take("SELECT 1,"), []);
        assert_eq!(input.take("  \\d"), [], "in the midst of a query it is a part of it");
        assert_eq!(input.take("  2; "), [query("SELECT 1,\n  \\d\n  2;")]);
        assert_eq!(input.take("\\d"), [Wish::Relations(None)]);
        assert_eq!(input.take("\\d captures;"), [Wish::Relations(Some("captures".into()))]);
        assert_eq!(input.take("\\help"), [Wish::Help]);
        assert_eq!(input.take("SELECT 3"), []);
        assert_eq!(input.rest(), Some(query("SELECT 3")));
        assert_eq!(input.rest(), None);
        assert_eq!(input.take("\\q"), [Wish::End]);
    }

    #[test]
    fn a_semicolon_in_a_text_a_name_or_a_comment_ends_nothing() {
        let mut input = Input::default();
        assert_eq!(input.take("SELECT 'a;"), []);
        assert_eq!(input.take("b''; c', \"d;\", -- e;"), []);
        assert_eq!(
            input.take("/* f; */ 1; SELECT 2; SELECT"),
            [query("SELECT 'a;\nb''; c', \"d;\", -- e;\n/* f; */ 1;"), query("SELECT 2;"),]
        );
        assert_eq!(input.take("'车牌'; -- done"), [query("SELECT\n'车牌';")]);
        assert_eq!(input.rest(), None);
    }
}
