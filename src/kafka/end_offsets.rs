//! Asks the broker for the ends of partitions: at start for all of them, later in the background.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tracing::warn;

use crate::stream::{SourceError, SourcePartition};

use super::client::{ANSWER_TIMEOUT, PlainContext, serve_events};

/// The client that asks. It reads uncommitted, so that ends are high watermarks.
pub(super) type Probe = BaseConsumer<PlainContext>;

/// The offsets of the first record of a partition and behind its last, whether committed or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Watermarks {
    pub(super) low: i64,
    pub(super) high: i64,
}

/// How long a partition may be without a leader before its cluster counts as unreachable.
const LEADER_TIMEOUT: Duration = Duration::from_secs(60);
/// How many partitions are asked for side by side.
const QUESTIONS_AT_ONCE: usize = 16;

/// Asks for one partition. A topic that was just made, or whose leader is just moving, is asked again for a while.
pub(super) fn watermarks(probe: &Probe, brokers: &str, topic: &str, partition: i32) -> Result<Watermarks, SourceError> {
    let started = Instant::now();
    loop {
        let answer = probe.fetch_watermarks(topic, partition, ANSWER_TIMEOUT);
        serve_events(probe);
        match answer {
            Ok((low, high)) => return Ok(Watermarks { low, high }),
            Err(error) if started.elapsed() < patience(&error) => std::thread::sleep(Duration::from_millis(100)),
            Err(error) => {
                let question = format!("ask for the end of topic `{topic}` partition {partition}");
                return Err(probe.context().connection.explain(&question, brokers, &error));
            }
        }
    }
}

/// A broker that answers is reachable: it may only take a while until it knows who leads a partition.
fn patience(error: &KafkaError) -> Duration {
    match error.rdkafka_error_code() {
        Some(
            RDKafkaErrorCode::NotLeaderForPartition
            | RDKafkaErrorCode::LeaderNotAvailable
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownPartition,
        ) => LEADER_TIMEOUT,
        _ => ANSWER_TIMEOUT,
    }
}

/// Asks for many partitions at once. One after the other each would wait a round trip, or more while leaders are not known.
pub(super) fn watermarks_of_all(
    probe: &Probe,
    brokers: &str,
    partitions: Vec<(SourcePartition, String)>,
) -> Result<BTreeMap<SourcePartition, Watermarks>, SourceError> {
    let share = partitions.len().div_ceil(QUESTIONS_AT_ONCE).max(1);
    std::thread::scope(|scope| {
        let ask = |part: &[(SourcePartition, String)]| {
            let one = |(p, topic): &(SourcePartition, String)| {
                Ok((p.clone(), watermarks(probe, brokers, topic, p.partition)?))
            };
            part.iter().map(one).collect::<Result<Vec<_>, SourceError>>()
        };
        let asking: Vec<_> = partitions.chunks(share).map(|part| scope.spawn(move || ask(part))).collect();
        let mut answers = BTreeMap::new();
        for answered in asking {
            let answered =
                answered.join().map_err(|_| SourceError::Io("asking for the ends of topics failed".into()))?;
            answers.extend(answered?);
        }
        Ok(answers)
    })
}

/// A question for the end of a partition.
struct Question {
    partition: SourcePartition,
    topic: String,
    asked_at: Instant,
}

/// What the broker said to a question.
pub(super) struct Answer {
    pub(super) partition: SourcePartition,
    /// The end, or none where the broker did not answer.
    pub(super) end: Option<i64>,
    pub(super) asked_at: Instant,
}

/// Asks in the background, so that a slow broker does not hold up the worker. Ends with its owner.
pub(super) struct EndOffsets {
    questions: Sender<Question>,
    answers: Receiver<Answer>,
}

impl EndOffsets {
    pub(super) fn new(probe: Arc<Probe>, n_partitions: usize) -> Result<Self, SourceError> {
        let (questions, asked) = bounded(n_partitions.max(1));
        let (replies, answers) = bounded(n_partitions.max(1));
        std::thread::Builder::new()
            .name("curb-ends".to_owned())
            .spawn(move || answer_questions(&probe, &asked, &replies))
            .map_err(|e| SourceError::Io(format!("could not start a thread: {e}")))?;
        Ok(Self { questions, answers })
    }

    /// Asks for one partition's end. When too many questions are open this one is dropped: it will be asked again.
    pub(super) fn ask(&self, partition: SourcePartition, topic: &str, asked_at: Instant) {
        let question = Question { partition, topic: topic.to_owned(), asked_at };
        if self.questions.try_send(question).is_err() {
            warn!(topic, "too many open questions for ends of partitions");
        }
    }

    /// What was answered since the last call.
    pub(super) fn answers(&self) -> impl Iterator<Item = Answer> {
        self.answers.try_iter()
    }
}

fn answer_questions(probe: &Probe, questions: &Receiver<Question>, answers: &Sender<Answer>) {
    loop {
        match questions.recv_timeout(Duration::from_secs(1)) {
            Ok(Question { partition, topic, asked_at }) => {
                let asked = probe.fetch_watermarks(&topic, partition.partition, ANSWER_TIMEOUT);
                let end = match asked {
                    Ok((_, high)) => Some(high),
                    Err(error) => {
                        warn!(topic, partition = partition.partition, %error, "could not ask for the end of a partition");
                        None
                    }
                };
                if answers.send(Answer { partition, end, asked_at }).is_err() {
                    return;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        serve_events(probe);
    }
}
