//! The architecture as a test: a module imports only from layers below, foreign crates stay in their folder, files stay
//! readable. Reads the text of `src/`; a new top-level module must find its place in [`LAYERS`].

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The layer of every top-level module; modules of one layer do not know one another.
const LAYERS: [(&str, u8); 17] = [
    ("stream", 0),
    ("metrics", 0),
    ("fail_point", 0),
    ("dialect", 1),
    ("functions", 1),
    ("format", 1),
    ("state", 1),
    ("kafka", 1),
    ("local", 1),
    ("operators", 2),
    ("catalog", 2),
    ("plan", 3),
    ("engine", 4),
    ("server", 5),
    ("testing", 5),
    ("cli", 6),
    ("main", 7),
];

/// Crates that one folder alone may name.
const CONFINED: [(&str, &str); 18] = [
    ("rdkafka", "kafka"),
    ("rdkafka_sys", "kafka"),
    ("axum", "server"),
    ("tokio_rustls", "server"),
    ("clap", "cli"),
    ("clap_complete", "cli"),
    ("clap_mangen", "cli"),
    ("anyhow", "cli"),
    ("indicatif", "cli"),
    ("metrics_exporter_prometheus", "server"),
    ("mimalloc", "main"),
    ("opentelemetry", "cli"),
    ("opentelemetry_http", "cli"),
    ("opentelemetry_otlp", "cli"),
    ("opentelemetry_sdk", "cli"),
    ("sqllogictest", "testing"),
    ("tracing_opentelemetry", "cli"),
    ("tracing_subscriber", "cli"),
];

/// Lines of a file outside its tests.
const LINES_MAX: usize = 500;

struct SourceText {
    path: PathBuf,
    module: String,
    /// Without tests, comments and string literals.
    code: String,
    text: String,
    is_test: bool,
}

fn sources() -> Vec<SourceText> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(read(&root, path));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 20, "the sources were not found");
    found
}

fn read(root: &Path, path: PathBuf) -> SourceText {
    let text = fs::read_to_string(&path).unwrap();
    let relative = path.strip_prefix(root).unwrap().to_path_buf();
    let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
    let module = first.trim_end_matches(".rs").to_string();
    let is_test = relative.iter().any(|part| part == "tests" || part == "tests.rs");
    SourceText { code: plain(outside_tests(&text)), path: relative, module, text, is_test }
}

/// The text before the tests of a file: they stand last.
fn outside_tests(text: &str) -> &str {
    text.find("\n#[cfg(test)]").map_or(text, |at| &text[..at])
}

/// Takes comments and the inside of string literals away.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = rest.find('\n').map_or("", |at| &rest[at..]);
        } else if let Some(hashes) = raw_string(rest) {
            let open = rest.find('"').unwrap() + 1;
            let close = format!("\"{}", "#".repeat(hashes));
            let end = rest[open..].find(&close).map_or(rest.len(), |at| open + at + close.len());
            rest = &rest[end..];
        } else if rest.starts_with("'\"'") || rest.starts_with("b'\"'") {
            rest = &rest[rest.find("\"'").unwrap() + 2..];
        } else if next == '"' {
            rest = after_string(&rest[1..]);
        } else {
            out.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    out
}

/// The number of hashes if a raw string starts here.
fn raw_string(text: &str) -> Option<usize> {
    let body = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let hashes = body.len() - body.trim_start_matches('#').len();
    body[hashes..].starts_with('"').then_some(hashes)
}

fn after_string(text: &str) -> &str {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return &text[at + 1..],
            _ => {}
        }
    }
    ""
}

fn layer(module: &str) -> Option<u8> {
    LAYERS.iter().find(|(name, _)| *name == module).map(|(_, layer)| *layer)
}

/// The words that follow `crate::` (and, in the program, `curb::`), one-level groups unfolded.
fn imports(source: &SourceText) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for prefix in ["crate::", "curb::"] {
        for (at, _) in source.code.match_indices(prefix) {
            if prefix == "curb::" && source.module != "main" {
                continue;
            }
            let rest = &source.code[at + prefix.len()..];
            match rest.strip_prefix('{') {
                Some(group) => {
                    let group = &group[..group.find("};").unwrap_or(group.len())];
                    found.extend(top_level_words(group));
                }
                None => found.extend(word(rest)),
            }
        }
    }
    found
}

fn word(text: &str) -> Option<String> {
    let word: String = text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!word.is_empty()).then_some(word)
}

fn top_level_words(group: &str) -> Vec<String> {
    let mut depth = 0;
    let mut words = Vec::new();
    for part in group.split_inclusive([',', '{', '}']) {
        if depth == 0 {
            words.extend(word(part));
        }
        depth += part.matches('{').count() as i32 - part.matches('}').count() as i32;
    }
    words
}

