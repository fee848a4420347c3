//! Record batches as the broker hands them over, as records for the wire. Keys and values stay slices of the batch.

use bytes::Bytes;
use prost::Message;
use runnel_proto::record::v1::{Header, StoredRecord, TimestampType};
use runnel_record::{Batch, Body, Codec, Mark, RecordRef};
use tonic::Code;

use crate::append::off_thread;
use crate::batches::LARGE;
use crate::error::Failure;

/// A batch inflates to this at most: what the broker let in.
const MAX_INFLATED: usize = 128 << 20;

/// A batch whose records can be walked.
#[derive(Debug)]
pub(crate) struct Unpacked {
    batch: Batch,
    body: Option<Body>,
}

/// Decompresses a batch, off the async threads if that takes time.
pub(crate) async fn unpack(batch: Batch) -> Result<Unpacked, Failure> {
    let plain = batch.codec().is_ok_and(|codec| codec == Codec::None);
    if plain || batch.len() < LARGE { inflate(batch) } else { off_thread(move || inflate(batch)).await }
}

fn inflate(batch: Batch) -> Result<Unpacked, Failure> {
    // Control batches hold markers, not records.
    let body = if batch.is_control() { None } else { Some(batch.inflate(MAX_INFLATED).map_err(|e| damaged(&e))?) };
    Ok(Unpacked { batch, body })
}

fn damaged(error: &runnel_record::Error) -> Failure {
    Failure::new(Code::DataLoss, "CORRUPT", format!("a stored batch cannot be read: {error}"))
}

impl Unpacked {
    /// The offset after the last of the batch.
    pub(crate) fn next_offset(&self) -> i64 {
        self.batch.next_offset().0
    }

    /// Memory that it holds.
    pub(crate) fn held(&self) -> usize {
        self.body.as_ref().map_or(0, |body| body.bytes().len())
    }

    /// The next record at or after `from`, and where to go on; `None` at the end.
    pub(crate) fn next(&self, mark: Mark, from: i64) -> Result<Option<(StoredRecord, Mark)>, Failure> {
        let Some(body) = &self.body else { return Ok(None) };
        let mut walk = body.resume(mark);
        while let Some(record) = walk.next() {
            let record = record.map_err(|e| damaged(&e))?;
            let offset = self.batch.base_offset().0 + i64::from(record.offset_delta);
            if offset >= from {
                return Ok(Some((self.stored(body, &record, offset)?, body.mark(&walk))));
            }
        }
        Ok(None)
    }

    fn stored(&self, body: &Body, record: &RecordRef<'_>, offset: i64) -> Result<StoredRecord, Failure> {
        let share = |slice: Option<&[u8]>| slice.map(|slice| body.bytes().slice_ref(slice));
        // With log-append time every record has the batch's time, whatever its delta says.
        let (timestamp_ms, kind) = if self.batch.is_log_append_time() {
            (self.batch.max_timestamp().0, TimestampType::Append)
        } else {
            (self.batch.base_timestamp().0.saturating_add(record.timestamp_delta), TimestampType::Create)
        };
        let mut headers = Vec::new();
        for header in record.headers {
            let header = header.map_err(|e| damaged(&e))?;
            // Kafka's header keys are text; what is not is shown as well as text can.
            let key = String::from_utf8_lossy(header.key).into_owned();
            headers.push(Header { key, value: share(header.value) });
        }
        Ok(StoredRecord {
            offset,
            timestamp_ms,
            timestamp_type: kind.into(),
            key: share(record.key),
            value: share(record.value),
            headers,
        })
    }
}

/// Bytes of keys, values and headers: what credits count.
pub(crate) fn payload(record: &StoredRecord) -> u64 {
    let len = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let headers: usize = record.headers.iter().map(|header| header.key.len() + len(&header.value)).sum();
    u64::try_from(len(&record.key) + len(&record.value) + headers).unwrap_or(u64::MAX)
}

/// Bytes that a record adds to the message that it is in.
pub(crate) fn framed_len(record: &StoredRecord) -> usize {
    let len = record.encoded_len();
    // The tag of a field below 16 is one byte.
    1 + prost::length_delimiter_len(len) + len
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use runnel_record::{LeaderEpoch, Offset, TimestampMs};
    use runnel_testkit::{BatchSpec, batch};

    use super::*;

    async fn unpacked(spec: &BatchSpec<'_>) -> (Unpacked, Batch) {
        let (mut batch, _) = Batch::parse(batch(spec)).unwrap();
        batch.assign(Offset(100), LeaderEpoch(1));
        (unpack(batch.clone()).await.unwrap(), batch)
    }

    #[tokio::test]
    async fn a_walk_begins_in_the_middle_and_goes_on_where_it_stopped() {
        let records: Vec<_> = (0..5).map(|_| (Some(&b"key"[..]), None)).collect();
        let (unpacked, _) = unpacked(&BatchSpec { records: &records, ..BatchSpec::default() }).await;
        let (third, mark) = unpacked.next(Mark::default(), 102).unwrap().unwrap();
        assert_eq!((third.offset, third.key.as_deref(), third.value), (102, Some(&b"key"[..]), None));
        assert_eq!(unpacked.next(mark, 102).unwrap().unwrap().0.offset, 103);
        assert!(unpacked.next(mark, 105).unwrap().is_none());
        assert_eq!(unpacked.next_offset(), 105);
    }

    #[tokio::test]
    async fn keys_and_values_are_not_copied() {
        let records = [(None, Some(&b"a value that is long enough to be noticed"[..]))];
        let (unpacked, batch) = unpacked(&BatchSpec { records: &records, ..BatchSpec::default() }).await;
        let (record, _) = unpacked.next(Mark::default(), 0).unwrap().unwrap();
        assert!(batch.body().as_ptr_range().contains(&record.value.unwrap().as_ptr()));
    }

    #[tokio::test]
    async fn append_time_is_that_of_the_batch() {
        let (_, mut batch) = unpacked(&BatchSpec::default()).await;
        batch.set_log_append_time(TimestampMs(77));
        let (record, _) = unpack(batch).await.unwrap().next(Mark::default(), 0).unwrap().unwrap();
        assert_eq!((record.timestamp_ms, record.timestamp_type()), (77, TimestampType::Append));
    }
}
