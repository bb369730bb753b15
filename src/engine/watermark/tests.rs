//! Watermarks of partitions, idle ones among them.

use super::*;
use crate::catalog::resolve;
use crate::dialect::{Pack, parse};
use crate::plan::plan;

const RULES: &str = "
    CREATE TABLE devices (device_id VARCHAR PRIMARY KEY, town VARCHAR) WITH (topic = 'devices', format = 'json');
    CREATE STREAM passages (
        passage_id VARCHAR NOT NULL, device_id VARCHAR, passed_at TIMESTAMP WITH TIME ZONE NOT NULL
    ) WITH (topic = 'passages', format = 'json', event_time = 'passed_at', watermark_delay = '10 seconds');
    CREATE SINK joined WITH (topic = 'joined', format = 'json') AS
        SELECT p.passage_id, d.town FROM passages p LEFT JOIN devices d ON p.device_id = d.device_id;
";

const DEVICES: RelationId = 0;
const PASSAGES: RelationId = 1;

struct Fixture {
    pipeline: Pipeline,
    watermarks: Watermarks,
}

impl Fixture {
    fn new() -> Self {
        let (statements, errors) = parse(&Pack::from_text("rules.sql", RULES));
        assert!(errors.is_empty(), "{errors:?}");
        let pipeline = plan(&resolve(statements, None).unwrap()).unwrap();
        let watermarks = Watermarks::new(&pipeline);
        Self { pipeline, watermarks }
    }

    fn of(&self, relation: RelationId) -> Watermark {
        self.watermarks.of_relations(&self.pipeline)[relation]
    }
}

#[test]
fn a_watermark_is_the_smallest_greatest_event_time_minus_the_delay() {
    let mut f = Fixture::new();
    f.watermarks.observe(PASSAGES, 0, 50_000);
    f.watermarks.observe(PASSAGES, 1, 30_000);
    f.watermarks.observe(PASSAGES, 1, 20_000);
    assert_eq!(f.of(PASSAGES), Watermark::MIN, "it moves between epochs only");
    f.watermarks.advance(0);
    assert_eq!(f.of(PASSAGES), Watermark(20_000));
}

#[test]
fn a_partition_that_has_brought_nothing_holds_the_watermark_until_it_is_idle() {
    let mut f = Fixture::new();
    f.watermarks.observe(PASSAGES, 0, 50_000);
    f.watermarks.set_idle(PASSAGES, 1, false);
    f.watermarks.advance(0);
    assert_eq!(f.of(PASSAGES), Watermark::MIN);
    f.watermarks.set_idle(PASSAGES, 1, true);
    f.watermarks.advance(0);
    assert_eq!(f.of(PASSAGES), Watermark(40_000));
}

#[test]
fn when_all_partitions_are_idle_the_wall_clock_is_followed_but_never_backwards() {
    let mut f = Fixture::new();
    f.watermarks.observe(PASSAGES, 0, 50_000);
    f.watermarks.set_idle(PASSAGES, 0, true);
    f.watermarks.advance(90_000);
    assert_eq!(f.of(PASSAGES), Watermark(80_000));
    f.watermarks.advance(70_000);
    f.watermarks.set_idle(PASSAGES, 0, false);
    f.watermarks.advance(70_000);
    assert_eq!(f.of(PASSAGES), Watermark(80_000));
}

#[test]
fn a_table_without_event_time_bounds_nothing_and_the_end_of_input_moves_all() {
    let mut f = Fixture::new();
    let sink = f.pipeline.sinks[0].relation;
    f.watermarks.observe(PASSAGES, 0, 50_000);
    f.watermarks.advance(0);
    assert_eq!((f.of(DEVICES), f.of(sink)), (Watermark::MAX, Watermark(40_000)));
    f.watermarks.end(Watermark::MAX);
    assert_eq!((f.of(PASSAGES), f.of(sink)), (Watermark::MAX, Watermark::MAX));
}

#[test]
fn a_restored_watermark_does_not_fall_behind_what_was_committed() {
    let mut f = Fixture::new();
    f.watermarks.restore(PASSAGES, Watermark(60_000));
    f.watermarks.observe(PASSAGES, 0, 50_000);
    f.watermarks.advance(0);
    assert_eq!(f.of(PASSAGES), Watermark(60_000));
}
