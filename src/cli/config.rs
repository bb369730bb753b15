//! `curb config`: what the settings are and where each came from, and the schema of the configuration file.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use clap::{Args, CommandFactory, Subcommand};
use serde_json::{Value, json};

use super::settings::{Configuration, Given, Origin, SettingsArgs, is_secret, schema};
use super::{Cli, Failure, OutputForm, print};

/// What stands for a secret.
const MASK: &str = "***";

/// Show the settings of `curb run` and where each came from, or the schema of the configuration file
///
/// The file of --config is weaker than CURB_* variables, and these are weaker than flags. Every long flag of `curb run` is a key
/// of the file, with _ for -. Properties of the Kafka client have their own names: in the file under [kafka.properties], in the
/// environment as CURB_KAFKA_SASL_PASSWORD, as a flag -X sasl.password=... A secret is best kept in a file of its own that the
/// configuration file names: [kafka.property_files] with "sasl.password" = "/run/secrets/password".
#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Show every setting with its value and its origin: default, line of the file, variable, or flag; secrets are masked
    // Boxed: it has many options.
    Show(Box<ShowArgs>),
    /// Print the JSON schema of the configuration file
    ///
    /// Editors that know TOML take it from the file's first line: write `#:schema ./curb.schema.json` there, and the schema beside it.
    Schema,
}

#[derive(Debug, Args)]
struct ShowArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    output: OutputForm,
}

pub(super) fn run(args: &ConfigArgs, configuration: &Configuration) -> Result<(), Failure> {
    match &args.command {
        ConfigCommand::Schema => {
            let command = Cli::command();
            let run =
                command.find_subcommand("run").ok_or_else(|| Failure::Failed(anyhow::anyhow!("no command `run`")))?;
            print(&format!("{:#}\n", schema(run)))
        }
        ConfigCommand::Show(args) => {
            for note in &configuration.unknown_variables {
                writeln!(io::stderr(), "note: {note}")?;
            }
            match args.output {
                OutputForm::Text => print(&text(configuration)),
                OutputForm::Json => print(&format!("{:#}\n", as_json(configuration))),
            }
        }
    }
}

/// One line of the table.
struct Line<'a> {
    name: &'a str,
    is_property: bool,
    is_path: bool,
    given: Option<&'a Given>,
}

fn lines(configuration: &Configuration) -> Vec<Line<'_>> {
    let settings = configuration.settings.iter();
    let is_path = |name: &String| configuration.paths.contains(name);
    let settings =
        settings.map(|(name, given)| Line { name, is_property: false, is_path: is_path(name), given: given.as_ref() });
    let properties = configuration.properties.iter();
    settings
        .chain(properties.map(|(name, given)| Line { name, is_property: true, is_path: false, given: Some(given) }))
        .collect()
}

impl Line<'_> {
    fn is_secret(&self) -> bool {
        // What the file names is a secret whatever its name: that is what such files are for.
        (is_secret(self.name) && !self.is_path)
            || self.given.is_some_and(|g| matches!(&g.origin, Origin::File { held_by: Some(_), .. }))
    }

    /// The value as it may be shown: of a secret nothing, of an address with a login the rest.
    fn shown(&self) -> Option<String> {
        let given = self.given?;
        if self.is_secret() && given.origin != Origin::Default {
            return Some(MASK.to_owned());
        }
        Some(without_login(&given.value))
    }
}

fn without_login(value: &str) -> String {
    let masked = |(scheme, rest): (&str, &str)| {
        let host = rest.find('/').unwrap_or(rest.len());
        let at = rest.get(..host)?.rfind('@')?;
        Some(format!("{scheme}://{MASK}{}", rest.get(at..)?))
    };
    value.split_once("://").and_then(masked).unwrap_or_else(|| value.to_owned())
}

fn origin(given: &Given) -> String {
    match &given.origin {
        Origin::Default => "default".to_owned(),
        Origin::File { path, line, held_by: None } => format!("{} line {line}", path.display()),
        Origin::File { path, line, held_by: Some(held) } => {
            format!("{}, named by {} line {line}", held.display(), path.display())
        }
        Origin::Environment(variable) => variable.clone(),
        Origin::Flag(flag) => flag.clone(),
    }
}

pub(super) fn text(configuration: &Configuration) -> String {
    let lines = lines(configuration);
    let shown: Vec<(&str, String, String)> = lines
        .iter()
        .map(|line| {
            (line.name, line.shown().unwrap_or_else(|| "-".to_owned()), line.given.map_or("not set".into(), origin))
        })
        .collect();
    let width = |of: fn(&(&str, String, String)) -> usize, head: &str| {
        shown.iter().map(of).max().unwrap_or(0).max(head.len()).min(60)
    };
    let (name, value) = (width(|s| s.0.chars().count(), "setting"), width(|s| s.1.chars().count(), "value"));
    let mut text = format!("{:<name$}  {:<value$}  origin\n", "setting", "value");
    for (of, is, from) in &shown {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{of:<name$}  {is:<value$}  {from}");
    }
    text
}

fn as_json(configuration: &Configuration) -> Value {
    let one = |line: &Line<'_>| {
        let origin = line.given.map(|given| match &given.origin {
            Origin::Default => json!({"kind": "default"}),
            Origin::File { path, line, held_by } => {
                json!({"kind": "file", "file": path, "line": line, "held_by": held_by})
            }
            Origin::Environment(variable) => json!({"kind": "environment", "variable": variable}),
            Origin::Flag(flag) => json!({"kind": "flag", "flag": flag}),
        });
        let kind = if line.is_property { "kafka_property" } else { "setting" };
        json!({"name": line.name, "kind": kind, "value": line.shown(), "secret": line.is_secret(), "origin": origin})
    };
    json!({"settings": lines(configuration).iter().map(one).collect::<Vec<_>>()})
}
