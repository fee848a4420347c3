//! The run table: the footer key `runnel.runs`.
//!
//! Bytes (little-endian, base64 in the footer): `count (u32)`, then per run `records (u32) | next offset (i64) | bytes
//! of its batches (u64) | CRC-32C of its encoded bytes (u32)`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use runnel_format::codec::{Reader, Writer};
use runnel_record::Offset;

use super::Keys;
use crate::Error;

const RUN_LEN: usize = 24;

/// Consecutive whole batches of a segment, about 1 MiB: what is fetched, checked, decoded and cached at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Run {
    /// Its number, from 0.
    pub index: u32,
    /// First offset.
    pub base: Offset,
    /// Offset after the last.
    pub next: Offset,
    /// Records held, at least one.
    pub records: u32,
    /// About how many bytes its batches take when rebuilt: a hint, not a promise.
    pub bytes: u64,
    /// CRC-32C of its encoded bytes, in the order of the file.
    pub(crate) crc32c: u32,
}

/// The runs as they are stored.
#[derive(Debug, Default)]
pub(crate) struct RunTable(Vec<(u32, Offset, u64, u32)>);

impl RunTable {
    /// Appends a run.
    pub(crate) fn push(&mut self, records: u32, next: Offset, bytes: u64, crc32c: u32) {
        self.0.push((records, next, bytes, crc32c));
    }

    /// The footer entry.
    pub(super) fn encode(&self) -> String {
        let mut w = Writer::default();
        w.u32(u32::try_from(self.0.len()).unwrap_or(u32::MAX));
        for (records, next, bytes, crc32c) in &self.0 {
            w.u32(*records).i64(next.0).u64(*bytes).u32(*crc32c);
        }
        STANDARD.encode(&w.0)
    }

    /// Reads the footer entry.
    pub(super) fn decode(entry: &str) -> Result<Self, Error> {
        let raw = STANDARD.decode(entry).map_err(|e| Error::corrupt(format!("runnel.runs: {e}")))?;
        Self::read(&raw).map_err(|e| Error::corrupt(e.to_string()))
    }

    fn read(raw: &[u8]) -> Result<Self, runnel_format::Error> {
        let mut r = Reader::new("runnel.runs", raw);
        let mut table = Self::default();
        for _ in 0..r.count(RUN_LEN)? {
            table.push(r.u32()?, Offset(r.i64()?), r.u64()?, r.u32()?);
        }
        r.finish()?;
        Ok(table)
    }

    /// The runs, checked against the range of the segment.
    pub(super) fn into_runs(self, keys: &Keys) -> Result<Vec<Run>, Error> {
        let mut base = keys.base;
        let mut runs = Vec::with_capacity(self.0.len());
        for (index, (records, next, bytes, crc32c)) in (0..).zip(self.0) {
            if next <= base || records == 0 {
                return Err(Error::corrupt("an empty run"));
            }
            runs.push(Run { index, base, next, records, bytes, crc32c });
            base = next;
        }
        if base != keys.next || runs.is_empty() {
            return Err(Error::corrupt("runs that do not end with the segment"));
        }
        Ok(runs)
    }
}
