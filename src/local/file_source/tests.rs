//! Files as sources: the order of records, tables first, and going back.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

/// What a line of a test file says of itself: `T<event time>` or nothing.
fn read_times(records: &RecordBatchBytes) -> Vec<Option<i64>> {
    let time = |v: &[u8]| std::str::from_utf8(v).ok()?.trim().strip_prefix('T')?.parse().ok();
    records.iter().map(|r| r.value.and_then(time)).collect()
}

/// The files of a directory: role and lines.
#[derive(Clone, Debug)]
struct TestFile {
    is_table: bool,
    has_event_time: bool,
    lines: Vec<Option<String>>,
}

fn open(dir: &Path, files: &[TestFile], until_ms: Option<i64>) -> FileSource {
    let inputs = files.iter().enumerate().map(|(idx, file)| {
        let text: String = file.lines.iter().map(|line| line.clone().unwrap_or_else(|| "  ".into()) + "\n").collect();
        fs::write(dir.join(format!("r{idx}.ndjson")), text).unwrap();
        let event_times = file.has_event_time.then(|| Box::new(read_times) as EventTimes);
        FileInput::lines(format!("r{idx}").into(), file.is_table, event_times)
    });
    FileSource::open(dir, inputs.collect(), until_ms).unwrap()
}

/// Everything in reading order: relation, line number, text.
fn drain(source: &mut FileSource, n_records: usize) -> Vec<(String, i64, String)> {
    let mut all = Vec::new();
    loop {
        let limit = PollLimit { records: n_records, bytes: usize::MAX };
        let polled = source.poll(limit, Duration::ZERO, &[]).unwrap();
        let mut records: Vec<_> = polled
            .records
            .iter()
            .flat_map(|(name, batch)| batch.iter().map(move |r| (r.meta.sequence, name.to_string(), r)))
            .map(|(sequence, name, r)| {
                let text = String::from_utf8(r.value.unwrap().to_vec()).unwrap();
                (sequence, (name, r.meta.offset, text))
            })
            .collect();
        records.sort();
        assert!(records.len() == n_records || polled.end_of_input, "only the last epoch may be short");
        all.extend(records.into_iter().map(|(_, record)| record));
        if polled.end_of_input {
            return all;
        }
    }
}

/// The contract, word for word, on lists.
fn naive(files: &[TestFile], until_ms: Option<i64>) -> Vec<(String, i64, String)> {
    let time = |text: &str| text.strip_prefix('T').and_then(|t| t.parse::<i64>().ok());
    let mut queues: Vec<VecDeque<(String, i64, String)>> = Vec::new();
    for (idx, file) in files.iter().enumerate() {
        let lines = file.lines.iter().enumerate().filter_map(|(n, line)| {
            let line = line.clone()?;
            let after = file.has_event_time && time(&line).zip(until_ms).is_some_and(|(t, until)| t > until);
            (!after).then(|| (format!("r{idx}"), n as i64 + 1, line))
        });
        queues.push(lines.collect());
    }
    let mut all = Vec::new();
    for (file, queue) in files.iter().zip(&mut queues) {
        if file.is_table && !file.has_event_time {
            all.extend(queue.drain(..));
        }
    }
    loop {
        let heads = queues.iter().zip(files).enumerate().filter_map(|(idx, (queue, file))| {
            let (_, _, line) = queue.front()?;
            let at = if file.has_event_time { time(line) } else { None };
            Some((at.unwrap_or(i64::MIN), idx))
        });
        let Some((_, idx)) = heads.min() else { return all };
        all.extend(queues[idx].pop_front());
    }
}

fn lines() -> impl Strategy<Value = Vec<Option<String>>> {
    let line = prop_oneof![
        6 => (0i64..40).prop_map(|t| Some(format!("T{t}"))),
        1 => "[a-z]{1,5}".prop_map(Some),
        1 => Just(None),
    ];
    prop::collection::vec(line, 0..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn records_come_in_the_order_of_the_contract_whatever_the_epoch(
        files in prop::collection::vec(
            (any::<bool>(), any::<bool>(), lines())
                .prop_map(|(is_table, has_event_time, lines)| TestFile { is_table, has_event_time, lines }),
            1..5,
        ),
        until_ms in prop::option::of(0i64..40),
        n_records in 1usize..20,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut source = open(dir.path(), &files, until_ms);
        prop_assert_eq!(drain(&mut source, n_records), naive(&files, until_ms));
    }

    #[test]
    fn a_source_sent_back_goes_on_as_if_it_had_never_stopped(
        lines in prop::collection::vec(lines(), 1..4),
        n_records in 1usize..10,
        n_polls in 0usize..4,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let files: Vec<_> =
            lines.into_iter().map(|lines| TestFile { is_table: false, has_event_time: true, lines }).collect();
        let mut source = open(dir.path(), &files, None);
        let mut positions = BTreeMap::new();
        for _ in 0..n_polls {
            let limit = PollLimit { records: n_records, bytes: usize::MAX };
            let polled = source.poll(limit, Duration::ZERO, &[]).unwrap();
            positions.extend(polled.partitions.into_iter().map(|(p, s)| (p, s.position)));
        }
        let mut other = open(dir.path(), &files, None);
        other.rewind(&positions).unwrap();
        prop_assert_eq!(drain(&mut other, 7), drain(&mut source, 7));
    }
}

fn line_file(dir: &Path, name: &str, text: &str) -> FileSource {
    fs::write(dir.join(name), text).unwrap();
    let input = FileInput::lines("r0".into(), true, None);
    FileSource::open(dir, vec![input], None).unwrap()
}

#[test]
fn the_last_line_needs_no_end_and_windows_line_ends_are_no_part_of_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = line_file(dir.path(), "r0.ndjson", "\u{feff}a\r\n\r\nb");
    let read = drain(&mut source, 10);
    assert_eq!(read, [("r0".into(), 1, "a".into()), ("r0".into(), 3, "b".into())]);
}

#[test]
fn a_missing_file_is_an_empty_input_that_has_been_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let input = FileInput::lines("devices".into(), true, None);
    let mut source = FileSource::open(dir.path(), vec![input], None).unwrap();
    assert_eq!(source.missing(), &[Arc::from("devices")]);
    let polled = source.poll(PollLimit { records: 10, bytes: 10 }, Duration::ZERO, &[]).unwrap();
    assert!(polled.end_of_input && polled.partitions.values().all(|status| status.caught_up));
}

#[test]
fn two_files_for_one_relation_are_an_error_that_names_both() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("r0.csv"), "").unwrap();
    fs::write(dir.path().join("r0.ndjson"), "").unwrap();
    let input = FileInput::lines("r0".into(), true, None);
    let message = FileSource::open(dir.path(), vec![input], None).err().unwrap().to_string();
    assert!(message.contains("r0.csv") && message.contains("r0.ndjson"), "{message}");
}

#[test]
fn a_table_without_event_time_is_loaded_in_the_poll_that_brings_its_last_record() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = line_file(dir.path(), "r0.ndjson", "a\nb\nc\n");
    let mut poll = |records| source.poll(PollLimit { records, bytes: usize::MAX }, Duration::ZERO, &[]).unwrap();
    let partition = SourcePartition { relation: "r0".into(), partition: 0 };
    let first = poll(2);
    assert!(!first.partitions[&partition].caught_up && !first.end_of_input);
    let second = poll(1);
    assert!(second.partitions[&partition].caught_up && second.end_of_input);
}
