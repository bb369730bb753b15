//! What a Kafka error means for a worker: a pure function, since the right branch is all that exactly-once hangs on.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::stream::SourceError;

/// A transactional call's error, without its client.
#[derive(Clone, Copy, Debug)]
pub(super) struct TransactionError {
    pub(super) code: RDKafkaErrorCode,
    pub(super) is_fatal: bool,
    pub(super) requires_abort: bool,
    pub(super) is_retriable: bool,
}

/// What to do after a transactional call has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Repeat the same call, and no other.
    Retry,
    /// Abort the transaction; nothing of it becomes visible.
    Abort,
    /// Abort the transaction and wait for a new assignment: the partitions belong to another generation.
    Rejoin,
    /// A newer writer or member has taken over.
    Fenced,
    /// The client cannot be used any more; another one can.
    Fatal,
    /// The cluster or the configuration must be changed first.
    Denied,
}

/// Decides what a failed transactional call asks for.
pub(super) fn remedy(error: TransactionError) -> Remedy {
    use RDKafkaErrorCode as Code;
    match error.code {
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch | Code::FencedInstanceId => Remedy::Fenced,
        Code::IllegalGeneration | Code::UnknownMemberId | Code::RebalanceInProgress | Code::AssignmentLost => {
            Remedy::Rejoin
        }
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::ClusterAuthorizationFailed
            if !error.requires_abort =>
        {
            Remedy::Denied
        }
        _ if error.is_fatal => Remedy::Fatal,
        _ if error.requires_abort => Remedy::Abort,
        _ if error.is_retriable => Remedy::Retry,
        // librdkafka asks to treat what it does not mark as fatal.
        _ => Remedy::Fatal,
    }
}

impl From<&KafkaError> for TransactionError {
    fn from(error: &KafkaError) -> Self {
        match error {
            KafkaError::Transaction(e) => Self {
                code: e.code(),
                is_fatal: e.is_fatal(),
                requires_abort: e.txn_requires_abort(),
                is_retriable: e.is_retriable(),
            },
            // A flush that did not end in time: the same commit may be tried again.
            KafkaError::Flush(code) => Self { code: *code, is_fatal: false, requires_abort: false, is_retriable: true },
            other => Self {
                code: other.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail),
                is_fatal: false,
                requires_abort: false,
                is_retriable: false,
            },
        }
    }
}

/// Decides what an error that came instead of records means; none where the client mends it by itself.
pub(super) fn read_failure(code: RDKafkaErrorCode, place: &str, text: &str) -> Option<SourceError> {
    use RDKafkaErrorCode as Code;
    match code {
        Code::AutoOffsetReset | Code::OffsetOutOfRange => Some(SourceError::Policy(format!(
            "{place}: the offset to read next is not in the topic any more ({text}); records are lost to retention, or the \
             topic was made anew"
        ))),
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => {
            Some(SourceError::Policy(format!("{place}: the topic or partition does not exist any more ({text})")))
        }
        Code::TopicAuthorizationFailed | Code::GroupAuthorizationFailed | Code::ClusterAuthorizationFailed => {
            Some(SourceError::Configuration(format!("{place}: access denied ({text})")))
        }
        Code::BadMessage | Code::BadCompression | Code::InvalidMessage => {
            Some(SourceError::Policy(format!("{place}: a batch of records is corrupt ({text})")))
        }
        Code::PollExceeded | Code::UnknownMemberId | Code::IllegalGeneration => {
            Some(SourceError::AssignmentLost(format!("{place}: {text}")))
        }
        Code::Fenced | Code::FencedInstanceId | Code::UnreleasedInstanceId => {
            Some(SourceError::Fenced(format!("{place}: {text}")))
        }
        Code::InconsistentGroupProtocol => Some(SourceError::Configuration(format!(
            "{place}: the group is in use by clients of another kind ({text})"
        ))),
        _ => None,
    }
}

