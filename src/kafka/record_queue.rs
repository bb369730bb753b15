//! Takes records from librdkafka: one queue of ours per topic, which its partitions are forwarded to.
//!
//! `BaseConsumer::poll` asks two queues for each record. The consumer's own queue is left to rebalances; a queue of ours carries only
//! records, ends of partitions and their errors. A topic whose queue is not read stops being fetched when the queue is full, so
//! pausing a relation needs no call and cannot lose its place.
//!
//! Records are taken one by one, since both ways to take many go wrong. `rd_kafka_consume_batch_queue` counts the end of a partition
//! as if it were a record, and so moves the client's own position one behind the end, with a leader epoch that is not known: the
//! client goes on from there when the group's assignment changes, and after the next change of leaders it reports a truncated log
//! where none is. `rd_kafka_consume_callback_queue` empties the queue while it hands over, and the client fetches on as if
//! what waits there took no memory.
//!
//! All `unsafe` calls of reading are in this file.

use std::ffi::{CStr, CString, c_void};
use std::slice;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::types::RDKafkaRespErr;

use crate::stream::{Headers, SourceError};

/// At most so many records are taken with one call.
const BATCH_RECORDS: usize = 2048;

/// Wakes a reader that waits for several queues.
#[derive(Default)]
pub(super) struct Wake {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Wake {
    /// Forgets earlier calls. To be called before the queues are looked at, so that nothing that comes later is missed.
    pub(super) fn reset(&self) {
        *self.woken.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }

    /// Waits until a queue has filled, at most `timeout`.
    pub(super) fn wait(&self, timeout: Duration) {
        let woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_timeout_while(woken, timeout, |woken| !*woken));
    }

    fn notify(&self) {
        *self.woken.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }
}

/// What came from a partition.
pub(super) enum Arrival<'a> {
    /// A record.
    Record(Record<'a>),
    /// The partition was read to its end; the next record will have this offset or a greater one. Transactions' markers
    /// and aborted records take offsets too, so this may lie behind the last record + 1.
    End { partition: i32, offset: i64 },
    /// The partition cannot be read, for now or for good.
    Failure { partition: i32, code: RDKafkaErrorCode, text: String },
}

/// One record, borrowed from the client.
pub(super) struct Record<'a> {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) timestamp_ms: Option<i64>,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    message: &'a rd::rd_kafka_message_t,
}

impl Record<'_> {
    /// All headers in their order.
    pub(super) fn headers(&self) -> Headers {
        let mut list: *mut rd::rd_kafka_headers_t = std::ptr::null_mut();
        let mut found = Headers::new();
        // SAFETY: the message is alive for `self`; librdkafka owns the headers, their names and values as long as the message.
        unsafe {
            if rd::rd_kafka_message_headers(self.message, &mut list) != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                return found;
            }
            let (mut name, mut value, mut size) = (std::ptr::null(), std::ptr::null(), 0);
            while rd::rd_kafka_header_get_all(list, found.len(), &mut name, &mut value, &mut size)
                == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR
            {
                let name = CStr::from_ptr(name).to_string_lossy().into_owned();
                found.push((name, bytes(value, size).unwrap_or_default().to_vec()));
            }
        }
        found
    }

    /// The last header of that name.
    pub(super) fn header(&self, name: &CStr) -> Option<&[u8]> {
        let mut headers: *mut rd::rd_kafka_headers_t = std::ptr::null_mut();
        let mut value: *const c_void = std::ptr::null();
        let mut size: usize = 0;
        // SAFETY: the message is alive for `self`; librdkafka owns the headers and their bytes as long as the message.
        unsafe {
            let found = rd::rd_kafka_message_headers(self.message, &mut headers);
            if found != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                return None;
            }
            let found = rd::rd_kafka_header_get_last(headers, name.as_ptr(), &mut value, &mut size);
            (found == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| bytes(value, size)).flatten()
        }
    }
}

/// SAFETY: `start` is null or points to `size` bytes that live for `'a`.
unsafe fn bytes<'a>(start: *const c_void, size: usize) -> Option<&'a [u8]> {
    // SAFETY: by contract of this function.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start.cast::<u8>(), size) })
}

/// The records of one topic.
pub(super) struct RecordQueue<Context: ConsumerContext + 'static> {
    topic: CString,
    queue: *mut rd::rd_kafka_queue_t,
    forwarded: Vec<*mut rd::rd_kafka_queue_t>,
    // Both are kept alive for the queue: the client that owns it, and what its call-back points to.
    consumer: Arc<BaseConsumer<Context>>,
    _wake: Arc<Wake>,
}

// SAFETY: librdkafka's queues may be used from any thread.
unsafe impl<Context: ConsumerContext + 'static> Send for RecordQueue<Context> {}

unsafe extern "C" fn wake_up(_client: *mut rd::rd_kafka_t, wake: *mut c_void) {
    // SAFETY: the queue disables this call-back before it lets go of the `Wake`.
    unsafe { &*wake.cast_const().cast::<Wake>() }.notify();
}

/// A message that was taken from a queue.
struct Taken(*mut rd::rd_kafka_message_t);

impl Drop for Taken {
    fn drop(&mut self) {
        // SAFETY: the message is ours since it was taken, and nothing borrows from it any more.
        unsafe { rd::rd_kafka_message_destroy(self.0) };
    }
}

