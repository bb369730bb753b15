//! The configuration file: TOML whose keys are the settings of `curb run`. No line of it is ever quoted, since it may hold secrets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::kafka::{property_fault, property_names};

/// Tables of the file; the settings in them have the table's name as their prefix.
pub(super) const SECTIONS: [&str; 2] = ["schema_registry", "sql"];
/// The table of the Kafka client.
pub(super) const KAFKA: &str = "kafka";
/// Its properties by name.
pub(super) const PROPERTIES: &str = "properties";
/// Files that hold the value of a property each, by the property's name.
pub(super) const PROPERTY_FILES: &str = "property_files";

/// A setting as the file knows it.
pub(super) struct Setting {
    /// Its key, `schema_registry.url` in a table.
    pub(super) key: String,
    /// The flag behind it.
    pub(super) arg: Arg,
}

/// What kind of value a setting takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Switch,
    Integer,
    Text,
    Choice(Vec<String>),
    /// Texts.
    List,
}

/// All settings that a file may hold, in the order of the flags of `run`.
pub(super) fn settings(run: &Command) -> Vec<Setting> {
    let no_settings = ["config", "help", "version"];
    let args = run.get_arguments().filter(|a| a.get_long().is_some() && !no_settings.contains(&a.get_id().as_str()));
    args.map(|arg| Setting { key: key(arg), arg: arg.clone() }).collect()
}

/// The variable `CURB_SCHEMA_REGISTRY_URL` is the key `url` in the table `schema_registry`.
fn key(arg: &Arg) -> String {
    let variable = arg.get_env().and_then(|name| name.to_str()?.strip_prefix("CURB_")).map(str::to_lowercase);
    let name = variable.unwrap_or_else(|| arg.get_id().to_string());
    let in_section = |section: &str| Some(format!("{section}.{}", name.strip_prefix(section)?.strip_prefix('_')?));
    SECTIONS.iter().find_map(|section| in_section(section)).unwrap_or(name)
}

impl Setting {
    pub(super) fn id(&self) -> &str {
        self.arg.get_id().as_str()
    }

    pub(super) fn kind(&self) -> Kind {
        use std::any::TypeId;
        let parsed = self.arg.get_value_parser().type_id();
        let integers = [
            TypeId::of::<u16>(),
            TypeId::of::<u32>(),
            TypeId::of::<u64>(),
            TypeId::of::<usize>(),
            TypeId::of::<i64>(),
            TypeId::of::<std::num::NonZeroU32>(),
            TypeId::of::<std::num::NonZeroU64>(),
        ];
        let choices = || self.arg.get_possible_values().iter().map(|v| v.get_name().to_owned()).collect::<Vec<_>>();
        match self.arg.get_action() {
            ArgAction::Append => Kind::List,
            ArgAction::SetTrue => Kind::Switch,
            _ if parsed == TypeId::of::<bool>() => Kind::Switch,
            _ if integers.iter().any(|integer| parsed == *integer) => Kind::Integer,
            _ => match choices() {
                none if none.is_empty() => Kind::Text,
                some => Kind::Choice(some),
            },
        }
    }

    pub(super) fn is_path(&self) -> bool {
        self.arg.get_value_parser().type_id() == std::any::TypeId::of::<PathBuf>()
    }

    /// Why the setting does not take a value; none if it does.
    pub(super) fn fault(&self, run: &Command, value: &str) -> Option<String> {
        if self.kind() == Kind::Switch {
            return None;
        }
        let flag = format!("--{}={value}", self.arg.get_long().unwrap_or_default());
        let refused = run.clone().try_get_matches_from(["run", "PACK", &flag]).err()?;
        match (refused.kind(), self.kind()) {
            (ErrorKind::InvalidValue, Kind::Choice(choices)) => Some(format!("must be one of {}", choices.join(", "))),
            (ErrorKind::ValueValidation | ErrorKind::InvalidValue | ErrorKind::InvalidUtf8, _) => {
                let reason = std::error::Error::source(&refused).map(ToString::to_string);
                Some(format!("has a value that does not fit: {}", reason.unwrap_or_else(|| "it is empty".into())))
            }
            // What else may be wrong with a command line is not the value's fault.
            _ => None,
        }
    }
}

/// A value in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// As a flag would take it; several for a list.
    pub(super) values: Vec<String>,
    /// The line of its key, from 1.
    pub(super) line: usize,
}

