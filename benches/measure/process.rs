//! What a process has used, and what machine this is, as the kernel says under `/proc`.

use std::fs;

use anyhow::{Context, Result};
use serde::Serialize;

/// The kernel counts a process's time in hundredths of a second, whatever its own clock.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Used {
    /// Seconds on a core, of all threads.
    pub(crate) cpu_seconds: f64,
    /// The greatest resident set so far, in bytes.
    pub(crate) peak_rss_bytes: u64,
    /// The resident set now, in bytes.
    pub(crate) rss_bytes: u64,
}

/// What process `pid` has used so far.
pub(crate) fn used(pid: u32) -> Result<Used> {
    let stat = read(&format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold anything, so the fields are counted from behind it.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |idx: usize| fields.get(idx).and_then(|f| f.parse::<f64>().ok()).context("no times in /proc");
    let status = read(&format!("/proc/{pid}/status"))?;
    Ok(Used {
        cpu_seconds: (ticks(11)? + ticks(12)?) / TICKS_PER_SECOND,
        peak_rss_bytes: kilobytes(&status, "VmHWM:"),
        rss_bytes: kilobytes(&status, "VmRSS:"),
    })
}

/// What this process has used so far.
pub(crate) fn used_by_self() -> Result<Used> {
    used(std::process::id())
}

/// The machine and what runs on it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) processor: String,
    pub(crate) memory_bytes: u64,
    pub(crate) kernel: String,
    /// The load average over a minute before the first measurement; above about 0.5 the figures are not to be trusted.
    pub(crate) load_before: f64,
    pub(crate) kafka_version: String,
    /// The broker's memory settings.
    pub(crate) jvm: Vec<String>,
    pub(crate) revision: String,
}

impl Machine {
    pub(crate) fn here(broker_pid: Option<u32>, kafka_version: &str, revision: &str) -> Result<Self> {
        let cpuinfo = read("/proc/cpuinfo")?;
        let processor = cpuinfo.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or_default();
        let arguments = broker_pid.map_or(Ok(String::new()), |pid| read(&format!("/proc/{pid}/cmdline")))?;
        let load = read("/proc/loadavg")?;
        Ok(Self {
            cores: std::thread::available_parallelism()?.get(),
            processor: processor.trim_start_matches([' ', '\t', ':']).to_owned(),
            memory_bytes: kilobytes(&read("/proc/meminfo")?, "MemTotal:"),
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            load_before: load.split(' ').next().unwrap_or_default().parse().unwrap_or_default(),
            kafka_version: kafka_version.to_owned(),
            jvm: arguments.split('\0').filter(|a| a.starts_with("-X")).map(str::to_owned).collect(),
            revision: revision.to_owned(),
        })
    }
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("could not read {path}"))
}

fn kilobytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or_default() * 1024
}
