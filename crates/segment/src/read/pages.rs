//! Pages of one column of a run, whose values are unpacked with what the columns of the run share. The library's reader
//! makes a compressor and a decompressor of its own for each column of each run, which took an eighth of a rebuild.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::basic::CompressionCodec;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::serialized_reader::SerializedPageReader;
use zstd::bulk::Decompressor;
use zstd::zstd_safe::get_frame_content_size;

use crate::pieces::Pieces;

type Found<T> = Result<T, ParquetError>;

/// Unpacks zstd, for one column at a time.
#[derive(Clone, Default)]
pub(super) struct Unpacker(Arc<Mutex<Decompressor<'static>>>);

impl Unpacker {
    /// The levels at the start of a page are never packed. The size of the rest is in the frame: who wrote it knew it.
    fn unpack(&self, page: &Bytes, levels: usize) -> Found<Bytes> {
        let broken = |what: &str| ParquetError::General(format!("a page of zstd {what}"));
        let (levels, packed) = page.split_at_checked(levels).ok_or_else(|| broken("without its levels"))?;
        let size = match packed {
            [] => 0,
            packed => {
                get_frame_content_size(packed).ok().flatten().ok_or_else(|| broken("that does not say its size"))?
            }
        };
        let size =
            i32::try_from(size).map_err(|_| broken("that is larger than a page can be"))?.unsigned_abs() as usize;
        let mut unpacked = Vec::with_capacity(levels.len() + size);
        unpacked.extend_from_slice(levels);
        if size > 0 {
            let mut end = std::io::Cursor::new(&mut unpacked);
            end.set_position(levels.len() as u64);
            let mut decompressor = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            decompressor.decompress_to_buffer(packed, &mut end).map_err(|e| ParquetError::External(Box::new(e)))?;
        }
        Ok(unpacked.into())
    }
}

/// The pages between two places of an object.
pub(super) struct Pages {
    inner: SerializedPageReader<Pieces>,
    /// `None` where the library unpacks.
    unpacker: Option<Unpacker>,
}

impl Pages {
    /// Of `column`, whose pages are `range` for so many rows.
    pub(super) fn new(
        pieces: &Arc<Pieces>,
        column: &ColumnChunkMetaData,
        range: &std::ops::Range<u64>,
        rows: usize,
        unpacker: &Unpacker,
    ) -> Found<Self> {
        let is_ours = column.compression_codec() == CompressionCodec::ZSTD;
        // The pages of the run as if they were the whole column.
        let pages = ColumnChunkMetaData::builder(column.column_descr_ptr())
            .set_compression_codec(if is_ours { CompressionCodec::UNCOMPRESSED } else { column.compression_codec() })
            .set_data_page_offset(i64::try_from(range.start)?)
            .set_total_compressed_size(i64::try_from(range.end - range.start)?)
            .build()?;
        let inner = SerializedPageReader::new(Arc::clone(pieces), &pages, rows, None)?;
        Ok(Self { inner, unpacker: is_ours.then(|| unpacker.clone()) })
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Found<Option<Page>> {
        let mut page = self.inner.get_next_page()?;
        if let (Some(unpacker), Some(page)) = (&self.unpacker, &mut page) {
            match page {
                Page::DataPageV2 { buf, def_levels_byte_len, rep_levels_byte_len, is_compressed, .. } => {
                    if *is_compressed {
                        let levels = u64::from(*def_levels_byte_len) + u64::from(*rep_levels_byte_len);
                        *buf = unpacker.unpack(buf, usize::try_from(levels)?)?;
                        *is_compressed = false;
                    }
                }
                Page::DataPage { .. } | Page::DictionaryPage { .. } => {
                    return Err(ParquetError::General("a page of a kind that no segment has".into()));
                }
            }
        }
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Found<Option<PageMetadata>> {
        self.inner.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Found<()> {
        self.inner.skip_next_page()
    }
}

impl Iterator for Pages {
    type Item = Found<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}