/// A property of the Kafka client in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Property {
    pub(super) value: String,
    pub(super) line: usize,
    /// The file that holds the value, if it is not in the configuration file itself.
    pub(super) held_by: Option<PathBuf>,
}

/// What a configuration file says.
#[derive(Debug, Default)]
pub(super) struct ConfigFile {
    pub(super) path: PathBuf,
    /// By id of the flag.
    pub(super) entries: BTreeMap<String, Entry>,
    pub(super) properties: BTreeMap<String, Property>,
}

impl ConfigFile {
    /// Reads a file; `run` has the settings as its flags. All keys and values are checked.
    pub(super) fn read(path: &Path, run: &Command) -> anyhow::Result<Self> {
        let name = || format!("configuration file `{}`", path.display());
        let text = std::fs::read_to_string(path).with_context(|| format!("{} could not be read", name()))?;
        let line_of = |offset: usize| text.get(..offset).unwrap_or_default().matches('\n').count() + 1;
        let parsed = DeTable::parse(&text).map_err(|error| {
            let line = error.span().map(|span| format!(" line {}", line_of(span.start))).unwrap_or_default();
            anyhow!("{}{line}: {}", name(), error.message().trim_end())
        })?;
        let reading = Reading { run, settings: settings(run), line_of: &line_of };
        let mut file = Self { path: path.to_owned(), ..Self::default() };
        for (key, value) in parsed.get_ref() {
            let line = line_of(key.span().start);
            reading.top(key.get_ref(), line, value, &mut file).map_err(|e| match e.downcast::<AtLine>() {
                Ok(AtLine(line, text)) => anyhow!("{} line {line}: {text}", name()),
                Err(other) => anyhow!("{} line {line}: {other:#}", name()),
            })?;
        }
        Ok(file)
    }
}

/// A fault that knows its line better than its table does.
#[derive(Debug, thiserror::Error)]
#[error("line {0}: {1}")]
struct AtLine(usize, String);

type Values<'i> = DeTable<'i>;

struct Reading<'a> {
    run: &'a Command,
    settings: Vec<Setting>,
    line_of: &'a dyn Fn(usize) -> usize,
}