impl<Context: ConsumerContext + 'static> RecordQueue<Context> {
    /// Directs all partitions of `topic` to a new queue. To be called before they are assigned, so that no record takes the
    /// way to the consumer's own queue.
    pub(super) fn new(
        consumer: Arc<BaseConsumer<Context>>,
        topic: &str,
        n_partitions: i32,
        wake: Arc<Wake>,
    ) -> Result<Self, SourceError> {
        let topic = CString::new(topic).map_err(|_| {
            SourceError::Configuration(format!("topic name `{}` holds a null byte", topic.escape_debug()))
        })?;
        let client = consumer.client().native_ptr();
        // SAFETY: the client lives as long as the queues do, see `Drop`.
        let queue = unsafe {
            let queue = rd::rd_kafka_queue_new(client);
            let opaque = Arc::as_ptr(&wake).cast_mut().cast::<c_void>();
            rd::rd_kafka_queue_cb_event_enable(queue, Some(wake_up), opaque);
            queue
        };
        let mut made = Self { topic, queue, forwarded: Vec::new(), consumer, _wake: wake };
        made.extend(n_partitions);
        made.forward();
        Ok(made)
    }

    /// Takes partitions in that were added to the topic, up to `n_partitions`; to be forwarded before they are assigned.
    pub(super) fn extend(&mut self, n_partitions: i32) {
        let client = self.consumer.client().native_ptr();
        for partition in self.forwarded.len() as i32..n_partitions {
            // SAFETY: the client lives as long as the queues do, see `Drop`.
            let queue = unsafe { rd::rd_kafka_queue_get_partition(client, self.topic.as_ptr(), partition) };
            if queue.is_null() {
                break;
            }
            self.forwarded.push(queue);
        }
    }

    /// Directs the partitions to this queue again. Librdkafka forgets the way whenever it stops fetching a partition, so this
    /// must be called before every assignment that follows a revocation.
    pub(super) fn forward(&self) {
        for partition in &self.forwarded {
            // SAFETY: both queues are ours until `Drop`.
            unsafe { rd::rd_kafka_queue_forward(*partition, self.queue) };
        }
    }

    /// Hands over what has arrived, at most `max` arrivals, without waiting, until one cannot be handled. Returns how many
    /// there were.
    pub(super) fn take(
        &mut self,
        max: usize,
        mut handle: impl FnMut(Arrival<'_>) -> Result<(), SourceError>,
    ) -> Result<usize, SourceError> {
        for n in 0..max.min(BATCH_RECORDS) {
            // SAFETY: the queue is ours until `Drop`.
            let message = unsafe { rd::rd_kafka_consume_queue(self.queue, 0) };
            if message.is_null() {
                return Ok(n);
            }
            let message = Taken(message);
            // SAFETY: a message that is not null is complete; nothing borrowed from it outlives `handle`.
            handle(unsafe { arrival(&*message.0) })?;
        }
        Ok(max.min(BATCH_RECORDS))
    }

    /// How many records wait in the queue.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        // SAFETY: the queue is ours until `Drop`.
        unsafe { rd::rd_kafka_queue_length(self.queue) }
    }

    /// The partition's high watermark as the last fetch told it.
    pub(super) fn high_watermark(&self, partition: i32) -> Option<i64> {
        let (mut low, mut high) = (-1, -1);
        let client = self.consumer.client().native_ptr();
        // SAFETY: reads two numbers from a client that is alive.
        let found =
            unsafe { rd::rd_kafka_get_watermark_offsets(client, self.topic.as_ptr(), partition, &mut low, &mut high) };
        (found == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
    }
}

impl<Context: ConsumerContext + 'static> Drop for RecordQueue<Context> {
    fn drop(&mut self) {
        // SAFETY: the queues were made by the client that `consumer` keeps alive. The call-back goes first, so that no thread
        // of the client touches `_wake` afterwards.
        unsafe {
            rd::rd_kafka_queue_cb_event_enable(self.queue, None, std::ptr::null_mut());
            for queue in self.forwarded.drain(..) {
                rd::rd_kafka_queue_forward(queue, std::ptr::null_mut());
                rd::rd_kafka_queue_destroy(queue);
            }
            rd::rd_kafka_queue_destroy(self.queue);
        }
    }
}

/// SAFETY: `message` must be a complete message of librdkafka.
unsafe fn arrival(message: &rd::rd_kafka_message_t) -> Arrival<'_> {
    let (partition, offset) = (message.partition, message.offset);
    match message.err {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => {
            let mut kind = rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
            // SAFETY: key and payload are null or point to that many bytes of the message.
            unsafe {
                let timestamp = rd::rd_kafka_message_timestamp(message, &mut kind);
                Arrival::Record(Record {
                    partition,
                    offset,
                    timestamp_ms: (timestamp >= 0).then_some(timestamp),
                    key: bytes(message.key, message.key_len),
                    value: bytes(message.payload, message.len),
                    message,
                })
            }
        }
        RDKafkaRespErr::RD_KAFKA_RESP_ERR__PARTITION_EOF => Arrival::End { partition, offset },
        code => {
            // SAFETY: the text of an error lies in its payload.
            let text = unsafe { bytes(message.payload, message.len) }.map(String::from_utf8_lossy);
            let code = RDKafkaErrorCode::from(code);
            let text = text.map_or_else(|| code.to_string(), |t| t.into_owned());
            Arrival::Failure { partition, code, text }
        }
    }
}
