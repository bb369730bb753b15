//! How far one source partition has been read: position, caught up, idle. Pure, with the time handed in.

use std::time::{Duration, Instant};

use crate::stream::PartitionStatus;

/// What is known of a source partition.
#[derive(Clone, Debug)]
pub(super) struct PartitionProgress {
    position: i64,
    /// What the broker said last.
    end: Option<i64>,
    /// The end at the start of the worker.
    end_at_start: i64,
    idle_timeout: Option<Duration>,
    /// Since when nothing has come; none until something was fetched, if only the partition's end.
    quiet_since: Option<Instant>,
    /// When the broker was last asked, and said that nothing lies behind the position.
    confirmed_at: Option<Instant>,
    /// When the broker was last asked, whatever came of it.
    asked_at: Option<Instant>,
    reported: Option<PartitionStatus>,
}

impl PartitionProgress {
    /// A partition that will be read from `position` on.
    pub(super) fn new(position: i64, end_at_start: i64, idle_timeout: Option<Duration>) -> Self {
        Self {
            position,
            end: None,
            end_at_start,
            idle_timeout,
            quiet_since: None,
            confirmed_at: None,
            asked_at: None,
            reported: None,
        }
    }

    /// The next offset to read.
    pub(super) fn position(&self) -> i64 {
        self.position
    }

    /// A record was handed over.
    pub(super) fn record(&mut self, offset: i64, now: Instant) {
        self.position = offset + 1;
        self.quiet_since = Some(now);
        self.confirmed_at = None;
    }

    /// The partition was read to its end.
    pub(super) fn end_reached(&mut self, offset: i64, now: Instant) {
        self.position = self.position.max(offset);
        self.quiet_since.get_or_insert(now);
    }

    /// The partition cannot be read for now.
    pub(super) fn failed(&mut self) {
        self.quiet_since = None;
        self.confirmed_at = None;
    }

    /// A fetch told the high watermark.
    pub(super) fn fetched_end(&mut self, end: i64) {
        self.end = Some(self.end.map_or(end, |known| known.max(end)));
        if end > self.position {
            self.confirmed_at = None;
        }
    }

    /// The broker answered a question of `asked_at`, or did not.
    pub(super) fn answered(&mut self, end: Option<i64>, asked_at: Instant) {
        if let Some(end) = end {
            self.fetched_end(end);
        }
        self.confirmed_at = (end == Some(self.position)).then_some(asked_at);
    }

    /// Whether to ask the broker for the end now: the partition has been quiet for its timeout, and looks read to its end.
    pub(super) fn should_ask(&mut self, now: Instant) -> bool {
        let Some(timeout) = self.idle_timeout else { return false };
        let again = timeout.max(Duration::from_secs(1));
        let quiet = self.quiet_since.is_some_and(|since| now.duration_since(since) >= timeout);
        let due = self.asked_at.is_none_or(|asked| {
            let asked_in_time = self.quiet_since.is_some_and(|since| asked >= since + timeout);
            !asked_in_time || now.duration_since(asked) >= again
        });
        let ask = quiet && due && self.end.is_none_or(|end| end <= self.position);
        if ask {
            self.asked_at = Some(now);
        }
        ask
    }

    fn is_idle(&self, now: Instant) -> bool {
        let (Some(timeout), Some(since), Some(confirmed)) = (self.idle_timeout, self.quiet_since, self.confirmed_at)
        else {
            return false;
        };
        // An answer that has grown old says nothing of a broker that cannot be reached any more.
        let fresh = now.duration_since(confirmed) <= timeout * 3 + Duration::from_secs(5);
        confirmed >= since + timeout && fresh && self.end.is_none_or(|end| end <= self.position)
    }

    /// The status, if it differs from the one told last.
    pub(super) fn news(&mut self, now: Instant, is_paused: bool) -> Option<PartitionStatus> {
        let status = PartitionStatus {
            position: self.position,
            end: self.end,
            caught_up: self.position >= self.end_at_start,
            idle: !is_paused && self.is_idle(now),
        };
        let is_new = self.reported.as_ref() != Some(&status);
        if is_new {
            self.reported = Some(status.clone());
        }
        is_new.then_some(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    /// Read to offset 5 at second 0, with the end reached.
    fn at_end(start: Instant) -> PartitionProgress {
        let mut p = PartitionProgress::new(0, 5, Some(TIMEOUT));
        p.record(4, start);
        p.fetched_end(5);
        p.end_reached(5, start);
        p
    }

    fn is_idle(p: &mut PartitionProgress, now: Instant) -> bool {
        p.reported = None;
        p.news(now, false).unwrap().idle
    }

    #[test]
    fn a_partition_is_idle_only_after_the_broker_confirmed_its_end_behind_the_timeout() {
        let start = Instant::now();
        let mut p = at_end(start);
        assert!(!p.should_ask(after(start, 9)));
        assert!(p.should_ask(after(start, 10)));
        assert!(!is_idle(&mut p, after(start, 11)), "not before the answer");
        p.answered(Some(5), after(start, 10));
        assert!(is_idle(&mut p, after(start, 11)));
    }

    #[test]
    fn an_answer_that_tells_of_more_keeps_the_partition_awake() {
        let start = Instant::now();
        let mut p = at_end(start);
        p.answered(Some(6), after(start, 10));
        assert!(!is_idle(&mut p, after(start, 11)));
        assert!(!p.should_ask(after(start, 30)), "it lags: there is nothing to ask");
    }

    #[test]
    fn a_broker_that_does_not_answer_makes_nothing_idle() {
        let start = Instant::now();
        let mut p = at_end(start);
        p.answered(None, after(start, 10));
        assert!(!is_idle(&mut p, after(start, 11)));
        p.answered(Some(5), after(start, 20));
        assert!(is_idle(&mut p, after(start, 21)));
        assert!(!is_idle(&mut p, after(start, 120)), "an old answer does not count");
    }

    #[test]
    fn a_partition_that_was_never_fetched_or_is_paused_or_errs_is_never_idle() {
        let start = Instant::now();
        let mut p = PartitionProgress::new(5, 5, Some(TIMEOUT));
        assert!(!p.should_ask(after(start, 100)));
        p.answered(Some(5), after(start, 100));
        assert!(!is_idle(&mut p, after(start, 101)));

        let mut p = at_end(start);
        p.answered(Some(5), after(start, 10));
        p.reported = None;
        assert!(!p.news(after(start, 11), true).unwrap().idle);
        p.failed();
        assert!(!is_idle(&mut p, after(start, 11)));
    }

    #[test]
    fn a_record_ends_idleness_and_starts_the_timeout_again() {
        let start = Instant::now();
        let mut p = at_end(start);
        p.answered(Some(5), after(start, 10));
        p.record(5, after(start, 12));
        p.end_reached(6, after(start, 12));
        assert!(!is_idle(&mut p, after(start, 13)));
        assert!(!p.should_ask(after(start, 21)));
        assert!(p.should_ask(after(start, 22)));
    }

    #[test]
    fn the_end_of_a_partition_counts_markers_that_no_record_shows() {
        let start = Instant::now();
        let mut p = PartitionProgress::new(0, 9, None);
        p.record(6, start);
        assert!(!p.news(start, false).unwrap().caught_up);
        p.end_reached(9, start);
        assert!(p.news(start, false).unwrap().caught_up);
        assert_eq!(p.position(), 9);
    }

    #[test]
    fn a_status_is_told_once() {
        let start = Instant::now();
        let mut p = at_end(start);
        assert!(p.news(start, false).is_some());
        assert!(p.news(start, false).is_none());
    }
}
