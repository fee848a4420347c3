//! Batches with their append time, and the byte form of a run of them that the cache keeps.

use bytes::{BufMut, Bytes, BytesMut};
use runnel_format::codec::Reader;
use runnel_record::{Batch, HEADER_LEN, TimestampMs};

use crate::Error;

/// A batch as the leader appended it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceBatch {
    /// The batch, its base offset and leader epoch assigned.
    pub batch: Batch,
    /// When the leader appended it; never falling within a partition.
    pub append_time: TimestampMs,
}

/// Append time and length of the body, in front of each batch.
pub(crate) const PREFIX: usize = 12;

/// What stands there.
pub(crate) fn prefix(append_time: TimestampMs, body_len: usize) -> [u8; PREFIX] {
    let mut prefix = [0; PREFIX];
    prefix[..8].copy_from_slice(&append_time.0.to_le_bytes());
    // A body is under 2 GiB: its length stands in an i32 on the wire.
    prefix[8..].copy_from_slice(&u32::try_from(body_len).unwrap_or(u32::MAX).to_le_bytes());
    prefix
}

/// One buffer for a run: per batch `append time (i64, little-endian) | length of the body (u32, little-endian) | batch
/// header | body`; a reader rebuilds a run in it. Not a stored format: a cache that outlives a release must not read the bytes of another.
pub fn encode_run(batches: &[SourceBatch]) -> Bytes {
    let bytes = batches.iter().map(|b| PREFIX + b.batch.len()).sum();
    let mut out = BytesMut::with_capacity(bytes);
    for source in batches {
        out.put_slice(&prefix(source.append_time, source.batch.body().len()));
        source.batch.write_to(&mut out);
    }
    out.freeze()
}

/// The batches of [`encode_run`]; their bodies share `bytes`. An error means the bytes are damaged.
pub fn decode_run(bytes: &Bytes) -> Result<Vec<SourceBatch>, Error> {
    read_run(bytes).map_err(|e| Error::corrupt(e.to_string()))
}

fn read_run(bytes: &Bytes) -> Result<Vec<SourceBatch>, runnel_format::Error> {
    let mut r = Reader::new("run", bytes);
    let mut batches = Vec::new();
    while r.remaining() > 0 {
        let append_time = TimestampMs(r.i64()?);
        let body_len = r.u32()? as usize;
        let whole = bytes.slice_ref(r.raw(HEADER_LEN.saturating_add(body_len))?);
        match Batch::parse(whole) {
            Ok((batch, rest)) if rest.is_empty() => batches.push(SourceBatch { batch, append_time }),
            Ok(_) => return Err(runnel_format::Error::Corrupt { what: "run", reason: "a batch of another length" }),
            Err(_) => return Err(runnel_format::Error::Corrupt { what: "run", reason: "not a batch" }),
        }
    }
    Ok(batches)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::{Record, log};

    #[test]
    fn a_cached_run_is_read_without_copying() {
        let batches = log(3, &[vec![Record::of("a"), Record::of("b")], vec![Record::of("c")]]);
        let bytes = encode_run(&batches);
        let found = decode_run(&bytes).unwrap();
        assert_eq!(found, batches);
        assert!(found.iter().all(|b| bytes.as_ptr_range().contains(&b.batch.body().as_ptr())));
        assert_eq!(decode_run(&Bytes::new()).unwrap(), []);
    }

    #[test]
    fn a_damaged_run_is_refused() {
        let batches = log(3, &[vec![Record::of("a")], vec![Record::of("b")]]);
        let bytes = encode_run(&batches);
        let whole = bytes.len() / 2;
        for cut in (1..bytes.len()).filter(|cut| *cut != whole) {
            assert!(decode_run(&bytes.slice(..cut)).is_err(), "cut at {cut}");
        }
        for at in PREFIX + 8..PREFIX + 12 {
            let mut changed = bytes.to_vec();
            changed[at] ^= 1;
            assert!(decode_run(&changed.into()).is_err(), "another length at {at}");
        }
    }
}
