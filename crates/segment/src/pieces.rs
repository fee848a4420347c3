//! Fetched parts of a segment, addressed by their place in the file.

use std::ops::Range;

use bytes::Bytes;
use bytes::buf::{Buf as _, Reader};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use crate::Error;

/// Parts of a file, each with the offset of its first byte, in any order.
#[derive(Debug, Default)]
pub(crate) struct Pieces(Vec<(u64, Bytes)>);

impl Pieces {
    /// Adds the bytes at `start`.
    pub(crate) fn push(&mut self, start: u64, bytes: Bytes) {
        self.0.push((start, bytes));
    }

    /// The bytes of `range`, shared; they must lie in one piece.
    pub(crate) fn slice(&self, range: &Range<u64>) -> Result<Bytes, Error> {
        let whole = self.from(range.start).filter(|_| range.start <= range.end);
        let len = usize::try_from(range.end.saturating_sub(range.start)).ok();
        match (whole, len) {
            (Some(bytes), Some(len)) if len <= bytes.len() => Ok(bytes.slice(..len)),
            _ => Err(Error::corrupt(format!("bytes {} to {} are not in the file", range.start, range.end))),
        }
    }

    /// What there is from `start` to the end of its piece.
    fn from(&self, start: u64) -> Option<Bytes> {
        self.0.iter().find_map(|(at, bytes)| {
            let skip = usize::try_from(start.checked_sub(*at)?).ok()?;
            (skip < bytes.len()).then(|| bytes.slice(skip..))
        })
    }
}

fn absent(start: u64) -> ParquetError {
    ParquetError::EOF(format!("byte {start} was not fetched"))
}

impl Length for Pieces {
    fn len(&self) -> u64 {
        self.0.iter().map(|(at, bytes)| at + bytes.len() as u64).max().unwrap_or(0)
    }
}

impl ChunkReader for Pieces {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(self.from(start).ok_or_else(|| absent(start))?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        if length == 0 {
            return Ok(Bytes::new());
        }
        let bytes = self.from(start).filter(|bytes| length <= bytes.len()).ok_or_else(|| absent(start))?;
        Ok(bytes.slice(..length))
    }
}
