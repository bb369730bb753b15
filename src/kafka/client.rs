//! What all our Kafka clients have in common: they are made in one way, log in one way, and remember why they cannot connect.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, ClientContext, Statistics};
use tracing::{debug, error, info, warn};

use crate::stream::SourceError;

/// How long the cluster may take to answer a question before it counts as unreachable.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The context of a client that belongs to no group.
#[derive(Default)]
pub(super) struct PlainContext {
    pub(super) connection: ConnectionLog,
}

impl ClientContext for PlainContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.connection.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.connection.error(&error, reason);
    }

    /// What clients that ask little have to tell is of no interest.
    fn stats(&self, _: Statistics) {}
}

impl ConsumerContext for PlainContext {}

/// Forwards a client's log and keeps the last reason why the connection failed.
#[derive(Default)]
pub(super) struct ConnectionLog {
    last: Mutex<Option<(RDKafkaErrorCode, String)>>,
}

impl ConnectionLog {
    pub(super) fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                error!(target: "curb::kafka::client", facility, "{message}");
            }
            // A broker that comes and goes is no loss: what follows from it is reported where it matters.
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
                warn!(target: "curb::kafka::client", facility, "{message}");
            }
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                info!(target: "curb::kafka::client", facility, "{message}");
            }
            RDKafkaLogLevel::Debug => debug!(target: "curb::kafka::client", facility, "{message}"),
        }
    }

    pub(super) fn error(&self, error: &KafkaError, reason: &str) {
        debug!(target: "curb::kafka::client", %error, reason, "client error");
        let Some(code) = error.rdkafka_error_code() else { return };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // That all brokers are down is a consequence; the reason came before.
        if last.is_none() || code != RDKafkaErrorCode::AllBrokersDown {
            *last = Some((code, reason.to_owned()));
        }
    }

    /// Says why the cluster did not answer: a refused login is the operator's to mend, anything else the network's.
    pub(super) fn explain(&self, question: &str, brokers: &str, error: &KafkaError) -> SourceError {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let refused =
            [RDKafkaErrorCode::Authentication, RDKafkaErrorCode::SSL, RDKafkaErrorCode::SaslAuthenticationFailed];
        match last {
            Some((code, reason)) if refused.contains(&code) => {
                SourceError::Configuration(format!("the brokers at {brokers} refused the connection: {reason}"))
            }
            Some((_, reason)) => {
                // Behind it stands how often and in which of its states the client has met with it.
                let reason = reason.split(" (after ").next().unwrap_or(&reason);
                SourceError::Unreachable(format!("{brokers}: could not {question}: {reason}"))
            }
            None => SourceError::Unreachable(format!("{brokers}: could not {question}: {error}")),
        }
    }
}

/// Makes a client. An invalid property is told by name; values may be secrets and are never shown.
pub(super) fn create<Client, Context>(config: &ClientConfig, context: Context) -> Result<Client, SourceError>
where
    Context: ClientContext,
    Client: FromClientConfigAndContext<Context>,
{
    config.create_with_context(context).map_err(|error| {
        SourceError::Configuration(match error {
            KafkaError::ClientConfig(_, _, property, _) => {
                format!("Kafka property `{property}` does not exist or its value is invalid")
            }
            other => format!("the Kafka client refused its settings: {other}"),
        })
    })
}

/// Serves what a client has to tell, so that its log and errors do not pile up.
pub(super) fn serve_events(consumer: &BaseConsumer<PlainContext>) {
    // One call serves one event, and does not tell a silent event from none.
    for _ in 0..64 {
        let _ = consumer.poll(Duration::ZERO);
    }
}
