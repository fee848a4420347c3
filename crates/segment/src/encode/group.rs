//! The pages of one row group, each column in a buffer of its own.

use std::sync::Arc;

use bytes::Bytes;
use parquet::column::writer::{ColumnCloseResult, ColumnWriter, ColumnWriterImpl, get_column_writer};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};

use super::stage::{Staged, Stager};
use crate::Error;
use crate::columns::{Columns, Leaf};
use crate::schema::{leaf, schema};

/// A row group is closed after the run that makes it this large, encoded.
const GROUP_BYTES: u64 = 8 << 20;
/// Memory for the values of a row group is taken at once up to this: the last run may go past [`GROUP_BYTES`].
const VALUE_BYTES: usize = 9 << 20;
/// Bytes of plain values that a page is filled with; a larger value is a page of its own.
const PAGE_BYTES: usize = 64 << 10;
/// Most rows of a page.
const PAGE_ROWS: usize = 8192;

type Written = Result<(), ParquetError>;

/// A row group, encoded, its offsets counted from the start of each column.
pub(super) struct Group {
    /// By leaf.
    pub(super) columns: Vec<(Bytes, ColumnCloseResult)>,
    pub(super) runs: Vec<Staged>,
    pub(super) rows: i64,
}

/// Encodes runs until the row group is large enough; none when all batches are taken.
pub(super) fn encode(stager: &mut Stager<'_>, properties: &Arc<WriterProperties>) -> Result<Option<Group>, Error> {
    let schema = schema();
    // Values take most of what is written: growing step by step would copy them as often.
    let values = stager.bytes_ahead(VALUE_BYTES);
    let capacity = |leaf| if leaf == leaf::VALUE { values } else { 0 };
    let mut sinks: Vec<_> =
        (0..leaf::COUNT).map(|leaf| TrackedWrite::new(Vec::with_capacity(capacity(leaf)))).collect();
    let mut writers: Vec<ColumnWriter<'_>> = (schema.columns().iter().zip(&mut sinks))
        .map(|(column, sink)| {
            get_column_writer(column.clone(), properties.clone(), Box::new(SerializedPageWriter::new(sink)))
        })
        .collect();
    let mut runs = Vec::new();
    while writers.iter().map(written).sum::<u64>() < GROUP_BYTES {
        let Some(run) = stager.next_run()? else { break };
        write_run(&mut writers, stager.columns()).map_err(Error::Write)?;
        runs.push(run);
    }
    if runs.is_empty() {
        return Ok(None);
    }
    let closed: Vec<_> =
        writers.into_iter().map(ColumnWriter::close).collect::<Result<_, _>>().map_err(Error::Write)?;
    let mut columns = Vec::with_capacity(closed.len());
    for (sink, close) in sinks.into_iter().zip(closed) {
        columns.push((Bytes::from(sink.into_inner().map_err(Error::Write)?), close));
    }
    let rows = runs.iter().map(|run| i64::from(run.rows)).sum();
    Ok(Some(Group { columns, runs, rows }))
}

/// Encoded bytes of a column so far.
fn written(writer: &ColumnWriter<'_>) -> u64 {
    match writer {
        ColumnWriter::Int32ColumnWriter(w) => w.get_total_bytes_written(),
        ColumnWriter::Int64ColumnWriter(w) => w.get_total_bytes_written(),
        ColumnWriter::ByteArrayColumnWriter(w) => w.get_total_bytes_written(),
        _ => 0,
    }
}

/// Writes every column of one run.
fn write_run(writers: &mut [ColumnWriter<'_>], columns: &Columns) -> Written {
    for (index, writer) in writers.iter_mut().enumerate() {
        match (writer, index) {
            (ColumnWriter::Int32ColumnWriter(w), _) => write_pages(w, int32(columns, index)?, |_| 4)?,
            (ColumnWriter::Int64ColumnWriter(w), _) => write_pages(w, int64(columns, index)?, |_| 8)?,
            (ColumnWriter::ByteArrayColumnWriter(w), _) => {
                write_pages(w, bytes(columns, index)?, |value| 4 + ByteArray::len(value))?;
            }
            _ => return Err(unknown(index)),
        }
    }
    Ok(())
}

fn unknown(index: usize) -> ParquetError {
    ParquetError::General(format!("no rows are staged for leaf column {index}"))
}

fn int32(columns: &Columns, index: usize) -> Result<&Leaf<i32>, ParquetError> {
    Ok(match index {
        leaf::PARTITION => &columns.partition,
        leaf::TIMESTAMP_TYPE => &columns.timestamp_type,
        leaf::SCHEMA_ID => &columns.schema_id,
        leaf::LEADER_EPOCH => &columns.leader_epoch,
        leaf::PRODUCER_EPOCH => &columns.producer_epoch,
        leaf::SEQUENCE => &columns.sequence,
        leaf::ATTRIBUTES => &columns.attributes,
        _ => return Err(unknown(index)),
    })
}

fn int64(columns: &Columns, index: usize) -> Result<&Leaf<i64>, ParquetError> {
    Ok(match index {
        leaf::OFFSET => &columns.offset,
        leaf::TIMESTAMP => &columns.timestamp,
        leaf::APPEND_TIME => &columns.append_time,
        leaf::PRODUCER_ID => &columns.producer_id,
        leaf::BATCH_BASE_OFFSET => &columns.batch_base_offset,
        _ => return Err(unknown(index)),
    })
}

fn bytes(columns: &Columns, index: usize) -> Result<&Leaf<ByteArray>, ParquetError> {
    Ok(match index {
        leaf::KEY => &columns.key,
        leaf::VALUE => &columns.value,
        leaf::HEADER_KEY => &columns.header_key,
        leaf::HEADER_VALUE => &columns.header_value,
        _ => return Err(unknown(index)),
    })
}

/// Cuts a column into pages of whole rows and writes them; the last page ends with the run.
fn write_pages<D: DataType>(
    writer: &mut ColumnWriterImpl<'_, D>,
    column: &Leaf<D::T>,
    weight: impl Fn(&D::T) -> usize,
) -> Written {
    let max_definition = writer.get_descriptor().max_def_level();
    let levels = column.definition.len().max(column.values.len());
    let (mut page_level, mut page_value) = (0, 0); // where the open page starts
    let (mut value, mut rows, mut page_bytes) = (0, 0, 0);
    for level in 0..levels {
        let has_value = column.definition.get(level).is_none_or(|d| *d == max_definition);
        let bytes = if has_value { weight(&column.values[value]) } else { 0 };
        if column.repetition.get(level).is_none_or(|r| *r == 0) {
            if rows == PAGE_ROWS || (rows > 0 && page_bytes + bytes > PAGE_BYTES) {
                write_page(writer, column, page_level..level, page_value..value)?;
                (page_level, page_value, rows, page_bytes) = (level, value, 0, 0);
            }
            rows += 1;
        }
        page_bytes += bytes;
        value += usize::from(has_value);
    }
    write_page(writer, column, page_level..levels, page_value..value)
}

fn write_page<D: DataType>(
    writer: &mut ColumnWriterImpl<'_, D>,
    column: &Leaf<D::T>,
    levels: std::ops::Range<usize>,
    values: std::ops::Range<usize>,
) -> Written {
    let definition = (!column.definition.is_empty()).then(|| &column.definition[levels.clone()]);
    let repetition = (!column.repetition.is_empty()).then(|| &column.repetition[levels]);
    writer.write_batch(&column.values[values], definition, repetition)?;
    Ok(())
}
