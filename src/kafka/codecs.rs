//! Topics that a producer compresses in another way than all others.
//!
//! librdkafka keeps the settings of a topic with the topic's handle, and writes all records of a topic by the first handle that
//! was made of it. So a handle with settings of its own is made before any record is sent, and kept as long as the producer.

use std::ffi::{CStr, CString, c_char};
use std::sync::Arc;

use rdkafka::bindings as rd;
use rdkafka::producer::Producer;
use rdkafka::types::RDKafkaTopic;

use crate::stream::SourceError;

use super::producer::TransactionalProducer;

/// How long a reason of librdkafka may be.
const REASON_BYTES: usize = 512;

/// The handle of a topic with a codec of its own.
pub(super) struct TopicCodec {
    topic: *mut RDKafkaTopic,
    /// The handle must be gone before the client is.
    _producer: Arc<TransactionalProducer>,
}

// SAFETY: librdkafka's handles of topics may be used and given back from any thread; this one is only given back.
unsafe impl Send for TopicCodec {}

impl TopicCodec {
    /// From now on `producer` writes `topic` in a codec. Must be called before it writes there.
    pub(super) fn set(producer: &Arc<TransactionalProducer>, topic: &str, codec: &str) -> Result<Self, SourceError> {
        let refused = |reason: &str| {
            SourceError::Configuration(format!(
                "topic `{topic}` cannot be written with compression '{codec}': {reason}"
            ))
        };
        let no_text = |_| refused("a name with a zero byte");
        let (name, value) = (CString::new(topic).map_err(no_text)?, CString::new(codec).map_err(no_text)?);
        let client = producer.client().native_ptr();
        let mut reason = [0 as c_char; REASON_BYTES];
        // SAFETY: the client and all texts are alive during the calls, `reason` has the size that is told. The settings are the
        // client's from `rd_kafka_topic_new` on, also where no topic is made.
        unsafe {
            let settings = rd::rd_kafka_default_topic_conf_dup(client);
            let property = c"compression.codec".as_ptr();
            let set =
                rd::rd_kafka_topic_conf_set(settings, property, value.as_ptr(), reason.as_mut_ptr(), reason.len());
            if set != rd::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK {
                rd::rd_kafka_topic_conf_destroy(settings);
                return Err(refused(&CStr::from_ptr(reason.as_ptr()).to_string_lossy()));
            }
            let topic = rd::rd_kafka_topic_new(client, name.as_ptr(), settings);
            if topic.is_null() {
                return Err(refused("the client takes no such topic"));
            }
            Ok(Self { topic, _producer: producer.clone() })
        }
    }
}

impl Drop for TopicCodec {
    fn drop(&mut self) {
        // SAFETY: it was made by us, is given back once, and its client is alive.
        unsafe { rd::rd_kafka_topic_destroy(self.topic) }
    }
}