impl Reading<'_> {
    fn top(&self, key: &str, line: usize, value: &Spanned<DeValue<'_>>, file: &mut ConfigFile) -> anyhow::Result<()> {
        if key == KAFKA {
            return self.kafka(table(key, value)?, file);
        }
        if SECTIONS.contains(&key) {
            for (inner, value) in table(key, value)? {
                let line = (self.line_of)(inner.span().start);
                self.setting(&format!("{key}.{}", inner.get_ref()), line, value, file)?;
            }
            return Ok(());
        }
        self.setting(key, line, value, file)
    }

    fn setting(
        &self,
        key: &str,
        line: usize,
        value: &Spanned<DeValue<'_>>,
        file: &mut ConfigFile,
    ) -> anyhow::Result<()> {
        let at_line = |text: String| AtLine(line, text);
        let Some(setting) = self.settings.iter().find(|s| s.key == key) else {
            let known = self.settings.iter().map(|s| s.key.as_str()).chain([KAFKA]);
            bail!(at_line(format!("unknown key `{key}`{}", likely(key, known))));
        };
        let wanted = |what: &str| at_line(format!("`{key}` must be {what}"));
        let values = match (setting.kind(), value.get_ref()) {
            (Kind::Switch, DeValue::Boolean(is)) => vec![is.to_string()],
            (Kind::Switch, _) => bail!(wanted("true or false")),
            (Kind::Integer, DeValue::Integer(_)) => {
                vec![integer(value.get_ref()).ok_or_else(|| wanted("a smaller number"))?]
            }
            (Kind::Integer, _) => bail!(wanted("a whole number")),
            (Kind::Text | Kind::Choice(_), DeValue::String(text)) => vec![text.to_string()],
            (Kind::Text | Kind::Choice(_), _) => bail!(wanted("a text in quotes")),
            (Kind::List, DeValue::Array(items)) => {
                let texts = items.iter().map(|item| item.get_ref().as_str().map(str::to_owned));
                texts.collect::<Option<Vec<_>>>().ok_or_else(|| wanted("a list of texts in quotes"))?
            }
            (Kind::List, _) => bail!(wanted("a list of texts in quotes")),
        };
        if let Some(fault) = values.iter().find_map(|value| setting.fault(self.run, value)) {
            bail!(at_line(format!("`{key}` {fault}")));
        }
        file.entries.insert(setting.id().to_owned(), Entry { values, line });
        Ok(())
    }

    fn kafka(&self, kafka: &Values<'_>, file: &mut ConfigFile) -> anyhow::Result<()> {
        for (key, value) in kafka {
            let line = (self.line_of)(key.span().start);
            let is_files = match key.get_ref().as_ref() {
                PROPERTIES => false,
                PROPERTY_FILES => true,
                other => {
                    let hint = likely(other, [PROPERTIES, PROPERTY_FILES].into_iter());
                    bail!(AtLine(
                        line,
                        format!("unknown key `{KAFKA}.{other}`{hint}; librdkafka's are in [{KAFKA}.{PROPERTIES}]")
                    ));
                }
            };
            let mut flat = Vec::new();
            self.flatten("", table(key.get_ref(), value)?, &mut flat)?;
            let known = property_names();
            for (name, value, line) in flat {
                let at_line = |text: String| AtLine(line, text);
                if let Some(fault) = property_fault(&name, &known) {
                    bail!(at_line(fault));
                }
                let property = if is_files {
                    held(&file.path, &name, value, line)?
                } else {
                    Property { value, line, held_by: None }
                };
                if let Some(other) = file.properties.insert(name.clone(), property) {
                    bail!(at_line(format!("Kafka property `{name}` is given twice, also in line {}", other.line)));
                }
            }
        }
        Ok(())
    }

    /// `sasl.password = ".."` is, in TOML, a table in a table; a quoted name means the same.
    fn flatten(&self, prefix: &str, table: &Values<'_>, flat: &mut Vec<(String, String, usize)>) -> anyhow::Result<()> {
        for (key, value) in table {
            let line = (self.line_of)(key.span().start);
            let name =
                if prefix.is_empty() { key.get_ref().to_string() } else { format!("{prefix}.{}", key.get_ref()) };
            let text = match value.get_ref() {
                DeValue::Table(inner) => {
                    self.flatten(&name, inner, flat)?;
                    continue;
                }
                DeValue::String(text) => text.to_string(),
                number @ DeValue::Integer(_) => integer(number)
                    .ok_or_else(|| AtLine(line, format!("Kafka property `{name}` must be a smaller number")))?,
                DeValue::Float(number) => number.as_str().to_owned(),
                DeValue::Boolean(is) => is.to_string(),
                DeValue::Datetime(_) | DeValue::Array(_) => {
                    bail!(AtLine(line, format!("Kafka property `{name}` must be a text, a number or a boolean")))
                }
            };
            flat.push((name, text, line));
        }
        Ok(())
    }
}

/// The value of a property that lies in a file of its own. Relative paths are those of the configuration file.
fn held(config: &Path, name: &str, path: String, line: usize) -> anyhow::Result<Property> {
    let path = config.parent().unwrap_or(Path::new("")).join(path);
    let text = std::fs::read_to_string(&path).map_err(|error| {
        let reason = match error.kind() {
            std::io::ErrorKind::InvalidData => "it is no text".to_owned(),
            _ => error.to_string(),
        };
        AtLine(line, format!("the file of Kafka property `{name}`, `{}`, could not be read: {reason}", path.display()))
    })?;
    let value = text.strip_suffix('\n').map_or(text.as_str(), |t| t.strip_suffix('\r').unwrap_or(t)).to_owned();
    Ok(Property { value, line, held_by: Some(path) })
}

fn table<'a, 'i>(key: &str, value: &'a Spanned<DeValue<'i>>) -> anyhow::Result<&'a Values<'i>> {
    value.get_ref().as_table().ok_or_else(|| anyhow!("`{key}` must be a table, written as [{key}]"))
}

fn integer(value: &DeValue<'_>) -> Option<String> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok().map(|n| n.to_string())
}

/// What an unknown word may mean.
pub(super) fn likely<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    let near = known.map(|k| (strsim::damerau_levenshtein(word, k), k)).min();
    let near = near.filter(|(distance, _)| *distance <= 1 + word.len() / 4);
    near.map(|(_, known)| format!("; did you mean `{known}`?")).unwrap_or_default()
}
