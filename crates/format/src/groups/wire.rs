//! Kafka's own encoding of fields: big-endian, strings behind an int16, or compact in flexible versions.

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

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

    // Of flexible versions.
    fn int8(&mut self, v: i8);
    fn uuid(&mut self, v: Uuid);
    fn varint(&mut self, v: u32);
    fn compact(&mut self, v: &str);
    fn compact_nullable(&mut self, v: Option<&str>);
    fn compact_blob(&mut self, v: &[u8]);
    /// How many items follow.
    fn count(&mut self, items: usize);
    fn strings(&mut self, v: &[String]);
    fn numbers(&mut self, v: &[i32]);
    /// The only tagged field of a struct.
    fn tag(&mut self, tag: u32, content: &[u8]);
    fn no_tags(&mut self);
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

    fn int8(&mut self, v: i8) {
        self.put_i8(v);
    }

    fn uuid(&mut self, v: Uuid) {
        self.put_slice(v.as_bytes());
    }

    fn varint(&mut self, mut v: u32) {
        while v >= 0x80 {
            self.put_u8((v & 0x7f) as u8 | 0x80);
            v >>= 7;
        }
        self.put_u8(v as u8);
    }

    fn compact(&mut self, v: &str) {
        let v = &v[..v.floor_char_boundary(i16::MAX.unsigned_abs().into())];
        self.compact_blob(v.as_bytes());
    }

    fn compact_nullable(&mut self, v: Option<&str>) {
        match v {
            None => self.varint(0),
            Some(v) => self.compact(v),
        }
    }

    fn compact_blob(&mut self, v: &[u8]) {
        self.count(v.len());
        self.put_slice(v);
    }

    fn count(&mut self, items: usize) {
        self.varint(u32::try_from(items).unwrap_or(u32::MAX - 1) + 1);
    }

    fn strings(&mut self, v: &[String]) {
        self.count(v.len());
        v.iter().for_each(|v| self.compact(v));
    }

    fn numbers(&mut self, v: &[i32]) {
        self.count(v.len());
        v.iter().for_each(|v| self.int32(*v));
    }

    fn tag(&mut self, tag: u32, content: &[u8]) {
        self.varint(1);
        self.varint(tag);
        self.varint(u32::try_from(content.len()).unwrap_or(u32::MAX));
        self.put_slice(content);
    }

    fn no_tags(&mut self) {
        self.varint(0);
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
        self.tagged().map(drop)
    }

    /// The tagged fields, where the version has them: tag and content.
    pub(super) fn tagged(&mut self) -> Result<Vec<(u32, Self)>, Error> {
        let mut fields = Vec::new();
        if self.flexible {
            for _ in 0..self.varint()? {
                let tag = self.varint()?;
                let length = i64::from(self.varint()?);
                let left = self.take(length)?.unwrap_or_default();
                fields.push((tag, Self { what: self.what, left, flexible: true }));
            }
        }
        Ok(fields)
    }

    pub(super) fn int8(&mut self) -> Result<i8, Error> {
        self.array().map(i8::from_be_bytes)
    }

    pub(super) fn uuid(&mut self) -> Result<Uuid, Error> {
        self.array().map(Uuid::from_bytes)
    }

    pub(super) fn numbers(&mut self) -> Result<Vec<i32>, Error> {
        (0..self.count()?).map(|_| self.int32()).collect()
    }

    pub(super) fn strings(&mut self) -> Result<Vec<String>, Error> {
        (0..self.count()?).map(|_| self.string()).collect()
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
