//! What the operating system says of this process, where it says it in Linux's way; elsewhere nothing is known.

use std::fs;

use crate::metrics::ProcessUse;

/// Clock ticks a second in `/proc`: what user space sees is 100 on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;

/// What this process takes now.
pub(super) fn process_use() -> Option<ProcessUse> {
    let read = |name: &str| fs::read_to_string(format!("/proc/{name}")).ok();
    let (process, system) = (read("self/stat")?, read("stat")?);
    let boot_seconds = system.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<f64>().ok())?;
    let limits = read("self/limits").unwrap_or_default();
    let open_fds = fs::read_dir("/proc/self/fd").map_or(0, |fds| fds.count() as u64);
    let mut found = of_stat(&process, boot_seconds)?;
    // Pages are larger on some machines, so memory is taken from where it stands in kilobytes.
    let memory = read("self/status").unwrap_or_default();
    found.resident_bytes = kilobytes(&memory, "VmRSS:").unwrap_or_default();
    found.virtual_bytes = kilobytes(&memory, "VmSize:").unwrap_or_default();
    // Listing the open files opens one.
    found.open_fds = open_fds.saturating_sub(1);
    found.max_fds = max_fds(&limits);
    Some(found)
}

/// Times and threads, from `/proc/self/stat`. The program's name is in parentheses, and may hold anything.
fn of_stat(stat: &str, boot_seconds: f64) -> Option<ProcessUse> {
    let fields: Vec<&str> = stat.get(stat.rfind(')')? + 1..)?.split_whitespace().collect();
    // The first field behind the name is the third of all.
    let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    Some(ProcessUse {
        cpu_seconds: (field(14)? + field(15)?) / TICKS_PER_SECOND,
        threads: field(20)? as u64,
        start_seconds: boot_seconds + field(22)? / TICKS_PER_SECOND,
        ..ProcessUse::default()
    })
}

fn kilobytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

fn max_fds(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_read_also_when_its_name_has_spaces_and_parentheses() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 250 150 0 0 20 0 12 0 5000 1000 20";
        let found = of_stat(stat, 1_000.0).unwrap();
        assert_eq!((found.cpu_seconds, found.threads, found.start_seconds), (4.0, 12, 1_050.0));
        assert_eq!(of_stat("7 (a S 1", 0.0), None);
        assert_eq!(kilobytes("VmPeak:\t 9 kB\nVmRSS:\t   12 kB\n", "VmRSS:"), Some(12 * 1024));
        assert_eq!(
            max_fds("Limit\nMax open files            1024                 4096                 files\n"),
            Some(1024)
        );
        assert_eq!(max_fds("Max open files            unlimited            unlimited            files\n"), None);
    }

    #[test]
    fn this_process_runs_and_has_memory_files_and_threads() {
        let found = process_use().unwrap();
        assert!(found.resident_bytes > 1 << 20 && found.virtual_bytes > found.resident_bytes, "{found:?}");
        assert!(found.open_fds >= 3 && found.threads >= 1 && found.start_seconds > 1.6e9, "{found:?}");
    }
}
