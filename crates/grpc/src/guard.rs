//! Counts the records of a request while its bytes come, before anything is decoded.
//!
//! A record may take two bytes on the wire and takes a hundred in memory: a message within its limit could be made to
//! take far more memory than it has bytes. The walk follows the fields that lead to records and headers and skips all
//! else; what is malformed is left to the decoder, which stops there too.

/// Fields that lead to what is counted, from outside.
pub(crate) type Path = &'static [u64];

/// A message with a batch (field 3 its records, of which field 3 are headers) in its field 1.
pub(crate) const PRODUCE: Path = &[1, 3, 3];
/// The same in field 2.
pub(crate) const APPEND_SESSION: Path = &[2, 3, 3];
/// Nothing is counted.
pub(crate) const NOTHING: Path = &[];

/// The deepest path.
const LEVELS: usize = 3;

/// What comes next.
#[derive(Debug, Clone, Copy)]
enum Next {
    /// More of a number, of which these bits have come.
    Number { so_far: u64, shift: u32, of: Number },
    /// Bytes that mean nothing here.
    Skip(usize),
    /// Nothing that can be understood.
    Malformed,
}

/// What a number is.
#[derive(Debug, Clone, Copy)]
enum Number {
    Tag,
    Value,
    /// The length of a field.
    Length(u64),
}

const TAG: Next = Next::Number { so_far: 0, shift: 0, of: Number::Tag };

/// A walk over the messages of one call.
#[derive(Debug)]
pub(crate) struct Guard {
    path: Path,
    next: Next,
    at: usize,
    depth: usize,
    /// Where the message and the fields that are open end.
    ends: [usize; LEVELS + 1],
    elements: usize,
}

impl Guard {
    pub(crate) const fn new(path: Path) -> Self {
        Self { path, next: TAG, at: 0, depth: 0, ends: [0; LEVELS + 1], elements: 0 }
    }

    /// A message of `len` bytes begins.
    pub(crate) fn begin(&mut self, len: usize) {
        *self = Self::new(self.path);
        self.ends[0] = len;
    }

    /// Batches, records and headers of the message so far.
    pub(crate) const fn elements(&self) -> usize {
        self.elements
    }

    /// The next bytes of the message.
    pub(crate) fn advance(&mut self, mut bytes: &[u8]) {
        if self.path.is_empty() {
            return;
        }
        while let Some((&byte, rest)) = bytes.split_first() {
            let used = match self.next {
                Next::Malformed => return,
                Next::Skip(left) => left.min(bytes.len()),
                Next::Number { .. } => 1,
            };
            self.at += used;
            self.next = match self.next {
                Next::Malformed => Next::Malformed,
                Next::Skip(left) => skip(left - used),
                Next::Number { so_far, shift, of } => self.number(so_far, shift, of, byte),
            };
            bytes = if used == 1 { rest } else { &bytes[used..] };
            while self.depth > 0 && self.at == self.ends[self.depth] {
                self.depth -= 1;
            }
        }
    }

    fn number(&mut self, so_far: u64, shift: u32, of: Number, byte: u8) -> Next {
        if shift > 63 {
            return Next::Malformed;
        }
        let value = so_far | (u64::from(byte & 0x7f) << shift);
        if byte >= 0x80 {
            return Next::Number { so_far: value, shift: shift + 7, of };
        }
        let more = |of| Next::Number { so_far: 0, shift: 0, of };
        match of {
            Number::Value => TAG,
            Number::Length(field) => self.field(field, value),
            Number::Tag => match value & 7 {
                0 => more(Number::Value),
                1 => Next::Skip(8),
                2 => more(Number::Length(value >> 3)),
                3 | 4 => TAG,
                5 => Next::Skip(4),
                _ => Next::Malformed,
            },
        }
    }

    fn field(&mut self, field: u64, len: u64) -> Next {
        let Ok(len) = usize::try_from(len) else { return Next::Malformed };
        if len > self.ends[self.depth].saturating_sub(self.at) {
            return Next::Malformed;
        }
        if self.path.get(self.depth) != Some(&field) {
            return skip(len);
        }
        self.elements += 1;
        self.depth += 1;
        self.ends[self.depth] = self.at + len;
        TAG
    }
}

const fn skip(bytes: usize) -> Next {
    if bytes == 0 { TAG } else { Next::Skip(bytes) }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use prost::Message;
    use runnel_proto::produce::v1::append_session_request::Message as Asked;
    use runnel_proto::produce::v1::{AppendBatch, AppendSessionRequest, ProduceRequest};
    use runnel_proto::record::v1::{Header, Record};

    use super::*;

    fn counted(path: Path, message: &[u8], pieces: usize) -> usize {
        let mut guard = Guard::new(path);
        guard.begin(message.len());
        message.chunks(pieces).for_each(|piece| guard.advance(piece));
        guard.elements()
    }

    fn batch() -> AppendBatch {
        let headers = vec![Header::default(), Header { key: "h".repeat(200), value: Some(Bytes::new()) }];
        let record = |key: Option<&'static [u8]>| Record {
            key: key.map(Bytes::from_static),
            value: Some(Bytes::from(vec![0x1a; 300])),
            headers: headers.clone(),
            timestamp_ms: Some(-1),
        };
        let records = vec![Record::default(), record(None), record(Some(b"\x1a\x00\x1a\x00")), Record::default()];
        AppendBatch {
            topic: "t".repeat(150),
            partition: Some(3),
            records,
            expected_offset: Some(7),
            ..AppendBatch::default()
        }
    }

    #[test]
    fn records_and_headers_are_counted_however_they_are_cut() {
        let unary = ProduceRequest { batch: Some(batch()), timeout_ms: Some(5) }.encode_to_vec();
        let streamed = AppendSessionRequest { message: Some(Asked::Batch(batch())) }.encode_to_vec();
        for pieces in [1, 2, 7, 4096] {
            assert_eq!(counted(PRODUCE, &unary, pieces), 1 + 4 + 4);
            assert_eq!(counted(APPEND_SESSION, &streamed, pieces), 1 + 4 + 4);
            assert_eq!(counted(NOTHING, &unary, pieces), 0);
        }
    }

    #[test]
    fn the_smallest_records_are_counted_one_by_one() {
        let records = vec![Record::default(); 10_000];
        let batch = Some(AppendBatch { records, ..AppendBatch::default() });
        let message = ProduceRequest { batch, timeout_ms: None }.encode_to_vec();
        assert!(message.len() < 21_000);
        assert_eq!(counted(PRODUCE, &message, 1000), 10_001);
    }

    #[test]
    fn what_is_malformed_ends_the_count() {
        let past_its_end = [0x0a, 4, 0x1a, 50, 0x1a, 0];
        let endless = [0xff; 64];
        for message in [&past_its_end[..], &endless, &[0x0f], &[]] {
            assert!(counted(PRODUCE, message, 3) <= 1, "{message:?}");
        }
    }
}
