//! Reads a batch from an Arrow IPC stream of which nothing is known but its bytes.
//!
//! Arrow's reader believes the lengths that a stream names, and asks for as much memory at once: a few forged bytes would end the
//! program. So every length is compared with what is there first. What the reader cannot bear beyond that is an error too.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::ipc::reader::StreamReader;
use arrow::ipc::{MessageHeader, root_as_message};
use arrow::record_batch::RecordBatch;

use super::delta::DeltaError;

/// What stands before a message since Arrow 0.15.
const CONTINUATION: [u8; 4] = [0xff; 4];
/// LZ4 makes at most so many bytes of one.
const EXPANSION_MAX: u64 = 255;
/// And so many more of the end of a block.
const EXPANSION_REST: u64 = 64 * 1024;

/// The first batch of a stream; none if it has none.
pub(super) fn read_batch(bytes: &[u8]) -> Result<Option<RecordBatch>, DeltaError> {
    check(bytes)?;
    let read = || StreamReader::try_new(Cursor::new(bytes), None)?.next().transpose();
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(batch) => Ok(batch?),
        Err(_) => Err(DeltaError::Corrupted("its batch cannot be read")),
    }
}

/// Compares all lengths with what is there.
fn check(bytes: &[u8]) -> Result<(), DeltaError> {
    let cut_short = || DeltaError::Corrupted("its batch is cut short");
    let mut rest = bytes;
    loop {
        let Some((mut word, mut tail)) = rest.split_first_chunk::<4>() else {
            // A stream may end without saying so.
            return if rest.is_empty() { Ok(()) } else { Err(cut_short()) };
        };
        if *word == CONTINUATION {
            (word, tail) = tail.split_first_chunk::<4>().ok_or_else(cut_short)?;
        }
        let len = u32::from_le_bytes(*word) as usize;
        if len == 0 {
            return Ok(());
        }
        let (head, tail) = tail.split_at_checked(len).ok_or_else(cut_short)?;
        let message = root_as_message(head).map_err(|_| DeltaError::Corrupted("its batch has a broken message"))?;
        let len = usize::try_from(message.bodyLength()).map_err(|_| cut_short())?;
        let (body, tail) = tail.split_at_checked(len).ok_or_else(cut_short)?;
        let of_dictionary = || message.header_as_dictionary_batch().and_then(|d| d.data());
        let batch = match message.header_type() {
            MessageHeader::RecordBatch => message.header_as_record_batch(),
            MessageHeader::DictionaryBatch => of_dictionary(),
            _ => None,
        };
        if let Some(batch) = batch {
            check_buffers(&batch, body)?;
        }
        rest = tail;
    }
}

/// Checks that buffers lie in the body, and that compressed ones do not claim to hold more than they can.
fn check_buffers(batch: &arrow::ipc::RecordBatch<'_>, body: &[u8]) -> Result<(), DeltaError> {
    let outside = || DeltaError::Corrupted("a buffer of its batch lies outside of it");
    for buffer in batch.buffers().into_iter().flatten() {
        let (start, len) = (usize::try_from(buffer.offset()), usize::try_from(buffer.length()));
        let (Ok(start), Ok(len)) = (start, len) else { return Err(outside()) };
        let bytes = start.checked_add(len).and_then(|end| body.get(start..end)).ok_or_else(outside)?;
        if batch.compression().is_none() {
            continue;
        }
        // A length of -1 says that the buffer is not compressed after all.
        let claimed = bytes.first_chunk::<8>().map_or(0, |n| i64::from_le_bytes(*n)).max(0).unsigned_abs();
        if claimed > (len as u64).saturating_mul(EXPANSION_MAX).saturating_add(EXPANSION_REST) {
            return Err(DeltaError::Corrupted("a buffer of its batch claims to hold more than it can"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, NullArray, StringArray};
    use arrow::ipc::CompressionType;
    use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
    use proptest::prelude::*;

    use super::*;

    fn stream(compression: Option<CompressionType>) -> (RecordBatch, Vec<u8>) {
        let text: StringArray = (0..300).map(|n| Some(format!("row {}", n % 3))).collect();
        let batch = RecordBatch::try_from_iter([
            ("n", Arc::new(Int64Array::from_iter(0..300)) as _),
            ("text", Arc::new(text) as _),
            ("none", Arc::new(NullArray::new(300)) as _),
        ]);
        let batch = batch.unwrap();
        let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options).unwrap();
        writer.write(&batch).unwrap();
        (batch, writer.into_inner().unwrap())
    }

    #[test]
    fn what_was_written_is_read_compressed_or_not_and_with_as_many_rows_as_one_likes() {
        for compression in [None, Some(CompressionType::LZ4_FRAME)] {
            let (batch, bytes) = stream(compression);
            assert_eq!(read_batch(&bytes).unwrap(), Some(batch));
        }
        let zeros = Arc::new(Int64Array::from(vec![0; 1_000_000])) as _;
        let batch = RecordBatch::try_from_iter([("n", zeros)]).unwrap();
        let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME)).unwrap();
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options).unwrap();
        writer.write(&batch).unwrap();
        assert_eq!(read_batch(&writer.into_inner().unwrap()).unwrap(), Some(batch));
    }

    #[test]
    fn a_body_that_claims_a_petabyte_is_an_error() {
        let found = include_bytes!("../../tests/fuzz/corpus/delta/body_of_a_petabyte");
        let header = u32::from_le_bytes(*found.first_chunk().unwrap()) as usize;
        assert!(read_batch(&found[4 + header..]).is_err());
    }

    proptest! {
        #[test]
        fn any_damage_is_an_error_or_another_batch_but_never_an_end(
            compressed in any::<bool>(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<[u8; 8]>(), 1usize..=8), 1..4),
        ) {
            let (_, mut bytes) = stream(compressed.then_some(CompressionType::LZ4_FRAME));
            for (at, with, n) in changes {
                let at = at.index(bytes.len());
                bytes.iter_mut().skip(at).zip(&with[..n]).for_each(|(to, from)| *to = *from);
            }
            let _ = read_batch(&bytes);
        }
    }
}
