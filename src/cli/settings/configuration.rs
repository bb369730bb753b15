//! The command line together with the file that it names: the same flags, and where each of their values came from.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};

use super::file::{ConfigFile, Kind, Setting, settings};
use super::properties;
use crate::kafka::{property_fault, property_names};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Origin {
    /// From nowhere: this is what holds unless something else is said.
    Default,
    /// A line of the configuration file, and the file that the line names, if the value lies there.
    File { path: PathBuf, line: usize, held_by: Option<PathBuf> },
    /// A variable of the environment.
    Environment(String),
    /// A flag.
    Flag(String),
}

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Given {
    pub(in crate::cli) value: String,
    pub(in crate::cli) origin: Origin,
}

/// What a command was told, from all places.
#[derive(Debug, Default)]
pub(in crate::cli) struct Configuration {
    /// The settings that the command has, in the order of its flags; none where nothing is given and there is no default.
    pub(in crate::cli) settings: Vec<(String, Option<Given>)>,
    /// Those of them that are paths: where a secret lies, not the secret.
    pub(in crate::cli) paths: BTreeSet<String>,
    /// The properties of the Kafka client.
    pub(in crate::cli) properties: BTreeMap<String, Given>,
    /// Variables of the environment that look like a setting and are none, each with what may be meant.
    pub(in crate::cli) unknown_variables: Vec<String>,
}

impl Configuration {
    /// The properties that are secrets and were given as arguments, which other users of the machine can see.
    pub(in crate::cli) fn exposed_secrets(&self) -> impl Iterator<Item = &str> {
        let is_exposed =
            |(name, given): &(&String, &Given)| properties::is_secret(name) && matches!(given.origin, Origin::Flag(_));
        self.properties.iter().filter(is_exposed).map(|(name, _)| name.as_str())
    }
}

/// Why a command line is not run.
#[derive(Debug)]
pub(in crate::cli) enum Refused {
    /// By clap; help and version arrive here too.
    Usage(clap::Error),
    /// For what the configuration file or the environment says.
    Configuration(anyhow::Error),
}

impl From<clap::Error> for Refused {
    fn from(error: clap::Error) -> Self {
        Self::Usage(error)
    }
}

/// Parses a command line. What the file of `--config` says counts as a flag that was not given otherwise.
pub(in crate::cli) fn parse<Cli: CommandFactory + FromArgMatches>(
    args: Vec<OsString>,
    variables: &[(String, String)],
) -> Result<(Cli, Configuration), Refused> {
    let command = Cli::command();
    let mut matches = command.clone().try_get_matches_from(&args)?;
    let Leaf { depth, command: own, matches: leaf } = leaf(&command, &matches);
    let has = |id: &str| own.get_arguments().any(|a| a.get_id() == id);
    let Some(run) = command.find_subcommand("run").filter(|_| has("config")) else {
        return Ok((Cli::from_arg_matches(&matches)?, Configuration::default()));
    };
    let file = match leaf.get_one::<PathBuf>("config") {
        Some(path) => Some(ConfigFile::read(path, run).map_err(Refused::Configuration)?),
        None => None,
    };
    let known: Vec<Setting> = settings(run).into_iter().filter(|s| has(s.id())).collect();
    let described = describe(&known, leaf, file.as_ref());
    let properties = gather(leaf, file.as_ref(), variables).map_err(Refused::Configuration)?;
    let injected: Vec<OsString> =
        known.iter().filter_map(|s| Some(injected(s, leaf, file.as_ref()?))).flatten().collect();
    if !injected.is_empty() {
        let mut args = args;
        args.splice(depth + 1..depth + 1, injected);
        matches = command.clone().try_get_matches_from(args)?;
    }
    let unknown_variables = unknown_variables(run, variables);
    let paths = known.iter().filter(|s| s.is_path()).map(|s| s.key.clone()).collect();
    let configuration = Configuration { settings: described, paths, properties, unknown_variables };
    Ok((Cli::from_arg_matches(&matches)?, configuration))
}

/// The innermost subcommand.
struct Leaf<'a> {
    /// How many names lead to it.
    depth: usize,
    command: &'a Command,
    matches: &'a ArgMatches,
}

fn leaf<'a>(command: &'a Command, matches: &'a ArgMatches) -> Leaf<'a> {
    let mut leaf = Leaf { depth: 0, command, matches };
    while let Some((name, matches)) = leaf.matches.subcommand()
        && let Some(command) = leaf.command.find_subcommand(name)
    {
        leaf = Leaf { depth: leaf.depth + 1, command, matches };
    }
    leaf
}

fn is_given(setting: &Setting, leaf: &ArgMatches) -> bool {
    matches!(leaf.value_source(setting.id()), Some(ValueSource::CommandLine | ValueSource::EnvVariable))
}

