//! Records as clients send them, as record batches.

use bytes::{Bytes, BytesMut};
use runnel_proto::record::v1::{Compression, Record};
use runnel_record::{BatchBuilder, BatchFields, Codec, ErrorKind, TimestampMs, partition_for_key};
use tonic::Code;

use crate::error::{Failure, MESSAGE_TOO_LARGE};

/// Batches larger than this are compressed off the async threads.
pub(crate) const LARGE: usize = 64 << 10;

/// Which records of a request go to which partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) partition: i32,
    /// Positions in the request, in order. Empty means all of them.
    pub(crate) records: Vec<u32>,
}

/// Routes each record by its key, and what has no key to `keyless`. Partitions in the order in which they first occur.
pub(crate) fn route(records: &[Record], partitions: i32, keyless: i32) -> Vec<Share> {
    let mut shares: Vec<Share> = Vec::new();
    let mut place = std::collections::BTreeMap::new();
    for (index, record) in (0..).zip(records) {
        let partition = record.key.as_deref().map_or(keyless, |key| partition_for_key(key, partitions));
        let at = *place.entry(partition).or_insert_with(|| {
            shares.push(Share { partition, records: Vec::new() });
            shares.len() - 1
        });
        shares[at].records.push(index);
    }
    if let [only] = shares.as_mut_slice() {
        only.records.clear();
    }
    shares
}

/// The codec of a batch.
pub(crate) const fn codec(compression: Compression) -> Codec {
    match compression {
        Compression::Unspecified | Compression::None => Codec::None,
        Compression::Gzip => Codec::Gzip,
        Compression::Snappy => Codec::Snappy,
        Compression::Lz4 => Codec::Lz4,
        Compression::Zstd => Codec::Zstd,
    }
}

/// One RecordBatch v2 of the records of `share`; those without a timestamp get `now`.
pub(crate) fn build(
    records: &[Record],
    share: &Share,
    fields: BatchFields,
    codec: Codec,
    now: TimestampMs,
) -> Result<Bytes, Failure> {
    let every = share.records.is_empty();
    let mut chosen = share.records.iter().filter_map(|index| records.get(usize::try_from(*index).ok()?));
    let mut all = records.iter();
    let mut next = move || if every { all.next() } else { chosen.next() };
    let Some(first) = next() else { return Err(Failure::invalid("there are no records")) };
    let base = first.timestamp_ms.unwrap_or(now.0);
    let mut builder = BatchBuilder::new(BatchFields { base_timestamp: TimestampMs(base), ..fields });
    let mut record = Some(first);
    while let Some(Record { key, value, headers, timestamp_ms }) = record {
        let at = builder.record_count();
        let Some(delta) = timestamp_ms.unwrap_or(now.0).checked_sub(base) else {
            let why = format!("the timestamp of record {at} is too far from that of the first");
            return Err(Failure::new(Code::InvalidArgument, "INVALID_TIMESTAMP", why));
        };
        let headers = headers.iter().map(|header| (header.key.as_bytes(), header.value.as_deref()));
        builder.push(at, delta, key.as_deref(), value.as_deref(), headers).map_err(|e| refused(&e))?;
        record = next();
    }
    let batch = builder.build(codec).map_err(|e| refused(&e))?;
    let mut bytes = BytesMut::with_capacity(batch.len());
    batch.write_to(&mut bytes);
    Ok(bytes.freeze())
}

/// Bytes of keys, values and headers.
pub(crate) fn payload(records: &[Record]) -> usize {
    let len = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let headers =
        |record: &Record| record.headers.iter().map(|header| header.key.len() + len(&header.value)).sum::<usize>();
    records.iter().map(|record| len(&record.key) + len(&record.value) + headers(record)).sum()
}

/// The builder refuses what no broker would take.
fn refused(error: &runnel_record::Error) -> Failure {
    let reason = match error.kind() {
        ErrorKind::InvalidTimestamp => "INVALID_TIMESTAMP",
        ErrorKind::TooLarge => MESSAGE_TOO_LARGE,
        ErrorKind::Corrupt | ErrorKind::Invalid | ErrorKind::UnsupportedFormat => "INVALID_RECORD",
    };
    Failure::new(Code::InvalidArgument, reason, error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use runnel_record::Batch;

    use super::*;

    fn record(key: Option<&'static str>, timestamp_ms: Option<i64>) -> Record {
        let key = key.map(|key| Bytes::from_static(key.as_bytes()));
        Record { key, timestamp_ms, ..Record::default() }
    }

    #[test]
    fn keys_decide_and_the_rest_stays_together() {
        let records: Vec<_> = [Some("abcde"), None, Some("21"), None, Some("abcde")].map(|k| record(k, None)).into();
        let shares = route(&records, 6, 4);
        let share = |partition, records: &[u32]| Share { partition, records: records.to_vec() };
        assert_eq!(shares, [share(1, &[0, 4]), share(4, &[1, 3]), share(0, &[2])]);
        assert_eq!(route(&records, 1, 0), [share(0, &[])], "one partition gets all of them");
    }

    #[test]
    fn timestamps_are_those_given_or_now() {
        let records = [record(None, Some(50)), record(None, None), record(None, Some(-1)), record(None, Some(20))];
        let share = Share { partition: 0, records: vec![0, 1, 3] };
        let bytes = build(&records, &share, BatchFields::default(), Codec::Zstd, TimestampMs(1000)).unwrap();
        let (batch, rest) = Batch::parse(bytes).unwrap();
        batch.verify_crc().unwrap();
        let body = batch.inflate(1 << 20).unwrap();
        let deltas: Vec<_> = body.records().map(|r| r.unwrap().timestamp_delta).collect();
        assert_eq!((deltas, rest.len()), (vec![0, 950, -30], 0));
        assert_eq!((batch.base_timestamp(), batch.max_timestamp()), (TimestampMs(50), TimestampMs(1000)));
    }

    #[test]
    fn what_cannot_be_a_batch_has_a_reason() {
        let whole = Share { partition: 0, records: Vec::new() };
        let build = |records: &[Record]| build(records, &whole, BatchFields::default(), Codec::None, TimestampMs(0));
        assert_eq!(build(&[]).unwrap_err().reason, "INVALID_REQUEST");
        let far = [record(None, Some(i64::MIN)), record(None, Some(i64::MAX))];
        assert_eq!(build(&far).unwrap_err().reason, "INVALID_TIMESTAMP");
    }
}
