//! The settings of the schema registry.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use clap::Args;

use super::Failure;
use crate::catalog::{Catalog, QueryRole};
use crate::format::{NO_REGISTRY, RegistrySettings, SchemaRegistry};

/// The flags and variables of the schema registry.
#[derive(Debug, Args)]
pub(super) struct RegistryArgs {
    /// The address of the schema registry, for formats with 'confluent' in their name
    #[arg(long, value_name = "URL", env = "CURB_SCHEMA_REGISTRY_URL", hide_env_values = true)]
    schema_registry_url: Option<String>,
    /// The user of the schema registry
    #[arg(long, value_name = "NAME", env = "CURB_SCHEMA_REGISTRY_USER")]
    schema_registry_user: Option<String>,
    /// A file that holds the password of the schema registry
    #[arg(long, value_name = "FILE", env = "CURB_SCHEMA_REGISTRY_PASSWORD_FILE")]
    schema_registry_password_file: Option<PathBuf>,
    /// The certificates in PEM that the schema registry is trusted by, instead of the public ones
    #[arg(long, value_name = "FILE", env = "CURB_SCHEMA_REGISTRY_CA_FILE")]
    schema_registry_ca_file: Option<PathBuf>,
}

/// The registry, if the pack needs one.
pub(super) fn schema_registry(args: &RegistryArgs, catalog: &Catalog) -> Result<Option<Arc<SchemaRegistry>>, Failure> {
    let mut of_sinks = catalog.queries.iter().filter_map(|query| match &query.role {
        QueryRole::Sink(options) => Some(&options.format),
        _ => None,
    });
    match of_sinks.any(|format| format.needs_registry()) {
        true => registry(args).map(Some),
        false => registry_of_sources(args, catalog),
    }
}

/// The registry, if the pack needs one to read its sources.
pub(super) fn registry_of_sources(
    args: &RegistryArgs,
    catalog: &Catalog,
) -> Result<Option<Arc<SchemaRegistry>>, Failure> {
    let is_needed = catalog.sources.iter().any(|source| source.format.needs_registry());
    is_needed.then(|| registry(args)).transpose()
}

fn registry(args: &RegistryArgs) -> Result<Arc<SchemaRegistry>, Failure> {
    let url = args.schema_registry_url.clone().filter(|url| !url.trim().is_empty());
    let url = url.ok_or_else(|| Failure::Configuration(anyhow!(NO_REGISTRY)))?;
    let password_file = args.schema_registry_password_file.clone();
    let password = password_file.map(|path| {
        let read = std::fs::read_to_string(&path);
        read.with_context(|| format!("password of the schema registry, file `{}`", path.display()))
    });
    let password = password.transpose().map_err(Failure::Configuration)?;
    let settings = RegistrySettings {
        url,
        user: args.schema_registry_user.clone(),
        password: password.map(|text| text.trim_end_matches(['\r', '\n']).to_owned()),
        ca_file: args.schema_registry_ca_file.clone(),
    };
    let registry = SchemaRegistry::new(&settings).map_err(|reason| Failure::Configuration(anyhow!(reason)))?;
    Ok(Arc::new(registry))
}
