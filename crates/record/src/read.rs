//! Walking the records of a batch in place: no allocation, every length checked against what is there.

use bytes::Bytes;

use crate::batch::Batch;
use crate::compression::{Codec, decompress};
use crate::error::Error;
use crate::varint;

/// The records of a batch, uncompressed: a slice of the batch's own bytes, or what they inflated to.
#[derive(Debug, Clone)]
pub struct Body {
    bytes: Bytes,
    count: i32,
}

impl Batch {
    /// The uncompressed records; [`Error::Inflated`] if they are larger than `limit` bytes. Shares the bytes of a
    /// batch that is not compressed.
    pub fn inflate(&self, limit: usize) -> Result<Body, Error> {
        let bytes = match self.codec()? {
            Codec::None if self.body().len() > limit => return Err(Error::Inflated { limit }),
            Codec::None => self.body().clone(),
            codec => Bytes::from(decompress(codec, self.body(), limit)?),
        };
        Ok(Body { bytes, count: self.record_count() })
    }
}

impl Body {
    /// The records in order.
    pub fn records(&self) -> Records<'_> {
        Records::new(&self.bytes, self.count)
    }

    /// How far `walk`, a walk over this body, came.
    pub const fn mark(&self, walk: &Records<'_>) -> Mark {
        Mark { at: self.bytes.len().saturating_sub(walk.left.len()), index: walk.index }
    }

    /// The records from `mark` on, which a walk over this body gave.
    pub fn resume(&self, mark: Mark) -> Records<'_> {
        Records { left: self.bytes.get(mark.at..).unwrap_or_default(), index: mark.index, count: self.count }
    }

    /// The bytes that the records point into.
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// Where a walk over the records of a batch stands, to go on there later; at the first record by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    at: usize,
    index: i32,
}

/// Iterator over the records of a batch. Ends after the first error; fewer records than the batch promises, or bytes
/// after the last, are an error too. The headers of a record are only walked by whoever walks them.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    left: &'a [u8],
    index: i32,
    count: i32,
}

impl<'a> Records<'a> {
    pub(crate) const fn new(bytes: &'a [u8], count: i32) -> Self {
        Self { left: bytes, index: 0, count }
    }

    fn stop(&mut self, error: Error) -> Option<Result<RecordRef<'a>, Error>> {
        self.left = &[];
        self.count = self.index;
        Some(Err(error))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordRef<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.index >= self.count {
            if self.left.is_empty() {
                return None;
            }
            return self.stop(Error::Batch("bytes after the last record"));
        }
        match RecordRef::take(&mut self.left, self.index) {
            Ok(record) => {
                self.index += 1;
                Some(Ok(record))
            }
            Err(reason) => {
                let error = Error::Record { index: self.index, reason };
                self.stop(error)
            }
        }
    }
}

/// One record, borrowed from its batch.
#[derive(Debug, Clone, Copy)]
pub struct RecordRef<'a> {
    /// Attribute bits; Kafka defines none so far.
    pub attributes: i8,
    /// Milliseconds from the base timestamp of the batch.
    pub timestamp_delta: i64,
    /// Distance from the base offset of the batch.
    pub offset_delta: i32,
    /// The key; null and empty differ.
    pub key: Option<&'a [u8]>,
    /// The value; null is a tombstone, empty is not.
    pub value: Option<&'a [u8]>,
    /// The headers, in order; keys may repeat.
    pub headers: Headers<'a>,
}

impl<'a> RecordRef<'a> {
    fn take(left: &mut &'a [u8], index: i32) -> Result<Self, &'static str> {
        let length = varint::take_i32(left).ok_or("malformed length")?;
        let length = usize::try_from(length).map_err(|_| "negative length")?;
        let (mut record, rest) = left.split_at_checked(length).ok_or("longer than the batch")?;
        *left = rest;

        let (&attributes, after) = record.split_first().ok_or("no attributes")?;
        record = after;
        let timestamp_delta = varint::take_i64(&mut record).ok_or("malformed timestamp delta")?;
        let offset_delta = varint::take_i32(&mut record).ok_or("malformed offset delta")?;
        let key = take_nullable(&mut record).ok_or("malformed key")?;
        let value = take_nullable(&mut record).ok_or("malformed value")?;
        let count = varint::take_i32(&mut record).ok_or("malformed header count")?;
        let count = u32::try_from(count).map_err(|_| "negative header count")?;
        let headers = Headers { left: record, remaining: count, index };
        Ok(Self { attributes: i8::from_be_bytes([attributes]), timestamp_delta, offset_delta, key, value, headers })
    }
}

/// Iterator over the headers of a record. Ends after the first error; bytes after the last header are an error too.
///
/// `Copy`, so that a record's headers can be walked more than once.
#[derive(Debug, Clone, Copy)]
pub struct Headers<'a> {
    left: &'a [u8],
    remaining: u32,
    index: i32,
}

/// One header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderRef<'a> {
    /// The key: a string by convention, but any bytes are possible.
    pub key: &'a [u8],
    /// The value; null and empty differ.
    pub value: Option<&'a [u8]>,
}

impl<'a> Headers<'a> {
    /// Headers still to come, as the record claims; not to be trusted for an allocation before the batch is validated.
    pub const fn count(self) -> usize {
        self.remaining as usize
    }

    /// Walks to the end.
    pub(crate) fn check(self) -> Result<(), Error> {
        for header in self {
            header?;
        }
        Ok(())
    }

    fn take(&mut self) -> Result<HeaderRef<'a>, &'static str> {
        let key = take_nullable(&mut self.left).ok_or("malformed header key")?.ok_or("null header key")?;
        let value = take_nullable(&mut self.left).ok_or("malformed header value")?;
        Ok(HeaderRef { key, value })
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Result<HeaderRef<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = if self.remaining > 0 {
            self.take()
        } else if self.left.is_empty() {
            return None;
        } else {
            Err("bytes after the last header")
        };
        match result {
            Ok(header) => {
                self.remaining -= 1;
                Some(Ok(header))
            }
            Err(reason) => {
                *self = Self { left: &[], remaining: 0, index: self.index };
                Some(Err(Error::Record { index: self.index, reason }))
            }
        }
    }
}

/// Takes a length and that many bytes; a length of −1 is null, any other negative length is malformed.
fn take_nullable<'a>(left: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = varint::take_i32(left)?;
    if length == -1 {
        return Some(None);
    }
    let (bytes, rest) = left.split_at_checked(usize::try_from(length).ok()?)?;
    *left = rest;
    Some(Some(bytes))
}

#[cfg(test)]
mod tests;