fn names_crate(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + name.len()..].chars().next();
        let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        !is_word(before) && code[at + name.len()..].starts_with("::") && !is_word(after)
    })
}

fn report(findings: Vec<String>) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
fn every_module_imports_only_from_layers_below() {
    let mut findings = Vec::new();
    for source in sources().iter().filter(|s| s.module != "lib") {
        let Some(own) = layer(&source.module) else {
            findings.push(format!("src/{}: module `{}` has no layer", source.path.display(), source.module));
            continue;
        };
        for import in imports(source) {
            // Macros and items of the crate's root are no modules.
            let Some(other) = layer(&import) else { continue };
            if import != source.module && other >= own {
                findings.push(format!(
                    "src/{}: `{}` (layer {own}) imports `{import}` (layer {other})",
                    source.path.display(),
                    source.module
                ));
            }
        }
    }
    report(findings);
}

#[test]
fn foreign_crates_stay_in_their_folder() {
    let mut findings = Vec::new();
    for source in sources() {
        for (name, folder) in CONFINED {
            if source.module != folder && names_crate(&source.code, name) {
                findings.push(format!("src/{}: `{name}` belongs to `{folder}`", source.path.display()));
            }
        }
    }
    report(findings);
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    let mut findings = Vec::new();
    for source in sources().iter().filter(|s| !s.is_test) {
        let n_lines = outside_tests(&source.text).lines().count();
        if n_lines > LINES_MAX {
            findings.push(format!("src/{}: {n_lines} lines outside tests", source.path.display()));
        }
    }
    report(findings);
}

#[test]
fn every_file_says_what_it_is() {
    let opens = |s: &SourceText| s.is_test || s.text.starts_with("//!");
    report(sources().iter().filter(|s| !opens(s)).map(|s| format!("src/{}: no `//!`", s.path.display())).collect());
}

#[test]
fn no_module_is_a_drawer() {
    let drawers = ["utils", "util", "common", "helpers", "helper", "misc", "types", "manager"];
    let is_drawer = |s: &SourceText| {
        s.path.iter().any(|part| drawers.contains(&part.to_str().unwrap_or_default().trim_end_matches(".rs")))
    };
    // The dialect's and the catalog's types are the language's own.
    let allowed = [Path::new("catalog/types.rs"), Path::new("dialect/types.rs")];
    let found = sources();
    let found = found.iter().filter(|s| is_drawer(s) && !allowed.contains(&s.path.as_path()));
    report(found.map(|s| format!("src/{}: named for no content", s.path.display())).collect());
}

#[test]
fn the_reader_of_this_test_sees_imports_and_no_text() {
    let code = r##"
        //! crate::comment
        use crate::{catalog::Format, plan::{Pipeline, Relation}};
        use crate::stream::Watermark; // crate::server
        const TEXT: &str = "crate::kafka"; const MORE: &str = r#"crate::cli "quoted""#;
        fn f() -> crate::state::KeyIndex { rdkafka::x(); my_axum::y() }
    "##;
    let source = SourceText {
        path: PathBuf::new(),
        module: "test".into(),
        code: plain(code),
        text: code.into(),
        is_test: false,
    };
    let expected: BTreeSet<String> = ["catalog", "plan", "stream", "state"].map(String::from).into();
    assert_eq!(imports(&source), expected);
    assert!(names_crate(&source.code, "rdkafka") && !names_crate(&source.code, "axum"));
}

/// Codes that are given in more than one file, each time with the same meaning.
const SHARED_CODES: [&str; 8] = ["C0200", "C0202", "C0290", "C0303", "C0304", "C0424", "C0427", "C0443"];

/// A code has one meaning. Where two files give the same one, someone took a number that was taken.
#[test]
fn the_code_of_a_finding_is_given_in_one_file() {
    let mut given: std::collections::BTreeMap<String, BTreeSet<String>> = std::collections::BTreeMap::new();
    for source in sources().iter().filter(|s| !s.is_test && s.module == "plan" && !s.path.ends_with("place.rs")) {
        for (at, _) in outside_tests(&source.text).match_indices("\"C0") {
            if let Some(code) = source.text.get(at + 1..at + 6).filter(|c| c[1..].bytes().all(|b| b.is_ascii_digit())) {
                given.entry(code.to_owned()).or_default().insert(source.path.display().to_string());
            }
        }
    }
    assert!(given.len() > 30, "the codes were not found");
    given.retain(|code, files| files.len() > 1 && !SHARED_CODES.contains(&code.as_str()));
    assert!(given.is_empty(), "{given:#?}");
}
