//! The object put together: row groups in their place on disk, the footer, the checks.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::metadata::page_index::{PageIndex, PageIndexBuilder};
use parquet::file::metadata::{
    FileMetaData, KeyValue, ParquetMetaDataBuilder, ParquetMetaDataWriter, RowGroupMetaData,
};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::page_index::offset_index::OffsetIndexMetaData;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::TrackedWrite;

use super::Encoded;
use super::group::Group;
use super::stage::{Staged, Summary};
use crate::footer::{Keys, RunTable};
use crate::pieces::Pieces;
use crate::schema::{ON_DISK, leaf, schema, sorting, writer_properties};
use crate::{EncodeOptions, Error, checks, footer};

const MAGIC: &[u8; 4] = b"PAR1";
/// The version that Parquet files with pages of version 2 name.
const PARQUET_VERSION: i32 = 2;

/// In the place of bytes that were written before; nobody looks at them.
static ZEROS: [u8; 1 << 20] = [0; 1 << 20];

/// Page indexes of a row group, by leaf.
type Indexes = Vec<(Option<ColumnIndexMetaData>, Option<OffsetIndexMetaData>)>;

/// A segment being put together.
pub(super) struct File {
    options: EncodeOptions,
    properties: Arc<WriterProperties>,
    /// What was not taken yet.
    parts: Vec<Bytes>,
    /// Of the whole so far.
    len: u64,
    crc32c: u32,
    row_groups: Vec<RowGroupMetaData>,
    indexes: Vec<Indexes>,
    runs: RunTable,
}

impl File {
    /// An object with nothing but its magic.
    pub(super) fn new(options: &EncodeOptions) -> Self {
        Self {
            options: options.clone(),
            properties: Arc::new(writer_properties(options.compression)),
            parts: vec![Bytes::from_static(MAGIC)],
            len: MAGIC.len() as u64,
            crc32c: crc32c::crc32c(MAGIC),
            row_groups: Vec::new(),
            indexes: Vec::new(),
            runs: RunTable::default(),
        }
    }

    /// How columns are written.
    pub(super) const fn properties(&self) -> &Arc<WriterProperties> {
        &self.properties
    }

