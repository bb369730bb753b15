//! Measurements of the process and of its allocator.

use std::sync::OnceLock;

use metrics::{counter, describe_counter, describe_gauge, gauge};

/// What the program's allocator says of itself; main.rs knows which allocator that is.
static ALLOCATOR: OnceLock<fn() -> AllocatorUse> = OnceLock::new();

/// Says what each of these measurements means.
pub(super) fn describe() {
    describe_counter!("process_cpu_seconds_total", "Processor time of the process");
    describe_gauge!("process_resident_memory_bytes", "Memory of the process that is in RAM");
    describe_gauge!("process_virtual_memory_bytes", "Address space of the process");
    describe_gauge!("process_open_fds", "Open file descriptors");
    describe_gauge!("process_max_fds", "The greatest number of open file descriptors");
    describe_gauge!("process_threads", "Threads of the process");
    describe_gauge!("process_start_time_seconds", "When the process began, since the Unix epoch");
    describe_gauge!("curb_allocator_committed_bytes", "Memory that the allocator has from the system");
    describe_gauge!("curb_allocator_peak_committed_bytes", "The most memory that the allocator had from the system");
}

/// What the operating system says of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessUse {
    /// Processor time in seconds.
    pub cpu_seconds: f64,
    /// Memory that is in RAM.
    pub resident_bytes: u64,
    /// Address space.
    pub virtual_bytes: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// The greatest number of open file descriptors; none if there is no limit.
    pub max_fds: Option<u64>,
    /// Threads.
    pub threads: u64,
    /// When it began, in seconds since the Unix epoch.
    pub start_seconds: f64,
}

/// What the process takes now.
pub fn set_process(process: &ProcessUse) {
    // A counter holds whole numbers only; to whom it is a fraction of a second too low, it grows as it should.
    counter!("process_cpu_seconds_total").absolute(process.cpu_seconds as u64);
    gauge!("process_resident_memory_bytes").set(process.resident_bytes as f64);
    gauge!("process_virtual_memory_bytes").set(process.virtual_bytes as f64);
    gauge!("process_open_fds").set(process.open_fds as f64);
    if let Some(max_fds) = process.max_fds {
        gauge!("process_max_fds").set(max_fds as f64);
    }
    gauge!("process_threads").set(process.threads as f64);
    gauge!("process_start_time_seconds").set(process.start_seconds);
}

/// Memory that the allocator has from the system.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllocatorUse {
    /// Now.
    pub committed_bytes: usize,
    /// At most so far.
    pub peak_committed_bytes: usize,
}

/// Says how the program's allocator is asked; the first caller decides.
pub fn ask_allocator_by(ask: fn() -> AllocatorUse) {
    // A second allocator in one process there is not.
    let _ = ALLOCATOR.set(ask);
}

/// What the allocator has now, if the program has said how it is asked.
pub fn set_allocator() {
    if let Some(ask) = ALLOCATOR.get() {
        let now = ask();
        gauge!("curb_allocator_committed_bytes").set(now.committed_bytes as f64);
        gauge!("curb_allocator_peak_committed_bytes").set(now.peak_committed_bytes as f64);
    }
}
