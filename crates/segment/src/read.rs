//! One run, from its encoded bytes back to batches, which lie one behind the other.

mod pages;
mod rebuild;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{ByteArrayType, DataType, Int32Type, Int64Type};
use parquet::errors::ParquetError;

use crate::Error;
use crate::columns::{Columns, Leaf};
use crate::footer::Footer;
use crate::pieces::Pieces;
use crate::schema::leaf;
use pages::{Pages, Unpacker};

/// Checks and decodes a run; `pieces` hold its ranges (see [`Footer::ranges`]). The result is in the form of
/// [`encode_run`](crate::encode_run).
pub(crate) fn read_run(footer: &Footer, run: u32, pieces: impl Into<Arc<Pieces>>) -> Result<Bytes, Error> {
    let pieces = pieces.into();
    let ranges = footer.ranges(run)?;
    check_crc(footer, run, &ranges, &pieces)?;
    decode(footer, run, ranges, pieces)
}

/// Decodes a run whose bytes were checked.
pub(crate) fn decode(
    footer: &Footer,
    run: u32,
    ranges: Vec<Range<u64>>,
    pieces: impl Into<Arc<Pieces>>,
) -> Result<Bytes, Error> {
    let (found, group, _) = footer.run(run)?;
    let (rows, pieces) = (found.records as usize, pieces.into());
    let decoder = Decoder { footer, group, rows, ranges, pieces, unpacker: Unpacker::default() };
    rebuild::run(&decoder.columns()?, found, &footer.exceptions)
}

/// Nothing is decoded before every encoded byte of the run is known to be as written.
fn check_crc(footer: &Footer, run: u32, ranges: &[Range<u64>], pieces: &Pieces) -> Result<(), Error> {
    let mut sorted = ranges.to_vec();
    sorted.sort_by_key(|range| range.start);
    let mut crc32c = 0;
    for range in &sorted {
        crc32c = crc32c::crc32c_append(crc32c, &pieces.slice(range)?);
    }
    if crc32c == footer.run(run)?.0.crc32c {
        Ok(())
    } else {
        Err(Error::corrupt(format!("CRC mismatch in run {run} of the segment at offset {}", footer.keys.base)))
    }
}

struct Decoder<'a> {
    footer: &'a Footer,
    group: usize,
    rows: usize,
    /// By leaf.
    ranges: Vec<Range<u64>>,
    pieces: Arc<Pieces>,
    unpacker: Unpacker,
}

impl Decoder<'_> {
    /// The columns that batches are rebuilt from; those derived from others stay empty.
    fn columns(&self) -> Result<Columns, Error> {
        Ok(Columns {
            offset: self.leaf::<Int64Type>(leaf::OFFSET)?,
            timestamp: self.leaf::<Int64Type>(leaf::TIMESTAMP)?,
            append_time: self.leaf::<Int64Type>(leaf::APPEND_TIME)?,
            key: self.leaf::<ByteArrayType>(leaf::KEY)?,
            value: self.leaf::<ByteArrayType>(leaf::VALUE)?,
            header_key: self.leaf::<ByteArrayType>(leaf::HEADER_KEY)?,
            header_value: self.leaf::<ByteArrayType>(leaf::HEADER_VALUE)?,
            leader_epoch: self.leaf::<Int32Type>(leaf::LEADER_EPOCH)?,
            producer_id: self.leaf::<Int64Type>(leaf::PRODUCER_ID)?,
            producer_epoch: self.leaf::<Int32Type>(leaf::PRODUCER_EPOCH)?,
            sequence: self.leaf::<Int32Type>(leaf::SEQUENCE)?,
            attributes: self.leaf::<Int32Type>(leaf::ATTRIBUTES)?,
            batch_base_offset: self.leaf::<Int64Type>(leaf::BATCH_BASE_OFFSET)?,
            ..Columns::default()
        })
    }

    fn leaf<D: DataType>(&self, leaf: usize) -> Result<Leaf<D::T>, Error> {
        self.try_leaf::<D>(leaf).map_err(|e| Error::corrupt(format!("leaf column {leaf}: {e}")))
    }

    fn try_leaf<D: DataType>(&self, leaf: usize) -> Result<Leaf<D::T>, ParquetError> {
        let chunk = self.footer.metadata.row_group(self.group).column(leaf);
        let pages = Pages::new(&self.pieces, chunk, &self.ranges[leaf], self.rows, &self.unpacker)?;
        let mut reader = ColumnReaderImpl::<D>::new(chunk.column_descr_ptr(), Box::new(pages));
        let mut column = Leaf::default();
        let Leaf { values, definition, repetition } = &mut column;
        let (rows, ..) = reader.read_records(self.rows, Some(definition), Some(repetition), values)?;
        if rows == self.rows { Ok(column) } else { Err(ParquetError::EOF(format!("{rows} of {} rows", self.rows))) }
    }
}

#[cfg(test)]
mod tests;
