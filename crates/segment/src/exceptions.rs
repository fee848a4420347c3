//! Facts that the columns cannot carry, kept in the footer key `runnel.exceptions`.
//!
//! Bytes (little-endian, base64 in the footer): `count (u32)`, then per batch `base offset (i64) | base timestamp
//! (i64) | max timestamp (i64) | base sequence (i32)`; `count (u32)`, then per header key that is not UTF-8 `offset
//! of the record (i64) | number of the header (u32) | length (u32) | bytes`.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use runnel_format::codec::{Reader, Writer};

use crate::Error;

/// Most characters of the footer entry, unless a single batch needs more.
pub(crate) const LIMIT: usize = 64 << 10;

const BATCH_LEN: usize = 28;
const KEY_LEN: usize = 16;

/// Header fields of a batch that do not follow from its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchFacts {
    pub(crate) base_timestamp: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) base_sequence: i32,
}

/// The exceptions of a segment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Exceptions {
    batches: BTreeMap<i64, BatchFacts>,
    header_keys: BTreeMap<(i64, u32), Bytes>,
    key_bytes: usize,
}

impl Exceptions {
    /// Notes the facts of the batch at `base`.
    pub(crate) fn add_batch(&mut self, base: i64, facts: BatchFacts) {
        self.batches.insert(base, facts);
    }

    /// Notes the bytes of a header key.
    pub(crate) fn add_header_key(&mut self, offset: i64, number: u32, key: Bytes) {
        self.key_bytes += key.len();
        self.header_keys.insert((offset, number), key);
    }

    /// Takes over what `other` holds.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.batches.append(&mut other.batches);
        self.header_keys.append(&mut other.header_keys);
        self.key_bytes += other.key_bytes;
    }

    /// The facts of the batch at `base`, if it is an exception.
    pub(crate) fn batch(&self, base: i64) -> Option<&BatchFacts> {
        self.batches.get(&base)
    }

    /// The bytes of a header key that is not UTF-8.
    pub(crate) fn header_key(&self, offset: i64, number: u32) -> Option<&Bytes> {
        if self.header_keys.is_empty() { None } else { self.header_keys.get(&(offset, number)) }
    }

    /// Whether there is nothing to keep.
    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty() && self.header_keys.is_empty()
    }

    /// Characters of the footer entry with `other` added.
    pub(crate) fn len_with(&self, other: &Self) -> usize {
        let batches = self.batches.len() + other.batches.len();
        let keys = self.header_keys.len() + other.header_keys.len();
        let raw = 8 + batches * BATCH_LEN + keys * KEY_LEN + self.key_bytes + other.key_bytes;
        raw.div_ceil(3) * 4
    }

    /// The footer entry.
    pub(crate) fn encode(&self) -> String {
        let mut w = Writer::default();
        w.u32(u32::try_from(self.batches.len()).unwrap_or(u32::MAX));
        for (base, facts) in &self.batches {
            w.i64(*base).i64(facts.base_timestamp).i64(facts.max_timestamp).i32(facts.base_sequence);
        }
        w.u32(u32::try_from(self.header_keys.len()).unwrap_or(u32::MAX));
        for ((offset, number), key) in &self.header_keys {
            w.i64(*offset).u32(*number).bytes(key);
        }
        STANDARD.encode(&w.0)
    }

    /// Reads the footer entry.
    pub(crate) fn decode(entry: &str) -> Result<Self, Error> {
        let raw = STANDARD.decode(entry).map_err(|e| Error::corrupt(format!("runnel.exceptions: {e}")))?;
        Self::read(&raw).map_err(|e| Error::corrupt(e.to_string()))
    }

    fn read(raw: &[u8]) -> Result<Self, runnel_format::Error> {
        let mut r = Reader::new("runnel.exceptions", raw);
        let mut found = Self::default();
        for _ in 0..r.count(BATCH_LEN)? {
            let base = r.i64()?;
            let facts = BatchFacts { base_timestamp: r.i64()?, max_timestamp: r.i64()?, base_sequence: r.i32()? };
            found.add_batch(base, facts);
        }
        for _ in 0..r.count(KEY_LEN)? {
            let (offset, number) = (r.i64()?, r.u32()?);
            found.add_header_key(offset, number, Bytes::copy_from_slice(r.bytes()?));
        }
        r.finish()?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn example() -> Exceptions {
        let mut e = Exceptions::default();
        e.add_batch(7, BatchFacts { base_timestamp: 5, max_timestamp: -1, base_sequence: -2 });
        e.add_header_key(9, 3, Bytes::from_static(&[0xff, 0]));
        e
    }

    #[test]
    fn entry_reads_back_and_has_the_announced_length() {
        let entry = example().encode();
        assert_eq!(entry.len(), Exceptions::default().len_with(&example()));
        assert_eq!(Exceptions::decode(&entry).unwrap(), example());
    }

    #[test]
    fn damaged_entries_are_refused() {
        let raw = STANDARD.decode(example().encode()).unwrap();
        for cut in 0..raw.len() {
            assert!(Exceptions::decode(&STANDARD.encode(&raw[..cut])).is_err(), "cut at {cut}");
        }
        assert!(Exceptions::decode("not base64!").is_err());
    }
}
