//! Walks the blocks of a lane, over damage too.

use std::sync::Arc;

use runnel_format::codec::Reader;
use runnel_format::wal::{
    BLOCK_HEADER_LEN, BlockHeader, FILE_HEADER_LEN, PAGE, ROW_LEN, Row, SPAN_LEN, Span, seeded_crc,
};
use runnel_record::TopicPartition;
use runnel_runtime::Reuse;

use crate::Error;
use crate::file::LaneFile;

/// Small blocks come many at a time.
const MANY: usize = 128 << 10;
/// Of a larger one only the table is read. It has one page, most of the time.
const SMALL: u64 = 32 << 10;

/// A part of a lane file that holds blocks.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) file: Arc<LaneFile>,
    pub(crate) from: u64,
    pub(crate) upto: u64,
}

impl Piece {
    /// All blocks of a file.
    pub(crate) fn whole(file: Arc<LaneFile>) -> Self {
        let upto = file.len;
        Self { file, from: FILE_HEADER_LEN as u64, upto }
    }
}

/// A window on a file.
struct Window {
    start: u64,
    bytes: Vec<u8>,
    /// Bytes to read at once.
    size: usize,
    reuse: Reuse,
}

impl Window {
    const fn new(size: usize, reuse: Reuse) -> Self {
        Self { start: 0, bytes: Vec::new(), size, reuse }
    }

    /// Up to `n` bytes at `position`; fewer at the end of the piece. What is behind that may be being written.
    fn get(&mut self, piece: &Piece, position: u64, n: usize) -> Result<&[u8], Error> {
        let file = &piece.file;
        let left = usize::try_from(piece.upto.saturating_sub(position)).unwrap_or(usize::MAX);
        let n = n.min(left);
        if self.at_hand(position, n).is_none() {
            let read = file.io.read_exact_at(n.max(self.size).min(left), position, self.reuse);
            self.bytes = read.map_err(Error::io("reading", &file.path))?;
            self.start = position;
        }
        Ok(self.at_hand(position, n).unwrap_or_default())
    }

    fn at_hand(&self, position: u64, n: usize) -> Option<&[u8]> {
        let at = usize::try_from(position.checked_sub(self.start)?).ok()?;
        self.bytes.get(at..at.checked_add(n)?)
    }
}

/// The rows of a block that can be read.
pub(crate) struct Table {
    pub(crate) rows: Vec<Row>,
    /// Some rows cannot.
    pub(crate) damaged: bool,
}

/// Steps through the blocks of consecutive pieces, in rising block number. Where no block is, it looks for the next
/// one page by page, so the number of the block that it finds tells how many are missing.
pub(crate) struct Cursor<'a> {
    pieces: &'a [Piece],
    piece: usize,
    position: u64,
    /// No block at the place where one was due.
    lost: bool,
    last_seq: u64,
    window: Window,
}

impl<'a> Cursor<'a> {
    /// Starts before the first piece, after block number `last_seq`.
    pub(crate) fn new(pieces: &'a [Piece], last_seq: u64, reuse: Reuse) -> Self {
        let position = pieces.first().map_or(0, |piece| piece.from);
        Self { pieces, piece: 0, position, lost: false, last_seq, window: Window::new(PAGE, reuse) }
    }

    /// Bytes of the file at `position`, if they were read along.
    pub(crate) fn at_hand(&self, position: u64, n: usize) -> Option<&[u8]> {
        self.window.at_hand(position, n)
    }

    /// The piece that holds the block last returned.
    pub(crate) fn piece(&self) -> &'a Piece {
        &self.pieces[self.piece]
    }

    /// The index of that piece.
    pub(crate) const fn piece_index(&self) -> usize {
        self.piece
    }

    /// The next block.
    pub(crate) fn next(&mut self) -> Result<Option<BlockHeader>, Error> {
        while let Some(piece) = self.pieces.get(self.piece) {
            if self.position + BLOCK_HEADER_LEN as u64 > piece.upto {
                self.enter_next();
                continue;
            }
            if let Some(header) = self.header_at(piece, self.position)? {
                self.position = header.end();
                self.window.size = if header.total_len < SMALL { MANY } else { PAGE };
                self.lost = false;
                self.last_seq = header.seq;
                return Ok(Some(header));
            }
            if !self.lost && self.next_piece_continues()? {
                self.enter_next();
                continue;
            }
            self.lost = true;
            self.window.size = MANY;
            self.position += PAGE as u64;
        }
        Ok(None)
    }

    fn enter_next(&mut self) {
        self.piece += 1;
        self.position = self.pieces.get(self.piece).map_or(0, |piece| piece.from);
        self.lost = false;
        self.window = Window::new(self.window.size, self.window.reuse);
    }

    fn header_at(&mut self, piece: &Piece, position: u64) -> Result<Option<BlockHeader>, Error> {
        let LaneFile { id, seed, .. } = *piece.file;
        let bytes = self.window.get(piece, position, BLOCK_HEADER_LEN)?;
        if !BlockHeader::looks_like_one(bytes) {
            return Ok(None);
        }
        let header = BlockHeader::decode(bytes, seed, id.number, position, piece.upto).ok();
        Ok(header.filter(|header| header.seq > self.last_seq))
    }

    /// Whether this piece simply ended: the next one starts with the block that is due.
    fn next_piece_continues(&self) -> Result<bool, Error> {
        let Some(next) = self.pieces.get(self.piece + 1) else { return Ok(false) };
        let mut ahead = Cursor::new(std::slice::from_ref(next), self.last_seq, self.window.reuse);
        let first = ahead.header_at(next, next.from)?;
        Ok(first.is_some_and(|header| header.seq == self.last_seq + 1))
    }

    /// The rows of the block last returned; with `only`, those of one partition.
    pub(crate) fn table(&mut self, header: &BlockHeader, only: Option<TopicPartition>) -> Result<Table, Error> {
        let piece = self.piece();
        let seed = piece.file.seed;
        let bytes = self.window.get(piece, header.position + BLOCK_HEADER_LEN as u64, header.rows_len())?;
        let whole = seeded_crc(seed, bytes) == header.rows_crc;
        // A key can be trusted once its CRC was checked: that of the table, or of every row.
        let wanted = |row: &&[u8]| !whole || only.is_none_or(|tp| Row::is_of(row, tp));
        let rows = bytes.chunks_exact(ROW_LEN).filter(wanted).filter_map(|row| Row::decode(row, seed, header).ok());
        let rows = rows.filter(|row| only.is_none_or(|tp| row.tp == tp)).collect();
        Ok(Table { rows, damaged: !whole })
    }

    /// What the block last returned says of the content of the block before it; `None` if it does not, or cannot
    /// be read.
    pub(crate) fn spans(&mut self, header: &BlockHeader) -> Result<Option<Vec<Span>>, Error> {
        let piece = self.piece();
        let at = header.position + (BLOCK_HEADER_LEN + header.rows_len()) as u64;
        let bytes = self.window.get(piece, at, header.spans_len())?;
        if header.spans.is_none() || seeded_crc(piece.file.seed, bytes) != header.spans_crc {
            return Ok(None);
        }
        Ok(bytes.chunks_exact(SPAN_LEN).map(|span| Span::decode(&mut Reader::new("WAL span", span)).ok()).collect())
    }
}
