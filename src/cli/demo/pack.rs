//! The safe-riding pack as it was when the program was built, so that the demo runs from any folder.

use anyhow::anyhow;

use crate::catalog::resolve;
use crate::cli::load::Loaded;
use crate::dialect::{Pack, SourceFile, parse, render};
use crate::plan::plan;

macro_rules! file {
    ($name:literal) => {
        (concat!("safe-riding/", $name), include_str!(concat!("../../../sql/safe-riding/", $name)))
    };
}

/// The files in order of name, as they would be read from a folder.
const FILES: [(&str, &str); 17] = [
    file!("actions.sql"),
    file!("counted-captures.sql"),
    file!("device-health.sql"),
    file!("doubtful-captures.sql"),
    file!("helmet-rates.sql"),
    file!("household-proposals.sql"),
    file!("integrity-scores.sql"),
    file!("optional-sources.sql"),
    file!("outcome-kpis.sql"),
    file!("reminders.sql"),
    file!("reviews.sql"),
    file!("rides.sql"),
    file!("sanctions.sql"),
    file!("sources.sql"),
    file!("tiers.sql"),
    file!("vanguard-index.sql"),
    file!("visit-tasks.sql"),
];

/// Plans the pack.
pub(super) fn load() -> anyhow::Result<Loaded> {
    let file = |(path, text): &(&str, &str)| SourceFile { path: (*path).to_owned(), text: (*text).to_owned() };
    let pack = Pack { files: FILES.iter().map(file).collect() };
    let (statements, errors) = parse(&pack);
    let planned = match resolve(statements, None) {
        Ok(catalog) if errors.is_empty() => {
            plan(&catalog).map(|pipeline| Loaded { catalog, pipeline, pack_sha256: pack.sha256() })
        }
        Ok(_) => Err(errors),
        Err(found) => Err(found),
    };
    planned.map_err(|findings| anyhow!("the built-in pack was refused\n{}", render(&findings, &pack)))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{FILES, load};

    #[test]
    fn every_file_of_the_pack_is_built_in() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql/safe-riding");
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| format!("safe-riding/{}", entry.unwrap().file_name().to_str().unwrap()))
            .filter(|name| name.ends_with(".sql"))
            .collect();
        names.sort();
        assert_eq!(FILES.map(|(path, _)| path.to_owned()).to_vec(), names);
        assert!(load().is_ok());
    }
}
