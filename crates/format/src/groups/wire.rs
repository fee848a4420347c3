//! Kafka's own encoding of fields: big-endian, strings behind an int16, or compact in flexible versions.

use bytes::{BufMut, Bytes, BytesMut};

use crate::Error;

/// Appends fields of versions that are not flexible. A text that is too long for its length is cut: those who accept
/// names and metadata keep them far shorter.
pub(super) trait Put {
    fn int16(&mut self, v: i16);
    fn int32(&mut self, v: i32);
    fn int64(&mut self, v: i64);
    fn string(&mut self, v: &str);
    fn nullable(&mut self, v: Option<&str>);
    fn blob(&mut self, v: &[u8]);
}

impl Put for BytesMut {
    fn int16(&mut self, v: i16) {
        self.put_i16(v);
    }

    fn int32(&mut self, v: i32) {
        self.put_i32(v);
    }

    fn int64(&mut self, v: i64) {
        self.put_i64(v);
    }

    fn string(&mut self, v: &str) {
        let v = &v[..v.floor_char_boundary(i16::MAX.unsigned_abs().into())];
        self.put_i16(i16::try_from(v.len()).unwrap_or(i16::MAX));
        self.put_slice(v.as_bytes());
    }

    fn nullable(&mut self, v: Option<&str>) {
        match v {
            None => self.put_i16(-1),
            Some(v) => self.string(v),
        }
    }

    fn blob(&mut self, v: &[u8]) {
        self.put_i32(i32::try_from(v.len()).unwrap_or(i32::MAX));
        self.put_slice(v);
    }
}

/// Takes fields off the front of a slice; every length is checked against what is there.
pub(super) struct Get<'a> {
    what: &'static str,
    left: &'a [u8],
    flexible: bool,
}

impl<'a> Get<'a> {
    pub(super) const fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, left: bytes, flexible: false }
    }

    /// The version of a value; the newest one is the first with compact lengths and tagged fields.
    pub(super) fn version(&mut self, newest: i16) -> Result<i16, Error> {
        let version = self.int16()?;
        if !(0..=newest).contains(&version) {
            let [found, newest] = [version, newest].map(|v| u16::try_from(v).unwrap_or(u16::MAX));
            return Err(Error::NewerFormat { what: self.what, found, newest });
        }
        self.flexible = version == newest;
        Ok(version)
    }

    pub(super) fn int16(&mut self) -> Result<i16, Error> {
        self.array().map(i16::from_be_bytes)
    }

    pub(super) fn int32(&mut self) -> Result<i32, Error> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn int64(&mut self) -> Result<i64, Error> {
        self.array().map(i64::from_be_bytes)
    }

    pub(super) fn string(&mut self) -> Result<String, Error> {
        self.nullable()?.ok_or_else(|| self.corrupt("a text that must not be null is"))
    }

    pub(super) fn nullable(&mut self) -> Result<Option<String>, Error> {
        let length = if self.flexible { self.compact()? } else { i64::from(self.int16()?) };
        let Some(bytes) = self.take(length)? else { return Ok(None) };
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(_) => Err(self.corrupt("a text is not UTF-8")),
        }
    }

    pub(super) fn blob(&mut self) -> Result<Bytes, Error> {
        let length = self.length()?;
        Ok(self.take(length)?.map(Bytes::copy_from_slice).unwrap_or_default())
    }

    /// How many items follow; no more than there are bytes.
    pub(super) fn count(&mut self) -> Result<usize, Error> {
        let count = usize::try_from(self.length()?).unwrap_or(0);
        if count > self.left.len() {
            return Err(self.corrupt("a count larger than the value"));
        }
        Ok(count)
    }

    /// Skips tagged fields, where the version has them.
    pub(super) fn tags(&mut self) -> Result<(), Error> {
        if self.flexible {
            for _ in 0..self.varint()? {
                self.varint()?;
                let length = i64::from(self.varint()?);
                self.take(length)?;
            }
        }
        Ok(())
    }

    fn length(&mut self) -> Result<i64, Error> {
        if self.flexible { self.compact() } else { self.int32().map(i64::from) }
    }

    fn compact(&mut self) -> Result<i64, Error> {
        Ok(i64::from(self.varint()?) - 1)
    }

    fn varint(&mut self) -> Result<u32, Error> {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.corrupt("a variable-length number is too long"))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (head, rest) = self.left.split_first_chunk::<N>().ok_or_else(|| self.corrupt("cut short"))?;
        self.left = rest;
        Ok(*head)
    }

    /// That many bytes; `None` for a negative length, which means null.
    fn take(&mut self, length: i64) -> Result<Option<&'a [u8]>, Error> {
        let Ok(length) = usize::try_from(length) else { return Ok(None) };
        let (head, rest) = self.left.split_at_checked(length).ok_or_else(|| self.corrupt("cut short"))?;
        self.left = rest;
        Ok(Some(head))
    }

    const fn corrupt(&self, reason: &'static str) -> Error {
        Error::Corrupt { what: self.what, reason }
    }
}
