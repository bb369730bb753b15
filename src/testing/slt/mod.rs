//! Tests of a rule pack: `.slt` files with records, steps of time, crashes, and queries with the rows that they must yield.
//!
//! [`LANGUAGE`] describes the files. Every file runs whole and crashed after every epoch, at several numbers of shards; the
//! same rows are expected each time. `script.rs` reads a file and `step.rs` its statements, `world.rs` does the steps with
//! the pipelines of `running.rs`, `batch.rs` answers the queries, and `file.rs` compares.

#[cfg(test)]
mod asked;
mod batch;
mod column;
mod contents;
mod diff;
mod file;
mod report;
mod rows;
mod running;
mod script;
mod step;
mod taps;
#[cfg(test)]
mod tests;
mod world;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::dialect::Pack;

pub use report::{DiffLine, Failure, FileReport, TestReport};

/// The language of tests, as `curb test --help` prints it.
pub const LANGUAGE: &str = "\
The tests of a pack are the files PACK/tests/*.slt, in the format of sqllogictest: records
divided by empty lines, comments behind #. `statement ok` stands above what is done, `query TT`
above what is asked, with the rows that must come behind ----.

    statement ok
    INSERT INTO captures (capture_id, captured_at, plate) VALUES
        ('C1', '2024-03-01 08:00', 'ZJE00001'),
        ('C2', '2024-03-01 09:00', NULL);

    query TT rowsort
    SELECT capture_id, reason FROM reviews
    ----
    C1  unknown_plate
    C2  no_plate

Statements; several may stand in one record, with ; between them:

    INSERT INTO source [(columns)] VALUES (..), ..
        Records, typed as the source declares; columns left out are null. An instant is a text:
        a time of the pack's zone, or RFC 3339. SELECT .. FROM generate_series(1, 9) makes many.
        A table keeps the latest row of a key.
    INSERT INTO source [KEY 'k'] JSON '{..}', ..
        Records as they are, for those that must be rejected. Without KEY a record has the key
        that its key columns say.
    DELETE FROM table WHERE key = .. [AND ..]
        A tombstone.
    COMMIT
        Ends the epoch. So do a query and the steps below.
    WATERMARK [source] '2024-03-01 10:00'
        Everything up to this instant has arrived.
    CLOCK '2024-03-01 10:00'      CLOCK + '5 seconds'
        Sets the wall clock, by which settle, EMIT CHANGES EVERY, wait, max_rate and max_future
        go; partitions that have been silent for their idle_timeout become idle. Until the first
        CLOCK the clock is never behind an event, nothing is idle, and no event is too early.
    CRASH
        Ends the worker within an epoch. It goes on from its log.
    END OF INPUT
        All watermarks move to +infinity, and nothing waits for the clock any more.
    PAUSE sink      RESUME sink
        As `curb pause` and `curb resume`.

`INSERT INTO source PARTITION 1 ..` and `WATERMARK source PARTITION 1 ..` choose a partition; 0 is
the default.

Queries are batch SQL over what is there at that moment: the current rows of sources, views,
tables and sinks over tables; all rows of streams and of other sinks; source.late and
source.rejected (reason, partition, position, length, sha256, key, raw); source.counts (read, used,
duplicate, late, rejected). A letter a column says its type: B boolean, D date, I integer,
P timestamp, R number, T text or anything, ? anything. `rowsort` ignores the order of rows, and how
many spaces stand between columns does not matter. A null is NULL, an empty text (empty).
`statement error text` and `query error text` expect a failure whose message matches the text.
`include other.part` takes in the records of a file beside the test.

Every file runs at 1, 2 and 4 shards, and crashed after every epoch; the same rows are expected
each time. A declared key that turns out to belong to two rows fails the test. --complete writes the
rows that come into the files: read them before you commit them.";

/// Something is wrong with a test, or went wrong in it: a sentence for its author.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
struct Wrong(String);

impl Wrong {
    fn new(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// The folder with the tests of a pack.
pub fn tests_folder(pack: &Path) -> PathBuf {
    let folder = if pack.is_dir() { pack } else { pack.parent().unwrap_or(pack) };
    folder.join("tests")
}

/// The test files of a pack, sorted by name; none where there is no folder.
pub fn test_files(pack: &Path, file_filter: Option<&str>) -> std::io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(tests_folder(pack)) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.ends_with(".slt") && file_filter.is_none_or(|text| name.contains(text)) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The stack of a thread that runs tests: queries are planned by recursion.
const STACK_BYTES: usize = 16 << 20;

/// Runs test files of a pack, as many at a time as there are cores.
pub fn run_tests(pack: &Pack, files: &[PathBuf], completes: bool) -> TestReport {
    let next = AtomicUsize::new(0);
    let reports = Mutex::new(Vec::new());
    let n_threads = std::thread::available_parallelism().map_or(1, usize::from).min(files.len()).max(1);
    let compiled = file::compile(pack);
    let take = || {
        while let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let report = file::run_file(pack, &compiled, path, completes);
            reports.lock().unwrap_or_else(PoisonError::into_inner).push(report);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..n_threads {
            // Where no more threads can be had, the others do the work.
            let _ = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, take);
        }
    });
    // Nothing is left, unless there was no thread at all.
    take();
    let mut reports = reports.into_inner().unwrap_or_else(PoisonError::into_inner);
    reports.sort_by(|a: &FileReport, b| a.file.cmp(&b.file));
    TestReport::new(reports)
}
