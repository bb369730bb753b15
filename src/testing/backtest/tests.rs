//! Two packs over the same records: what is told of their differences.

use serde_json::json;

use super::*;
use crate::catalog::resolve;
use crate::dialect::{Pack, parse};
use crate::plan::plan;

fn pipeline(text: &str) -> Arc<Pipeline> {
    let (statements, errors) = parse(&Pack::from_text("pack.sql", text));
    assert!(errors.is_empty(), "{errors:?}");
    Arc::new(plan(&resolve(statements, None).unwrap()).unwrap())
}

fn pack(least: u32, more: &str) -> Arc<Pipeline> {
    pipeline(&format!(
        "CREATE TABLE rides (ride_id VARCHAR PRIMARY KEY, person VARCHAR, name VARCHAR PRIVATE) WITH (topic = 'rides', format = 'json');
         CREATE STREAM seen (ride_id VARCHAR NOT NULL) WITH (topic = 'seen', format = 'json');
         CREATE TABLE frequent (PRIMARY KEY (person)) AS
         SELECT person, CASE WHEN count(*) > 2 THEN 'many' ELSE 'few' END AS kind, count(*) AS n, max(name) AS name
         FROM rides GROUP BY person HAVING count(*) >= {least};
         CREATE SINK by_person WITH (topic = 'by-person', format = 'json', count_by = 'kind', allow_private = true) AS SELECT * FROM frequent;
         CREATE SINK actions WITH (topic = 'actions', format = 'json', key = 'person') AS
         SELECT coalesce(after.person, before.person) AS action_id, coalesce(after.person, before.person) AS person,
                CASE WHEN after.person IS NULL THEN 'withdrawn' ELSE 'issued' END AS status, revision
         FROM CHANGES(frequent);
         CREATE SINK all_seen WITH (topic = 'all-seen', format = 'json') AS SELECT ride_id FROM seen {more};"
    ))
}

fn differences(old: &Arc<Pipeline>, new: &Arc<Pipeline>, limit: usize) -> BTreeMap<String, SinkDifference> {
    let dir = tempfile::tempdir().unwrap();
    let ride = |id: &str, person: &str| json!({"ride_id": id, "person": person, "name": "Anna"}).to_string();
    let mut rides: Vec<String> =
        [("r1", "a"), ("r2", "a"), ("r3", "b"), ("r4", "c"), ("r5", "c"), ("r6", "c")].map(|(r, p)| ride(r, p)).into();
    // Of d's two rides one is taken back: what was issued for it is withdrawn.
    rides.extend([ride("r7", "d"), ride("r8", "d"), r#"{"_tombstone":true,"ride_id":"r8"}"#.to_owned()]);
    std::fs::write(dir.path().join("rides.ndjson"), rides.join("\n")).unwrap();
    std::fs::write(dir.path().join("seen.ndjson"), "{\"ride_id\":\"x\"}\n{\"ride_id\":\"x\"}\n{\"ride_id\":\"y\"}\n")
        .unwrap();
    let scratch = dir.path().join("scratch");
    let options = BacktestOptions { from: dir.path(), scratch: &scratch, until_ms: None, limit };
    backtest(old, new, &options).unwrap().into_iter().map(|d| (d.sink.clone(), d)).collect()
}

fn rows(added: u64, removed: u64, changed: u64, same: u64) -> RowCounts {
    RowCounts { added, removed, changed, same }
}

#[test]
fn a_pack_does_not_differ_from_itself() {
    let found = differences(&pack(2, ""), &pack(2, ""), 10);
    assert_eq!(found.len(), 3);
    assert!(found.values().all(|d| d.rows.is_same() && d.differences.is_empty()), "{found:?}");
    assert_eq!(found["by_person"].rows.same, 2);
    assert_eq!(found["all_seen"].rows.same, 3);
}

#[test]
fn what_stands_at_the_end_is_compared_by_key_and_summed_by_kind() {
    let found = differences(&pack(2, ""), &pack(1, ""), 10);
    let by_person = &found["by_person"];
    assert_eq!(by_person.rows, rows(2, 0, 0, 2));
    assert_eq!(by_person.by, ["person"]);
    assert_eq!(by_person.kinds, [("few".into(), rows(2, 0, 0, 1)), ("many".into(), rows(0, 0, 0, 1))].into());
    let keys: BTreeSet<String> = by_person.differences.iter().map(|d| d.key.as_ref().unwrap().to_string()).collect();
    assert_eq!(keys, ["\"b\"".to_owned(), "\"d\"".to_owned()].into());
    let first = &by_person.differences[0];
    assert_eq!((first.old.is_none(), &first.new.as_ref().unwrap()["name"]), (true, &json!("***")));
    // What the old pack withdrew again is not there: the new one adds it.
    assert_eq!(found["actions"].rows, rows(2, 0, 0, 2));
    assert!(found["all_seen"].rows.is_same());
    let back = differences(&pack(1, ""), &pack(2, ""), 1);
    assert_eq!(back["by_person"].rows, rows(0, 2, 0, 2));
    assert_eq!(back["by_person"].differences.len(), 1);
}

#[test]
fn a_row_with_other_values_has_changed_and_rows_without_a_key_are_counted() {
    let other = pack(2, "WHERE ride_id = 'x'");
    let renamed = pipeline(
        "CREATE TABLE rides (ride_id VARCHAR PRIMARY KEY, person VARCHAR) WITH (topic = 'rides', format = 'json');
         CREATE SINK by_person WITH (topic = 'by-person', format = 'json') AS
         SELECT person, CASE WHEN count(*) > 1 THEN 'many' ELSE 'few' END AS kind, count(*) AS n FROM rides GROUP BY person HAVING count(*) > 1;",
    );
    let found = differences(&pack(2, ""), &other, 10);
    assert_eq!(found["all_seen"].rows, rows(0, 1, 0, 2));
    assert_eq!(found["all_seen"].differences[0].old, json!({"ride_id": "y"}).as_object().cloned());
    let found = differences(&pack(2, ""), &renamed, 10);
    assert_eq!(found["by_person"].rows, rows(0, 0, 2, 0));
    assert_eq!(found["actions"].rows, rows(0, 2, 0, 0), "a sink that the new pack lacks");
    let changed = &found["by_person"].differences[0];
    assert!(changed.old.is_some() && changed.new.is_some() && changed.old != changed.new);
}
