//! The settings of `curb run` that a file or the environment may give: file, then `CURB_*`, then flags; the last one wins.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use serde::Deserialize;

/// Environment variables of this prefix are librdkafka properties: `CURB_KAFKA_SASL_PASSWORD` is `sasl.password`.
const PROPERTY_PREFIX: &str = "CURB_KAFKA_";

/// A configuration file in TOML. Keys that do not exist are an error.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::cli) struct ConfigFile {
    pub(in crate::cli) brokers: Option<String>,
    pub(in crate::cli) pipeline: Option<String>,
    pub(in crate::cli) http: Option<String>,
    pub(in crate::cli) http_token_file: Option<PathBuf>,
    pub(in crate::cli) http_admin_token_file: Option<PathBuf>,
    pub(in crate::cli) http_user_header: Option<String>,
    pub(in crate::cli) http_tls_cert: Option<PathBuf>,
    pub(in crate::cli) http_tls_key: Option<PathBuf>,
    pub(in crate::cli) health: Option<String>,
    pub(super) shards: Option<u32>,
    pub(super) instance: Option<u32>,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) create_topics: Option<bool>,
    pub(super) audit: Option<bool>,
    pub(super) pseudonym_keys: Option<PathBuf>,
    #[serde(default)]
    pub(super) schema_registry: RegistrySection,
    #[serde(default)]
    kafka: KafkaSection,
}

/// Where the schemas of records are.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RegistrySection {
    pub(super) url: Option<String>,
    pub(super) user: Option<String>,
    pub(super) password_file: Option<PathBuf>,
    pub(super) ca_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct KafkaSection {
    #[serde(default)]
    properties: toml::Table,
}

impl ConfigFile {
    /// Reads a file. Its lines are never quoted in errors, since they may hold secrets.
    pub(in crate::cli) fn read(path: &Path) -> anyhow::Result<Self> {
        let name = || format!("configuration file `{}`", path.display());
        let text = std::fs::read_to_string(path).with_context(|| format!("{} could not be read", name()))?;
        toml::from_str(&text).map_err(|error| {
            let line = error.span().map(|span| text.get(..span.start).unwrap_or_default().matches('\n').count() + 1);
            let place = line.map(|line| format!(" line {line}")).unwrap_or_default();
            anyhow!("{}{place}: {}", name(), error.message().trim_end())
        })
    }

    /// librdkafka's properties of the file. `sasl.password = ".."` is, in TOML, a table in a table; both forms count.
    pub(in crate::cli) fn properties(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let mut flat = BTreeMap::new();
        flatten("", &self.kafka.properties, &mut flat)?;
        Ok(flat)
    }
}

fn flatten(prefix: &str, table: &toml::Table, flat: &mut BTreeMap<String, String>) -> anyhow::Result<()> {
    for (name, value) in table {
        let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        let text = match value {
            toml::Value::Table(inner) => {
                flatten(&name, inner, flat)?;
                continue;
            }
            toml::Value::String(text) => text.clone(),
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Float(number) => number.to_string(),
            toml::Value::Boolean(is) => is.to_string(),
            toml::Value::Datetime(_) | toml::Value::Array(_) => {
                bail!("Kafka property `{name}` must be a text, a number or a boolean")
            }
        };
        flat.insert(name, text);
    }
    Ok(())
}

/// librdkafka's properties of the environment.
pub(in crate::cli) fn environment_properties(
    variables: impl Iterator<Item = (String, String)>,
) -> impl Iterator<Item = (String, String)> {
    variables.filter_map(|(name, value)| {
        let property = name.strip_prefix(PROPERTY_PREFIX).filter(|p| !p.is_empty())?;
        Some((property.to_ascii_lowercase().replace('_', "."), value))
    })
}

/// Parses `property=value`. The value may be a secret and is never shown.
pub(in crate::cli) fn parse_property(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_string(), value.to_string())),
        _ => Err("a property is given as `name=value`".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> anyhow::Result<ConfigFile> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("curb.toml");
        std::fs::write(&path, text)?;
        ConfigFile::read(&path)
    }

    #[test]
    fn dotted_and_quoted_properties_mean_the_same() {
        let dotted =
            read("[kafka.properties]\nsecurity.protocol = 'SSL'\nssl.ca.location = '/ca'\nfetch.wait.max.ms = 5");
        let quoted =
            read("[kafka.properties]\n'security.protocol' = 'SSL'\n'ssl.ca.location' = '/ca'\n'fetch.wait.max.ms' = 5");
        let expected: BTreeMap<String, String> =
            [("security.protocol", "SSL"), ("ssl.ca.location", "/ca"), ("fetch.wait.max.ms", "5")]
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .into();
        assert_eq!(dotted.unwrap().properties().unwrap(), expected);
        assert_eq!(quoted.unwrap().properties().unwrap(), expected);
    }

    #[test]
    fn a_key_that_does_not_exist_is_named_with_its_line() {
        let refused = format!("{:#}", read("brokers = 'a:1'\nbroker = 'b:1'\n").unwrap_err());
        assert!(refused.contains("line 2") && refused.contains("`broker`"), "{refused}");
        assert!(read("[kafka]\nacks = 1").is_err());
    }

    #[test]
    fn a_broken_line_is_not_quoted_since_it_may_hold_a_secret() {
        let refused = format!("{:#}", read("[kafka.properties]\nsasl.password = 'hunter2\n").unwrap_err());
        assert!(refused.contains("line 2") && !refused.contains("hunter2"), "{refused}");
        let refused = format!("{:#}", read("pipeline = 5\nshards = 'hunter2'\n").unwrap_err());
        assert!(!refused.contains("hunter2") || refused.contains("shards"), "{refused}");
    }

    #[test]
    fn a_variable_names_a_property_with_underscores() {
        let variables = [("CURB_KAFKA_SASL_PASSWORD", "x"), ("CURB_BROKERS", "y"), ("CURB_KAFKA_", "z")];
        let found: Vec<_> =
            environment_properties(variables.map(|(k, v)| (k.to_string(), v.to_string())).into_iter()).collect();
        assert_eq!(found, [("sasl.password".to_string(), "x".to_string())]);
    }

    #[test]
    fn a_property_needs_a_name_and_its_value_may_hold_anything() {
        assert_eq!(parse_property("a.b=c=d").unwrap(), ("a.b".to_string(), "c=d".to_string()));
        assert!(parse_property("a.b").is_err() && parse_property("=c").is_err());
    }
}
