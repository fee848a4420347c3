//! The footer: which runs a segment has, where their bytes lie, and what the columns cannot carry.

mod keys;
mod runs;

use std::ops::Range;

use bytes::Bytes;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::page_index::offset_index::PageLocation;

pub(crate) use keys::{Keys, entries};
pub use runs::Run;
pub(crate) use runs::RunTable;

use crate::Error;
use crate::checks::{self, End};
use crate::exceptions::Exceptions;
use crate::schema::{leaf, schema};

/// A parsed footer.
#[derive(Debug)]
pub(crate) struct Footer {
    pub(crate) keys: Keys,
    pub(crate) exceptions: Exceptions,
    pub(crate) metadata: ParquetMetaData,
    runs: Vec<Run>,
    /// By run: the row group it lies in and its rows there.
    places: Vec<(usize, Range<i64>)>,
}

/// What the last bytes of a file yield.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// The footer.
    Footer(Box<Footer>),
    /// This many bytes from the end of the file are needed.
    Need(u64),
}

impl Footer {
    /// Parses the last bytes of a file of `file_len` bytes, after checking their CRCs.
    pub(crate) fn parse(tail: &Bytes, file_len: u64) -> Result<Parsed, Error> {
        let end = match checks::check(tail, file_len)? {
            End::Need(bytes) => return Ok(Parsed::Need(bytes)),
            End::Checked(end) => end,
        };
        Ok(Parsed::Footer(Box::new(Self::parse_checked(&end, file_len)?)))
    }

    /// Parses the last bytes of a file, from the page index on.
    pub(crate) fn parse_checked(end: &Bytes, file_len: u64) -> Result<Self, Error> {
        let mut reader = ParquetMetaDataReader::new()
            .with_column_index_policy(PageIndexPolicy::Skip)
            .with_offset_index_policy(PageIndexPolicy::Required);
        reader.try_parse_sized(end, file_len).map_err(damaged)?;
        let metadata = reader.finish().map_err(damaged)?;
        check_schema(&metadata)?;
        let (keys, table, exceptions) = keys::read(metadata.file_metadata().key_value_metadata())?;
        let runs = table.into_runs(&keys)?;
        let places = place(&runs, &metadata)?;
        Ok(Self { keys, exceptions, metadata, runs, places })
    }

    /// The runs in order.
    pub(crate) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// A run, its row group and its rows there.
    pub(crate) fn run(&self, run: u32) -> Result<(&Run, usize, &Range<i64>), Error> {
        let index = usize::try_from(run).unwrap_or(usize::MAX);
        match (self.runs.get(index), self.places.get(index)) {
            (Some(found), Some((group, rows))) => Ok((found, *group, rows)),
            _ => Err(Error::NoSuchRun { run }),
        }
    }

    /// The bytes of a run: one range for each leaf column, by leaf.
    pub(crate) fn ranges(&self, run: u32) -> Result<Vec<Range<u64>>, Error> {
        let (_, group, rows) = self.run(run)?;
        let index = self.metadata.page_index_for_row_group(group);
        let columns = self.metadata.row_group(group).columns();
        let mut ranges = Vec::with_capacity(columns.len());
        for (leaf, column) in columns.iter().enumerate() {
            let pages = index.page_locations(leaf).ok_or_else(|| Error::corrupt("a column without an offset index"))?;
            let range = page_range(pages, rows)?;
            let (start, len) = (u64::try_from(column.data_page_offset()), u64::try_from(column.compressed_size()));
            let inside =
                start.ok().zip(len.ok()).is_some_and(|(start, len)| range.start >= start && range.end - start <= len);
            if !inside {
                return Err(Error::corrupt("a page outside of its column"));
            }
            ranges.push(range);
        }
        Ok(ranges)
    }
}

/// The bytes of the pages that hold exactly these rows of a row group.
pub(crate) fn page_range(pages: &[PageLocation], rows: &Range<i64>) -> Result<Range<u64>, Error> {
    let first = pages.partition_point(|page| page.first_row_index < rows.start);
    let end = pages.partition_point(|page| page.first_row_index < rows.end);
    let aligned = pages.get(first).is_some_and(|page| page.first_row_index == rows.start)
        && pages.get(end).is_none_or(|page| page.first_row_index == rows.end);
    let bounds = pages.get(first).zip(pages[..end].last()).filter(|_| aligned && first < end);
    bounds
        .and_then(|(first, last)| {
            let start = u64::try_from(first.offset).ok()?;
            let end = u64::try_from(last.offset.checked_add(i64::from(last.compressed_page_size))?).ok()?;
            (start < end).then_some(start..end)
        })
        .ok_or_else(|| Error::corrupt("pages that do not end with their run"))
}

fn damaged(error: parquet::errors::ParquetError) -> Error {
    Error::corrupt(error.to_string())
}

/// The file must begin with the columns of version 1; a later release may have added some behind them.
fn check_schema(metadata: &ParquetMetaData) -> Result<(), Error> {
    let (ours, theirs) = (schema(), metadata.file_metadata().schema_descr());
    for leaf in 0..leaf::COUNT {
        let expected = ours.column(leaf);
        let same = theirs.columns().get(leaf).is_some_and(|found| {
            found.path() == expected.path()
                && found.physical_type() == expected.physical_type()
                && found.max_def_level() == expected.max_def_level()
                && found.max_rep_level() == expected.max_rep_level()
        });
        if !same {
            return Err(Error::corrupt(format!("no column {}", expected.path())));
        }
    }
    Ok(())
}

/// Finds each run its row group. Runs fill the row groups one after another.
fn place(runs: &[Run], metadata: &ParquetMetaData) -> Result<Vec<(usize, Range<i64>)>, Error> {
    let wrong = || Error::corrupt("runs that do not fill the row groups");
    let mut places = Vec::with_capacity(runs.len());
    let mut runs = runs.iter();
    for (group, row_group) in metadata.row_groups().iter().enumerate() {
        if row_group.num_columns() != metadata.file_metadata().schema_descr().num_columns() {
            return Err(Error::corrupt("a row group without all columns"));
        }
        let mut row = 0;
        while row < row_group.num_rows() {
            let run = runs.next().ok_or_else(wrong)?;
            let end = row + i64::from(run.records);
            places.push((group, row..end));
            row = end;
        }
        if row != row_group.num_rows() {
            return Err(wrong());
        }
    }
    if runs.next().is_some() { Err(wrong()) } else { Ok(places) }
}
