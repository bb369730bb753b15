//! The fuzzer: libFuzzer over one of the targets, chosen by `CURB_FUZZ_TARGET`. `tests/fuzz/run` builds and runs it.

#![no_main]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a finding is a panic")]

mod targets;

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use targets::{TARGETS, Target};

static TARGET: OnceLock<Target> = OnceLock::new();

fuzz_target!(|data: &[u8]| {
    let (_, run) = TARGET.get_or_init(|| {
        let name = std::env::var("CURB_FUZZ_TARGET").unwrap_or_default();
        let found = TARGETS.into_iter().find(|(known, _)| *known == name);
        found.unwrap_or_else(|| panic!("CURB_FUZZ_TARGET={name} is none of {:?}", TARGETS.map(|(known, _)| known)))
    });
    run(data);
});
