//! Every way in which a pack is refused, with the exact message: `tests/errors/*.sql` and `tests/errors/expected.txt`.
//!
//! `UPDATE_EXPECT=1` writes the messages anew; read each of them aloud before it is committed.

use std::fmt::Write;
use std::path::Path;

use expect_test::expect_file;

use super::compile;
use crate::dialect::{Pack, SourceFile, render};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/errors");

/// The cases of a file: a line `--- name` stands above each.
fn cases(text: &str) -> Vec<(&str, &str)> {
    let parts = text.split("--- ").skip(1).filter_map(|case| case.split_once('\n'));
    parts.collect()
}

#[test]
fn every_refusal_says_where_why_and_what_to_write_instead() {
    let sources = std::fs::read_to_string(Path::new(FOLDER).join("sources.sql")).unwrap();
    let mut paths: Vec<_> = std::fs::read_dir(FOLDER).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "sql") && !path.ends_with("sources.sql"));
    paths.sort();
    let (mut told, mut n_cases, mut poor) = (String::new(), 0, Vec::new());
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        for (name, sql) in cases(&text) {
            n_cases += 1;
            let file = |path: &str, text: &str| SourceFile { path: path.into(), text: text.into() };
            let pack = Pack { files: vec![file("sources.sql", &sources), file("rules.sql", sql)] };
            let findings = compile(&pack, Path::new(""), None, None).err().unwrap_or_default();
            let _ = writeln!(told, "--- {name}\n{}", render(&findings, &pack));
            if findings.is_empty() {
                poor.push(format!("{name}: is not refused"));
            }
            for finding in &findings {
                let is_placed = finding.span.is_known() && pack.files.get(finding.span.file as usize).is_some();
                if !is_placed || finding.hint.as_deref().is_none_or(|hint| !hint.ends_with(['.', '?', ';'])) {
                    poor.push(format!("{name}: {finding:?}"));
                }
            }
        }
    }
    expect_file![format!("{FOLDER}/expected.txt")].assert_eq(&told);
    assert!(poor.is_empty(), "{poor:#?}");
    assert!(n_cases >= 60, "{n_cases} cases");
}

#[test]
fn a_table_whose_file_is_not_there_is_named_with_its_path_in_the_pack() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let rules = "CREATE TABLE devices (device_id VARCHAR PRIMARY KEY, town VARCHAR) WITH (path = 'data/devices.csv');
        CREATE TABLE limits (kind VARCHAR PRIMARY KEY, most INT) WITH (path = 'limits.ndjson', watch = true);
        CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT device_id, town FROM devices;
        CREATE SINK l WITH (topic = 'l', format = 'json') AS SELECT kind, most FROM limits;";
    std::fs::write(at("rules.sql"), rules).unwrap();
    std::fs::create_dir(at("limits.ndjson")).unwrap();
    let found = || {
        let loaded = super::load(dir.path(), None, crate::cli::OutputForm::Text).unwrap();
        let missing = super::missing_files(&loaded.catalog);
        missing.into_iter().map(|f| (f.code, f.message, f.span.line, f.hint.unwrap_or_default())).collect::<Vec<_>>()
    };
    let [devices, limits] = found().try_into().unwrap();
    assert_eq!((devices.0, devices.2), ("C0120", 1));
    assert_eq!(devices.1, "table `devices` is the file `data/devices.csv`, which does not exist");
    assert!(devices.3.contains(&at("data/devices.csv").display().to_string()), "{}", devices.3);
    assert_eq!((limits.1.as_str(), limits.2), ("table `limits` is the file `limits.ndjson`, which is no file", 2));
    std::fs::remove_dir(at("limits.ndjson")).unwrap();
    std::fs::write(at("limits.ndjson"), "").unwrap();
    std::fs::create_dir(at("data")).unwrap();
    std::fs::write(at("data/devices.csv"), "device_id,town\n").unwrap();
    assert!(found().is_empty());
}
