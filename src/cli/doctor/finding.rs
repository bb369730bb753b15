//! What a doctor says: one line a finding, with a remedy where something is wrong.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Value, json};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// Could not be looked at; says why.
    Skipped,
    /// Works, and will hurt some day.
    Warning,
    /// Keeps the pipeline from starting or from keeping its promises.
    Problem,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    level: Level,
    /// What was looked at: brokers, topics, rights, ..
    check: &'static str,
    text: String,
    /// What to do about it; of what was skipped, why.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

/// All findings, in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    pub(super) fn ok(&mut self, check: &'static str, text: &str) {
        self.add(Level::Ok, check, text, None);
    }

    pub(super) fn skip(&mut self, check: &'static str, text: &str, reason: &str) {
        self.add(Level::Skipped, check, text, Some(reason));
    }

    pub(super) fn warning(&mut self, check: &'static str, text: &str, remedy: &str) {
        self.add(Level::Warning, check, text, Some(remedy));
    }

    pub(super) fn problem(&mut self, check: &'static str, text: &str, remedy: &str) {
        self.add(Level::Problem, check, text, Some(remedy));
    }

    pub(super) fn add(&mut self, level: Level, check: &'static str, text: &str, remedy: Option<&str>) {
        self.0.push(Finding { level, check, text: text.to_owned(), remedy: remedy.map(str::to_owned) });
    }

    pub(super) fn n(&self, level: Level) -> usize {
        self.0.iter().filter(|f| f.level == level).count()
    }

    pub(super) fn text(&self) -> String {
        let width = self.0.iter().map(|f| f.check.len()).max().unwrap_or(0);
        let mut text = String::new();
        for Finding { level, check, text: said, remedy } in &self.0 {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{:<8} {check:<width$}  {said}", level.name());
            if let Some(remedy) = remedy {
                let _ = writeln!(text, "{:<8} {:<width$}  -> {remedy}", "", "");
            }
        }
        let n = |level: Level, one: &str, more: &str| match self.n(level) {
            1 => format!("1 {one}"),
            n => format!("{n} {more}"),
        };
        let _ = writeln!(
            text,
            "\n{} ok, {}, {}, {} skipped",
            self.n(Level::Ok),
            n(Level::Warning, "warning", "warnings"),
            n(Level::Problem, "problem", "problems"),
            self.n(Level::Skipped)
        );
        text
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "findings": self.0,
            "ok": self.n(Level::Ok), "skipped": self.n(Level::Skipped),
            "warnings": self.n(Level::Warning), "problems": self.n(Level::Problem),
        })
    }
}

/// Names as a sentence lists them; of many the first ones and how many more there are.
pub(super) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 6;
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match names.len() {
        n if n > SHOWN + 1 => {
            format!("{} and {} more", names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", "), n - SHOWN)
        }
        _ => names.join(", "),
    }
}
