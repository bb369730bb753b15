//! The `curb` program: the library's command line with its allocator.

use std::process::ExitCode;

/// Measured against the system's allocator: operators allocate many small buffers that live for one epoch.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let _fail_points = curb::fail_point::Scenario::from_environment();
    curb::cli::main(std::env::args_os())
}
