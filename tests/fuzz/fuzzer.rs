//! The fuzzer: libFuzzer over one of the targets, chosen by `CURB_FUZZ_TARGET`. `tests/fuzz/run` builds and runs it.

#![no_main]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a finding is a panic")]

mod targets;

use std::panic;
use std::sync::{Mutex, OnceLock};

use libfuzzer_sys::fuzz_target;
use targets::{TARGETS, Target};

static TARGET: OnceLock<Target> = OnceLock::new();
static LAST_PANIC: Mutex<String> = Mutex::new(String::new());

/// The target. A panic that somebody catches is no finding, so the fuzzer's own hook, which ends the program, gives way.
fn chosen() -> Target {
    panic::set_hook(Box::new(|info| *LAST_PANIC.lock().unwrap() = info.to_string()));
    let name = std::env::var("CURB_FUZZ_TARGET").unwrap_or_default();
    TARGETS.into_iter().find(|(known, _)| *known == name).unwrap_or_else(|| {
        eprintln!("CURB_FUZZ_TARGET={name} is none of {:?}", TARGETS.map(|(known, _)| known));
        std::process::exit(2)
    })
}

fuzz_target!(|data: &[u8]| {
    let (_, run) = TARGET.get_or_init(chosen);
    if panic::catch_unwind(|| run(data)).is_err() {
        eprintln!("{}", LAST_PANIC.lock().unwrap());
        std::process::abort();
    }
});
