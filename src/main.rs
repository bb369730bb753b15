//! The `curb` program: the library's command line with its allocator.

use std::ffi::c_long;
use std::process::ExitCode;

/// Measured against the system's allocator: operators allocate many small buffers that live for one epoch.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc's options: how long freed memory is kept before the system gets it back.
const PURGE_DELAY: i32 = 15;
/// Longer than an epoch, so that its buffers are the next one's, without the system clearing their pages every time.
const PURGE_DELAY_MS: c_long = 1000;

unsafe extern "C" {
    fn mi_option_set(option: i32, value: c_long);
}

fn main() -> ExitCode {
    // SAFETY: sets an integer among the allocator's options, before another thread exists.
    unsafe { mi_option_set(PURGE_DELAY, PURGE_DELAY_MS) };
    let _fail_points = curb::fail_point::Scenario::from_environment();
    curb::cli::main(std::env::args_os())
}
