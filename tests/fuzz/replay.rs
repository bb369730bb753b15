//! What the fuzzer has found before, and what is left of its ideas without coverage: every target takes its corpus, and
//! random changes of it for a second or two (`CURB_FUZZ_SECONDS`), the same ones every time.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod targets;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use targets::TARGETS;

/// What every target is given beside its corpus.
const COMMON: [&[u8]; 5] = [b"", b"\0", b"\xff\xfe", b"{}", b"[[[["];

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    let own = files.into_iter().map(|file| fs::read(file).unwrap());
    own.chain(COMMON.into_iter().map(<[u8]>::to_vec)).collect()
}

/// One of the usual changes: a byte, a run of bytes that goes or comes again, a piece of another seed.
fn changed(seeds: &[Vec<u8>], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = seeds[random.usize(..seeds.len())].clone();
    for _ in 0..random.usize(1..6) {
        let at = random.usize(..=bytes.len());
        let end = random.usize(at..=bytes.len().min(at + 16));
        match random.u8(..5) {
            0 if at < bytes.len() => bytes[at] = random.u8(..),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let run = bytes[at..end].to_vec();
                bytes.splice(at..at, run);
            }
            3 => bytes.insert(at, *random.choice(b"\"'{}[](),;:.-0e\\\n\0\xff").unwrap()),
            _ => {
                let other = &seeds[random.usize(..seeds.len())];
                let from = random.usize(..=other.len());
                bytes.splice(at..end, other[from..other.len().min(from + 32)].iter().copied());
            }
        }
    }
    bytes
}

#[test]
fn every_target_takes_its_corpus_and_changes_of_it() {
    let seconds = std::env::var("CURB_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(1.5);
    for (name, run) in TARGETS {
        let seeds = seeds(name);
        seeds.iter().for_each(|seed| run(seed));
        let (mut random, started) = (fastrand::Rng::with_seed(1), Instant::now());
        let mut n = 0;
        while started.elapsed() < Duration::from_secs_f64(seconds) {
            let bytes = changed(&seeds, &mut random);
            let begun = Instant::now();
            let outcome = std::panic::catch_unwind(|| run(&bytes));
            assert!(outcome.is_ok(), "target {name}, input {:?}", bytes.escape_ascii().to_string());
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "target {name} takes {:?} for {bytes:?}",
                begun.elapsed()
            );
            n += 1;
        }
        println!("{name}: {} seeds, {n} changes", seeds.len());
    }
}