/// Whether the client takes a log for truncated that still holds all that was read of it, up to `position`.
///
/// librdkafka has counted the end of a partition as one more record on several ways (librdkafka#4844, up to 2.12); `record_queue`
/// keeps off the one that is known. After a rebalance during which the leader has changed it compares that with the log, which ends
/// one record earlier: then reading begins anew, rather than that the worker stops as if records were lost.
pub(super) fn is_false_truncation(code: RDKafkaErrorCode, text: &str, position: i64) -> bool {
    let number_after = |words: &str| {
        let rest = text.split_once(words)?.1;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<i64>().ok()
    };
    code == RDKafkaErrorCode::AutoOffsetReset
        && text.contains("truncation detected")
        && number_after("broker end offset is ").is_some_and(|end| end >= position)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: RDKafkaErrorCode, flags: &str) -> Remedy {
        remedy(TransactionError {
            code,
            is_fatal: flags.contains('f'),
            requires_abort: flags.contains('a'),
            is_retriable: flags.contains('r'),
        })
    }

    #[test]
    fn a_fenced_writer_is_fenced_whatever_the_flags() {
        for flags in ["", "f", "a", "r"] {
            assert_eq!(of(RDKafkaErrorCode::Fenced, flags), Remedy::Fenced);
            assert_eq!(of(RDKafkaErrorCode::InvalidProducerEpoch, flags), Remedy::Fenced);
            assert_eq!(of(RDKafkaErrorCode::FencedInstanceId, flags), Remedy::Fenced);
        }
    }

    #[test]
    fn a_stale_generation_asks_for_a_new_assignment() {
        assert_eq!(of(RDKafkaErrorCode::IllegalGeneration, "a"), Remedy::Rejoin);
        assert_eq!(of(RDKafkaErrorCode::UnknownMemberId, "a"), Remedy::Rejoin);
    }

    #[test]
    fn fatal_goes_before_abort_and_abort_before_retry() {
        assert_eq!(of(RDKafkaErrorCode::Fatal, "far"), Remedy::Fatal);
        assert_eq!(of(RDKafkaErrorCode::MessageTimedOut, "ar"), Remedy::Abort);
        assert_eq!(of(RDKafkaErrorCode::OperationTimedOut, "r"), Remedy::Retry);
    }

    #[test]
    fn what_librdkafka_does_not_mark_is_fatal() {
        assert_eq!(of(RDKafkaErrorCode::State, ""), Remedy::Fatal);
    }

    #[test]
    fn a_log_that_holds_all_that_was_read_is_not_truncated() {
        let text = "Partition log truncation detected at offset 8 (leader epoch 0): broker end offset is 7 (offset leader \
                    epoch 0). Reset to INVALID.: Local: Partition log truncation detected (broker 1)";
        let code = RDKafkaErrorCode::AutoOffsetReset;
        assert!(is_false_truncation(code, text, 7));
        assert!(is_false_truncation(code, text, 3));
        assert!(!is_false_truncation(code, text, 8), "the record before position 8 is gone");
        assert!(!is_false_truncation(RDKafkaErrorCode::OffsetOutOfRange, text, 7));
        let gone = "fetch failed due to requested offset not available on the broker: Broker: Offset out of range";
        assert!(!is_false_truncation(code, gone, 0));
        assert!(!is_false_truncation(code, &text.replace("is 7", "is -1"), 0), "no such epoch is known");
    }

    #[test]
    fn an_offset_out_of_range_stops_the_worker_and_a_lost_connection_does_not() {
        let stop = read_failure(RDKafkaErrorCode::AutoOffsetReset, "topic `a` partition 3", "gone");
        assert!(matches!(stop, Some(SourceError::Policy(text)) if text.starts_with("topic `a` partition 3")));
        assert!(read_failure(RDKafkaErrorCode::BrokerTransportFailure, "topic `a`", "down").is_none());
    }
}
