//! Settings that are likely not what was meant.

use super::finding::Findings;
use crate::cli::settings::{Configuration, Origin, is_secret};

pub(super) fn look(configuration: &Configuration, findings: &mut Findings) {
    for note in &configuration.unknown_variables {
        findings.warning("settings", note, "rename it, or unset it");
    }
    let told = configuration.settings.iter().filter_map(|(_, given)| given.as_ref());
    let n = told.filter(|given| given.origin != Origin::Default).count() + configuration.properties.len();
    let on_command_line = configuration
        .properties
        .iter()
        .find(|(name, given)| is_secret(name) && matches!(given.origin, Origin::Flag(_)));
    if let Some((name, _)) = on_command_line {
        findings.warning(
            "settings",
            &format!("`{name}` is given by -X: everyone who may list processes sees it"),
            &format!("put it into a file and name that in [kafka.property_files]: \"{name}\" = \"/path\""),
        );
    }
    findings
        .ok("settings", &format!("{n} settings and Kafka properties; `curb config show` says where each came from"));
}
