//! The memory of the process while a query runs: what operators keep without telling is seen in what the process holds.

use std::fs;

use super::trouble::QueryError;

/// How much more memory than a query may have the process may take while it runs: for the answer, and for what else it does.
const BESIDE: usize = 256 << 20;
/// Where control groups of the older kind say the limit of a container.
const OLD_LIMIT: &str = "/sys/fs/cgroup/memory/memory.limit_in_bytes";

/// Up to where memory may grow while a query runs.
pub(super) struct MemoryWatch {
    query_max: usize,
    /// Bytes that the process may hold because of the query; none where the system does not tell what it holds.
    held_max: Option<usize>,
    /// Bytes with which the kernel would end the process; none where there is no limit.
    limit: Option<usize>,
}

impl MemoryWatch {
    /// For a query that may have so many bytes, and begins now.
    pub(super) fn begin(query_max: usize) -> Self {
        let held_max = resident_bytes().map(|held| held.saturating_add(query_max).saturating_add(BESIDE));
        Self { query_max, held_max, limit: limit_bytes() }
    }

    /// Refuses that the query goes on where too much is held.
    pub(super) fn check(&self) -> Result<(), QueryError> {
        self.judge(resident_bytes())
    }

    fn judge(&self, held: Option<usize>) -> Result<(), QueryError> {
        let Some(held) = held else { return Ok(()) };
        // A tenth is left to what comes between two looks.
        if let Some(limit) = self.limit.filter(|limit| held > limit / 10 * 9) {
            return Err(QueryError::limit(
                format!("the worker holds {} MiB of memory, and may have {} MiB at most", held >> 20, limit >> 20),
                "Ask for less, or again when it holds less; if that does not come, give the worker more memory.",
            ));
        }
        match self.held_max {
            Some(max) if held > max => Err(super::too_much_memory(self.query_max)),
            _ => Ok(()),
        }
    }
}

/// Bytes of memory that this process holds; none where the system does not tell.
fn resident_bytes() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix("kB")?;
    kib.trim().parse::<usize>().ok()?.checked_mul(1024)
}

/// Bytes that the control group of this process may have, all of its processes together; none without a limit.
fn limit_bytes() -> Option<usize> {
    let group = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = group.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let places = [format!("/sys/fs/cgroup{own}/memory.max"), "/sys/fs/cgroup/memory.max".into(), OLD_LIMIT.into()];
    // `max` is no number: no limit.
    places.iter().find_map(|place| fs::read_to_string(place).ok()).and_then(|text| text.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_ends_before_the_process_would() {
        let watch = |held_max, limit| MemoryWatch { query_max: 64 << 20, held_max, limit };
        let said = |watch: MemoryWatch, mib: usize| watch.judge(Some(mib << 20)).err().map(|e| e.to_string());
        assert_eq!(said(watch(Some(500 << 20), Some(900 << 20)), 400), None);
        assert!(said(watch(Some(500 << 20), Some(900 << 20)), 600).unwrap().contains("more than 64 MiB"));
        let nearly_all = said(watch(Some(5000 << 20), Some(1000 << 20)), 950).unwrap();
        assert!(nearly_all.contains("holds 950 MiB of memory, and may have 1000 MiB"), "{nearly_all}");
        assert_eq!(said(watch(None, None), 1 << 30), None);
        assert!(resident_bytes().unwrap() > 1 << 20);
        assert!(MemoryWatch::begin(1 << 30).check().is_ok());
    }
}
