//! Plans of whole packs.

use std::path::Path;

use crate::catalog::resolve;
use crate::dialect::{Pack, parse, render};

fn explain_pack(path: &str) -> String {
    let pack = Pack::read(Path::new(path)).expect("the pack is there");
    let (statements, findings) = parse(&pack);
    assert!(findings.is_empty(), "{}", render(&findings, &pack));
    let catalog = resolve(statements, None).unwrap_or_else(|f| panic!("{}", render(&f, &pack)));
    match super::plan(&catalog) {
        Ok(pipeline) => super::explain(&pipeline, None),
        Err(findings) => panic!("{}", render(&findings, &pack)),
    }
}

#[test]
fn the_safe_riding_pack_is_planned() {
    println!("{}", explain_pack(concat!(env!("CARGO_MANIFEST_DIR"), "/sql/safe-riding")));
}