/// The flags that stand for what only the file says.
fn injected(setting: &Setting, leaf: &ArgMatches, file: &ConfigFile) -> Vec<OsString> {
    let entry = file.entries.get(setting.id()).filter(|_| !is_given(setting, leaf));
    let Some((entry, long)) = entry.zip(setting.arg.get_long()) else { return Vec::new() };
    match setting.kind() {
        Kind::Switch if entry.values == ["true"] => vec![format!("--{long}").into()],
        Kind::Switch => Vec::new(),
        _ => entry.values.iter().map(|value| format!("--{long}={value}").into()).collect(),
    }
}

fn describe(known: &[Setting], leaf: &ArgMatches, file: Option<&ConfigFile>) -> Vec<(String, Option<Given>)> {
    let of_file = |setting: &Setting| {
        let file = file?;
        let entry = file.entries.get(setting.id())?;
        let origin = Origin::File { path: file.path.clone(), line: entry.line, held_by: None };
        Some(Given { value: entry.values.join(", "), origin })
    };
    let of_leaf = |setting: &Setting| match leaf.value_source(setting.id())? {
        ValueSource::CommandLine => Some(Origin::Flag(format!("--{}", setting.arg.get_long()?))),
        ValueSource::EnvVariable => Some(Origin::Environment(setting.arg.get_env()?.to_string_lossy().into_owned())),
        _ => Some(Origin::Default),
    };
    let value = |setting: &Setting| match setting.kind() {
        Kind::Switch => Some(leaf.get_flag(setting.id()).to_string()),
        _ => {
            let raw = leaf.get_raw(setting.id())?.map(|v| v.to_string_lossy().into_owned());
            Some(raw.collect::<Vec<_>>().join(", "))
        }
    };
    let given = |setting: &Setting| {
        let of_file = of_file(setting).filter(|_| !is_given(setting, leaf));
        let of_leaf = || Some(Given { value: value(setting)?, origin: of_leaf(setting)? });
        of_file.or_else(of_leaf).or_else(|| said_default(setting))
    };
    known.iter().map(|setting| (setting.key.clone(), given(setting))).collect()
}

/// A default that depends on something is told by the help alone: `[default: that of the state topic, or 8]`.
fn said_default(setting: &Setting) -> Option<Given> {
    let help = setting.arg.get_help()?.to_string();
    let value = help.split_once("[default: ")?.1.split_once(']')?.0.to_owned();
    Some(Given { value, origin: Origin::Default })
}

/// The properties of the Kafka client: of the file, then of the environment, then of flags.
fn gather(
    leaf: &ArgMatches,
    file: Option<&ConfigFile>,
    variables: &[(String, String)],
) -> anyhow::Result<BTreeMap<String, Given>> {
    let mut all = BTreeMap::new();
    if let Some(file) = file {
        for (name, property) in &file.properties {
            let origin =
                Origin::File { path: file.path.clone(), line: property.line, held_by: property.held_by.clone() };
            all.insert(name.clone(), Given { value: property.value.clone(), origin });
        }
    }
    let known = property_names();
    let mut add = |name: String, value: &str, origin: Origin, place: &str| {
        if let Some(fault) = property_fault(&name, &known) {
            anyhow::bail!("{place}: {fault}");
        }
        all.insert(name, Given { value: value.to_owned(), origin });
        Ok(())
    };
    for (variable, value) in variables {
        if let Some(name) = properties::of_variable(variable) {
            add(name, value, Origin::Environment(variable.clone()), variable)?;
        }
    }
    let flags = leaf.get_many::<(String, String)>("properties");
    for (name, value) in flags.into_iter().flatten() {
        add(name.clone(), value, Origin::Flag("-X".to_owned()), "-X")?;
    }
    Ok(all)
}

/// Variables that are likely meant to be a setting. Others of the prefix may be Kubernetes', for a service named curb.
fn unknown_variables(run: &Command, variables: &[(String, String)]) -> Vec<String> {
    let known: Vec<&str> = run.get_arguments().filter_map(|a| a.get_env()?.to_str()).chain(["CURB_LOG"]).collect();
    let unlike = |name: &&String| name.starts_with("CURB_") && !known.contains(&name.as_str());
    let hint = |name: &String| {
        let near = known.iter().map(|k| (strsim::damerau_levenshtein(name, k), *k)).min()?;
        (near.0 <= 2 && properties::of_variable(name).is_none())
            .then(|| format!("variable {name} is no setting; did you mean {}?", near.1))
    };
    variables.iter().map(|(name, _)| name).filter(unlike).filter_map(hint).collect()
}
