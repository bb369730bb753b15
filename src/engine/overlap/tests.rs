//! Epochs that overlap give the answer of epochs that do not, and end when one fails.

use arrow::array::{Array, Int64Array, RecordBatch, StringArray};
use fastrand::Rng;
use std::sync::mpsc::channel;

use super::*;
use crate::catalog::resolve;
use crate::dialect::{Pack, parse};
use crate::plan::plan;
use crate::stream::{ShardCount, Watermark};

const RULES: &str = "
    CREATE TABLE parts (id VARCHAR PRIMARY KEY, n BIGINT) WITH (topic = 'parts', format = 'json');
    CREATE TABLE names (n BIGINT PRIMARY KEY, name VARCHAR) WITH (topic = 'names', format = 'json');
    CREATE VIEW counted AS SELECT n, count(*) AS c, max(id) AS last FROM parts GROUP BY n;
    CREATE SINK totals AS SELECT c.n, c.c, c.last, m.name FROM counted AS c LEFT JOIN names AS m ON m.n = c.n;
    CREATE SINK firsts AS SELECT n, min(id) AS first FROM parts GROUP BY n;";

fn pipeline() -> Pipeline {
    let (statements, errors) = parse(&Pack::from_text("rules.sql", RULES));
    assert!(errors.is_empty(), "{errors:?}");
    plan(&resolve(statements, None).unwrap()).unwrap()
}

/// Rows of both tables, epoch by epoch.
fn epochs(pipeline: &Pipeline, n_epochs: usize, rng: &mut Rng) -> Vec<Vec<Option<ChangeBatch>>> {
    let mut batch = |id: RelationId, n_rows: usize| {
        let columns: Vec<Arc<dyn Array>> = match pipeline.relations[id].name.as_ref() {
            "parts" => vec![
                Arc::new(StringArray::from_iter_values((0..n_rows).map(|_| format!("p{}", rng.u8(..))))),
                Arc::new(Int64Array::from_iter_values((0..n_rows).map(|_| rng.i64(0..9)))),
            ],
            _ => vec![
                Arc::new(Int64Array::from_iter_values((0..n_rows).map(|_| rng.i64(0..9)))),
                Arc::new(StringArray::from_iter_values((0..n_rows).map(|_| format!("n{}", rng.u8(0..4))))),
            ],
        };
        let rows = RecordBatch::try_new(pipeline.relations[id].schema.clone(), columns).unwrap();
        Some(ChangeBatch::stream(rows, (0..n_rows as u64).collect()))
    };
    (0..n_epochs)
        .map(|_| (0..pipeline.relations.len()).map(|id| if id < 2 { batch(id, 20) } else { None }).collect())
        .collect()
}

fn times(pipeline: &Pipeline) -> EpochTimes {
    let watermarks = vec![Watermark::MIN; pipeline.relations.len()];
    EpochTimes {
        before: watermarks.clone(),
        after: watermarks,
        loaded: true,
        hand_over_max: usize::MAX,
        ..EpochTimes::default()
    }
}

/// What each sink of an epoch was handed, and what was counted.
fn seen(pipeline: &Pipeline, run: &EpochRun) -> String {
    let sinks = pipeline.sinks.iter().map(|s| (&run.changes[s.relation].rows, &run.changes[s.relation].weights));
    format!("{:?} {:?} {:?}", sinks.collect::<Vec<_>>(), run.rows_in, run.rows_out)
}

/// Runs epochs that overlap; what `write` says of each is collected in the order of writing.
fn overlapped(
    pipeline: &Pipeline,
    sources: Vec<Vec<Option<ChangeBatch>>>,
    n_epochs: usize,
    mut write: impl FnMut(usize) -> Result<(), DataflowError> + Send,
) -> (Result<(), DataflowError>, Vec<String>) {
    let mut dataflow = Dataflow::new(pipeline, ShardCount(2)).unwrap();
    let (n_sources, mut sources) = (sources.len(), sources.into_iter().enumerate());
    let mut written = Vec::new();
    let read = || {
        Ok(sources.next().map(|(number, sources)| ReadEpoch {
            sources,
            times: times(pipeline),
            carried: number,
            is_last: number + 1 == n_sources,
        }))
    };
    let write = |epoch: RunEpoch<usize>| {
        write(epoch.carried)?;
        assert_eq!(epoch.carried, written.len(), "epochs are written in order");
        written.push(seen(pipeline, &epoch.run));
        Ok(())
    };
    let result = run_overlapped(pipeline, &mut dataflow, n_epochs, Edges { read, write });
    (result, written)
}

#[test]
fn overlapping_epochs_give_what_they_give_one_after_the_other() {
    let pipeline = pipeline();
    for seed in 0..20 {
        let sources = epochs(&pipeline, 12, &mut Rng::with_seed(seed));
        let mut dataflow = Dataflow::new(&pipeline, ShardCount(2)).unwrap();
        let runs = sources.iter().map(|s| dataflow.run(&pipeline, s.clone(), &times(&pipeline)).unwrap());
        let want: Vec<String> = runs.map(|run| seen(&pipeline, &run)).collect();
        for n_epochs in [1, 2, 5] {
            let (result, got) = overlapped(&pipeline, sources.clone(), n_epochs, |_| Ok(()));
            result.unwrap();
            assert_eq!(got, want, "seed {seed}, {n_epochs} under way");
        }
    }
}

#[test]
fn an_epoch_tells_that_it_goes_on_after_each_relation() {
    let pipeline = pipeline();
    let (mut dataflow, n) = (Dataflow::new(&pipeline, ShardCount(1)).unwrap(), std::cell::Cell::new(0));
    let nothing = pipeline.relations.iter().map(|_| None).collect();
    dataflow.run_telling(&pipeline, nothing, &times(&pipeline), &|| n.set(n.get() + 1)).unwrap();
    assert_eq!(n.get(), pipeline.relations.len());
}

#[test]
fn an_error_ends_all_epochs_and_is_told() {
    let pipeline = pipeline();
    let sources = epochs(&pipeline, 9, &mut Rng::with_seed(1));
    let refuse = |number| {
        let source = crate::operators::OperatorError::Function("the disk is full".into());
        if number == 4 { Err(DataflowError { relation: "totals".into(), source }) } else { Ok(()) }
    };
    let (result, written) = overlapped(&pipeline, sources, 3, refuse);
    assert_eq!(result.unwrap_err().source.to_string(), "the disk is full");
    assert_eq!(written.len(), 4);
}

#[test]
fn a_panic_ends_all_threads() {
    let (ended, wait) = channel();
    std::thread::spawn(move || {
        let pipeline = pipeline();
        let sources = epochs(&pipeline, 9, &mut Rng::with_seed(1));
        let panics = std::panic::AssertUnwindSafe(|| overlapped(&pipeline, sources, 3, |_| panic!("a bug")).1);
        let _ = ended.send(std::panic::catch_unwind(panics).is_err());
    });
    assert!(wait.recv_timeout(std::time::Duration::from_secs(60)).unwrap(), "the panic is handed on");
}
