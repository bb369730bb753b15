//! The `curb` program: the library's command line with its allocator.

use std::ffi::c_long;
use std::process::ExitCode;

use curb::metrics::{self, AllocatorUse};

/// Measured against the system's allocator: operators allocate many small buffers that live for one epoch.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc's options: how long freed memory is kept before the system gets it back.
const PURGE_DELAY: i32 = 15;
/// Longer than an epoch, so that its buffers are the next one's, without the system clearing their pages every time.
const PURGE_DELAY_MS: c_long = 1000;

unsafe extern "C" {
    fn mi_option_set_default(option: i32, value: c_long);
    fn mi_process_info(
        elapsed_ms: *mut usize,
        user_ms: *mut usize,
        system_ms: *mut usize,
        current_rss: *mut usize,
        peak_rss: *mut usize,
        current_commit: *mut usize,
        peak_commit: *mut usize,
        page_faults: *mut usize,
    );
}

/// What the allocator has from the system.
fn allocator_use() -> AllocatorUse {
    let mut n = [0_usize; 8];
    let [elapsed, user, system, rss, peak_rss, commit, peak_commit, faults] = &mut n;
    // SAFETY: writes one integer behind each of the eight pointers, which outlive the call.
    unsafe { mi_process_info(elapsed, user, system, rss, peak_rss, commit, peak_commit, faults) };
    AllocatorUse { committed_bytes: n[5], peak_committed_bytes: n[6] }
}

fn main() -> ExitCode {
    // SAFETY: sets an integer among the allocator's options, before another thread exists; MIMALLOC_PURGE_DELAY has the last word.
    unsafe { mi_option_set_default(PURGE_DELAY, PURGE_DELAY_MS) };
    metrics::ask_allocator_by(allocator_use);
    let _fail_points = curb::fail_point::Scenario::from_environment();
    curb::cli::main(std::env::args_os())
}
