//! The newest late and rejected records, for whoever looks at the worker. Their topics hold all of them.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::intake::{Fates, Taken};
use super::refusal::has_private_column;
use crate::plan::{Pipeline, Relation};
use crate::stream::RecordView;

/// How many are kept.
const RECORDS_MAX: usize = 50;
/// How many bytes of a record are shown.
const RAW_BYTES_MAX: usize = 200;
/// How many characters of a reason are shown.
const REASON_CHARS_MAX: usize = 300;

/// A record that was late or could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusedRecord {
    /// When its epoch was committed, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// `late` or `rejected`.
    pub fate: &'static str,
    /// The source.
    pub relation: Arc<str>,
    /// The partition of its topic.
    pub partition: i32,
    /// The offset in the partition.
    pub offset: i64,
    /// Why, without values of private columns.
    pub reason: String,
    /// The length of its value in bytes.
    pub length: usize,
    /// How it begins, as text; none for a tombstone and where the source has a PRIVATE column.
    pub raw: Option<String>,
}

/// The newest refused records, newest first. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct NewestRefused(Arc<Mutex<VecDeque<RefusedRecord>>>);

impl NewestRefused {
    pub(super) fn snapshot(&self) -> Vec<RefusedRecord> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Adds records, the newest last.
    pub(super) fn add(&self, records: impl IntoIterator<Item = RefusedRecord>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for record in records {
            kept.push_front(record);
            kept.truncate(RECORDS_MAX);
        }
    }
}

/// The last refused records of a committed epoch, no more of a source than are kept.
pub(super) fn refused_records(pipeline: &Pipeline, taken: &Taken, fates: &[Fates], at_ms: i64) -> Vec<RefusedRecord> {
    let mut found = Vec::new();
    for (records, fates) in taken.records.iter().zip(fates) {
        let Some(relation) = pipeline.relations.get(records.relation) else { continue };
        let late = fates.late.iter().map(|idx| (*idx, None));
        let rejected = records.rejected.iter().map(|r| (r.record as usize, Some(r.reason.as_str())));
        let last = |n: usize| n.saturating_sub(RECORDS_MAX);
        let late = late.skip(last(fates.late.len()));
        let rejected = rejected.skip(last(records.rejected.len()));
        for (idx, reason) in late.chain(rejected).filter(|(idx, _)| *idx < records.raw.len()) {
            found.push(refused_record(relation, records.raw.as_came(idx), reason, at_ms));
        }
    }
    found
}

/// One record; it was late if there is no other reason.
fn refused_record(relation: &Relation, record: RecordView<'_>, reason: Option<&str>, at_ms: i64) -> RefusedRecord {
    RefusedRecord {
        at_ms,
        fate: if reason.is_some() { "rejected" } else { "late" },
        relation: relation.name.clone(),
        partition: record.meta.partition,
        offset: record.meta.offset,
        reason: printable(&reason.unwrap_or("late").chars().take(REASON_CHARS_MAX).collect::<String>()),
        length: record.value.map_or(0, <[u8]>::len),
        raw: record.value.filter(|_| !has_private_column(relation)).map(beginning),
    }
}

/// The beginning of a value as text.
fn beginning(value: &[u8]) -> String {
    let kept = value.get(..RAW_BYTES_MAX).unwrap_or(value);
    let text = String::from_utf8_lossy(kept);
    // A character that was cut in two is left out.
    let text = if kept.len() < value.len() { text.trim_end_matches('\u{fffd}') } else { &text };
    printable(text)
}

/// The text with everything escaped that cannot be seen or changes how its surroundings are seen.
fn printable(text: &str) -> String {
    let is_hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        // Writing to a string cannot fail.
        let _ = if is_hidden(c) { write!(out, "{}", c.escape_default()) } else { out.write_char(c) };
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::resolve;
    use crate::dialect::{Pack, parse};
    use crate::engine::intake::{SourceCounts, TakenRecords};
    use crate::format::json::Rejected;
    use crate::plan::plan;
    use crate::stream::{RecordBatchBytes, RecordMeta};

    fn pipeline(private: &str) -> Pipeline {
        let rules = format!(
            "CREATE STREAM people (name VARCHAR NOT NULL {private}) WITH (topic = 'people', format = 'json');
            CREATE SINK out WITH (topic = 'out', format = 'json', allow_private = true) AS SELECT name FROM people;"
        );
        let (statements, errors) = parse(&Pack::from_text("rules.sql", &rules));
        assert!(errors.is_empty(), "{errors:?}");
        plan(&resolve(statements, None).unwrap()).unwrap()
    }

    fn refused(private: &str, values: &[&[u8]], reason: &str) -> Vec<RefusedRecord> {
        let mut raw = RecordBatchBytes::default();
        for (i, value) in values.iter().enumerate() {
            let meta = RecordMeta {
                partition: 3,
                offset: i as i64,
                timestamp_ms: None,
                sequence: i as u64,
                key: None,
                value: None,
            };
            raw.push(meta, None, Some(value));
        }
        let rejected = (1..values.len() as u32).map(|record| Rejected { record, reason: reason.to_owned() }).collect();
        let taken =
            Taken { rows: vec![], records: vec![TakenRecords { relation: 0, raw, rejected, event_ms: vec![] }] };
        let fates = [Fates { counts: SourceCounts::default(), late: vec![0] }];
        refused_records(&pipeline(private), &taken, &fates, 7)
    }

    #[test]
    fn a_late_and_a_rejected_record_have_position_reason_length_and_their_beginning() {
        let records = refused("", &[b"{\"name\":1}", b"<script>alert(1)</script>"], "not JSON");
        let [late, rejected] = records.as_slice() else { panic!("{records:?}") };
        assert_eq!((late.fate, &*late.reason, late.offset, late.length), ("late", "late", 0, 10));
        assert_eq!((&*rejected.relation, rejected.partition, rejected.offset, rejected.at_ms), ("people", 3, 1, 7));
        assert_eq!((rejected.fate, &*rejected.reason), ("rejected", "not JSON"));
        assert_eq!(rejected.raw.as_deref(), Some("<script>alert(1)</script>"), "escaping is the page's affair");
    }

    #[test]
    fn no_byte_of_a_source_with_a_private_column_is_shown() {
        let records = refused("PRIVATE", &[b"{\"name\":1}", b"secret"], "not JSON");
        assert!(records.iter().all(|r| r.raw.is_none()), "{records:?}");
        assert_eq!(records[1].length, 6);
    }

    #[test]
    fn raw_text_is_short_and_shows_what_cannot_be_seen() {
        let long = "界".repeat(100);
        assert_eq!(beginning(long.as_bytes()), "界".repeat(66), "66 characters and two bytes of the next");
        assert_eq!(beginning(b"a\0b\x1b[31m\n\xff"), "a\\u{0}b\\u{1b}[31m\\n\u{fffd}");
        assert_eq!(printable("evil\u{202e}txt.exe\u{200b}"), "evil\\u{202e}txt.exe\\u{200b}");
    }

    #[test]
    fn the_newest_are_kept_and_no_more_than_fifty() {
        let newest = NewestRefused::default();
        let values = vec![b"x".as_slice(); 500];
        let of_epoch = refused("", &values, "bad");
        assert!(of_epoch.len() <= RECORDS_MAX + 1, "{}", of_epoch.len());
        newest.add(of_epoch.clone());
        newest.add(of_epoch);
        let kept = newest.snapshot();
        assert_eq!((kept.len(), kept[0].offset, kept[49].offset), (50, 499, 450));
    }
}