    /// The parts since the last call.
    pub(super) fn take_parts(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.parts)
    }

    fn push(&mut self, part: Bytes) {
        self.len += part.len() as u64;
        self.crc32c = crc32c::crc32c_append(self.crc32c, &part);
        self.parts.push(part);
    }

    /// Appends a row group.
    pub(super) fn add(&mut self, group: Group) -> Result<(), Error> {
        let start = self.len;
        let mut pieces = Pieces::default();
        let mut places = [0; leaf::COUNT];
        for leaf in ON_DISK {
            let bytes = group.columns[leaf].0.clone();
            places[leaf] = self.len;
            pieces.push(self.len, bytes.clone());
            self.push(bytes);
        }
        let (mut chunks, mut indexes, mut uncompressed) = (Vec::new(), Indexes::new(), 0);
        for ((_, close), place) in group.columns.into_iter().zip(places) {
            let place = signed(place)?;
            uncompressed += close.metadata.uncompressed_size();
            let first_page = close.metadata.data_page_offset() + place;
            let chunk = close.metadata.into_builder().set_data_page_offset(first_page).build();
            chunks.push(chunk.map_err(Error::Write)?);
            let mut offsets = close.offset_index;
            for location in offsets.iter_mut().flat_map(|index| &mut index.page_locations) {
                location.offset += place;
            }
            indexes.push((close.column_index, offsets));
        }
        self.add_runs(&group.runs, &indexes, &pieces)?;
        let ordinal = i32::try_from(self.row_groups.len())
            .map_err(|_| Error::Write(ParquetError::General("too many row groups".into())))?;
        let row_group = RowGroupMetaData::builder(schema())
            .set_column_metadata(chunks)
            .set_num_rows(group.rows)
            .set_total_byte_size(uncompressed)
            .set_sorting_columns(Some(sorting()))
            .set_ordinal(ordinal)
            .set_file_offset(signed(start)?)
            .build();
        self.row_groups.push(row_group.map_err(Error::Write)?);
        self.indexes.push(indexes);
        Ok(())
    }

    /// Notes the runs of a row group, each with the CRC of its bytes.
    fn add_runs(&mut self, staged: &[Staged], indexes: &Indexes, pieces: &Pieces) -> Result<(), Error> {
        let locations: Vec<_> =
            indexes.iter().filter_map(|(_, offsets)| Some(offsets.as_ref()?.page_locations())).collect();
        let mut first_row = 0;
        for run in staged {
            let rows = first_row..first_row + i64::from(run.rows);
            first_row = rows.end;
            let mut ranges = Vec::with_capacity(locations.len());
            for pages in &locations {
                ranges.push(footer::page_range(pages, &rows)?);
            }
            ranges.sort_by_key(|range| range.start);
            let mut crc32c = 0;
            for range in ranges {
                crc32c = crc32c::crc32c_append(crc32c, &pieces.slice(&range)?);
            }
            self.runs.push(run.rows, run.next, run.bytes, crc32c);
        }
        Ok(())
    }

    /// Writes the end of the object.
    pub(super) fn finish(mut self, summary: Summary) -> Result<Encoded, Error> {
        let keys = Keys {
            topic: self.options.topic,
            partition: self.options.partition,
            base: summary.base,
            next: summary.next,
        };
        let entries = footer::entries(&keys, &self.runs, &summary.exceptions);
        let end = checks::insert(&self.write_end(entries, i64::from(summary.records)).map_err(Error::Write)?)?;
        self.push(end);
        Ok(Encoded {
            bytes: self.parts,
            len: self.len,
            crc32c: self.crc32c,
            batches: summary.batches,
            records: summary.records,
            base: summary.base,
            next: summary.next,
            min_timestamp: summary.min_timestamp,
            max_timestamp: summary.max_timestamp,
            max_timestamp_offset: summary.max_timestamp_offset,
            first_append_time: summary.first_append_time,
            last_append_time: summary.last_append_time,
        })
    }

    /// Page index and footer as the Parquet library writes them.
    fn write_end(&mut self, entries: Vec<KeyValue>, rows: i64) -> Result<Vec<u8>, ParquetError> {
        let created_by = format!("runnel version {}", env!("CARGO_PKG_VERSION"));
        let file = FileMetaData::new(PARQUET_VERSION, rows, Some(created_by), Some(entries), schema(), None);
        let metadata = ParquetMetaDataBuilder::new(file)
            .set_row_groups(std::mem::take(&mut self.row_groups))
            .set_page_index(Some(Arc::new(page_index(std::mem::take(&mut self.indexes)))))
            .build();
        let mut sink = After { skip: self.len, kept: Vec::new() };
        let mut tracked = TrackedWrite::new(&mut sink);
        // The writer counts offsets from what has passed through it.
        let mut passed = 0;
        while passed < self.len {
            let some = ZEROS.len().min(usize::try_from(self.len - passed).unwrap_or(usize::MAX));
            tracked.write_all(&ZEROS[..some])?;
            passed += some as u64;
        }
        ParquetMetaDataWriter::new_with_tracked(tracked, &metadata).finish()?;
        Ok(sink.kept)
    }
}

fn signed(offset: u64) -> Result<i64, Error> {
    i64::try_from(offset).map_err(|_| Error::Write(ParquetError::General("an offset out of range".into())))
}

fn page_index(row_groups: Vec<Indexes>) -> PageIndex {
    let mut builder = PageIndexBuilder::new(row_groups.len(), leaf::COUNT);
    for (group, indexes) in row_groups.into_iter().enumerate() {
        for (leaf, (columns, offsets)) in indexes.into_iter().enumerate() {
            if let Some(columns) = columns {
                builder.put_column_index(columns, group, leaf);
            }
            if let Some(offsets) = offsets {
                builder.put_offset_index(offsets, group, leaf);
            }
        }
    }
    builder.build()
}

/// A sink that keeps what comes after the first `skip` bytes.
struct After {
    skip: u64,
    kept: Vec<u8>,
}

impl Write for After {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let skipped = usize::try_from(self.skip).map_or(bytes.len(), |skip| skip.min(bytes.len()));
        self.skip -= skipped as u64;
        self.kept.extend_from_slice(&bytes[skipped..]);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
