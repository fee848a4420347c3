//! Checked reading and writing of little-endian fields, and the envelope of a stored value.
//!
//! Envelope: `magic (4) | version (u16) | reserved (u16) | length of the payload (u32) | CRC-32C of the payload
//! (u32) | payload`. A reader takes nothing on trust: every length is checked against what is there before anything
//! is allocated.

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

use crate::Error;

/// Bytes in front of an enveloped payload.
pub const ENVELOPE_LEN: usize = 16;

/// Puts `payload` into an envelope.
pub fn seal(magic: [u8; 4], version: u16, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(ENVELOPE_LEN + payload.len());
    out.put_slice(&magic);
    out.put_u16_le(version);
    out.put_u16_le(0);
    out.put_u32_le(u32::try_from(payload.len()).unwrap_or(u32::MAX));
    out.put_u32_le(crc32c::crc32c(payload));
    out.put_slice(payload);
    out.freeze()
}

/// Opens an envelope: checks magic, length and CRC; returns the version and the payload.
pub fn open<'a>(what: &'static str, magic: [u8; 4], newest: u16, bytes: &'a [u8]) -> Result<(u16, &'a [u8]), Error> {
    let mut r = Reader::new(what, bytes);
    if r.array::<4>()? != magic {
        return Err(Error::Corrupt { what, reason: "wrong magic" });
    }
    let version = r.u16()?;
    r.u16()?;
    let (len, crc) = (r.u32()? as usize, r.u32()?);
    let payload = r.rest();
    if payload.len() != len {
        return Err(Error::Corrupt { what, reason: "wrong length" });
    }
    if crc32c::crc32c(payload) != crc {
        return Err(Error::Corrupt { what, reason: "CRC mismatch" });
    }
    if version == 0 || version > newest {
        return Err(Error::NewerFormat { what, found: version, newest });
    }
    Ok((version, payload))
}

/// Appends fields to a buffer.
#[derive(Debug, Default)]
pub struct Writer(pub BytesMut);

macro_rules! put {
    ($($name:ident $ty:ty, $method:ident);* $(;)?) => { $(
        #[doc = concat!("Appends a `", stringify!($ty), "`, little-endian.")]
        pub fn $name(&mut self, v: $ty) -> &mut Self { self.0.$method(v); self }
    )* };
}

impl Writer {
    put! { u8 u8, put_u8; u16 u16, put_u16_le; u32 u32, put_u32_le; u64 u64, put_u64_le; i16 i16, put_i16_le; i32 i32, put_i32_le; i64 i64, put_i64_le }

    /// Appends raw bytes.
    pub fn raw(&mut self, v: &[u8]) -> &mut Self {
        self.0.put_slice(v);
        self
    }

    /// Appends a length (u32) and the bytes.
    pub fn bytes(&mut self, v: &[u8]) -> &mut Self {
        self.0.put_u32_le(u32::try_from(v.len()).unwrap_or(u32::MAX));
        self.raw(v)
    }

    /// Appends a length (u32) and UTF-8.
    pub fn string(&mut self, v: &str) -> &mut Self {
        self.bytes(v.as_bytes())
    }

    /// Appends the 16 bytes of a UUID.
    pub fn uuid(&mut self, v: Uuid) -> &mut Self {
        self.raw(v.as_bytes())
    }
}

/// Takes fields off the front of a slice.
#[derive(Debug)]
pub struct Reader<'a> {
    what: &'static str,
    left: &'a [u8],
}

macro_rules! get {
    ($($ty:ident),*) => { $(
        #[doc = concat!("Takes a `", stringify!($ty), "`, little-endian.")]
        pub fn $ty(&mut self) -> Result<$ty, Error> { Ok($ty::from_le_bytes(self.array()?)) }
    )* };
}

impl<'a> Reader<'a> {
    get! { u8, u16, u32, u64, i16, i32, i64 }

    /// Reads `bytes`; `what` names them in errors.
    pub const fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, left: bytes }
    }

    /// Bytes not taken yet.
    pub const fn remaining(&self) -> usize {
        self.left.len()
    }

    /// Takes `n` bytes.
    pub fn raw(&mut self, n: usize) -> Result<&'a [u8], Error> {
        if n > self.left.len() {
            return Err(Error::Corrupt { what: self.what, reason: "ends too early" });
        }
        let (head, tail) = self.left.split_at(n);
        self.left = tail;
        Ok(head)
    }

    /// Takes an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut out = [0; N];
        out.copy_from_slice(self.raw(N)?);
        Ok(out)
    }

    /// Takes a length (u32) and that many bytes.
    pub fn bytes(&mut self) -> Result<&'a [u8], Error> {
        let n = self.u32()? as usize;
        self.raw(n)
    }

    /// Takes a length (u32) and UTF-8.
    pub fn string(&mut self) -> Result<&'a str, Error> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Error::Corrupt { what: self.what, reason: "not UTF-8" })
    }

    /// Takes the 16 bytes of a UUID.
    pub fn uuid(&mut self) -> Result<Uuid, Error> {
        Ok(Uuid::from_bytes(self.array()?))
    }

    /// Takes a count (u32) of items of at least `min_item_bytes` each; refuses one that cannot fit.
    pub fn count(&mut self, min_item_bytes: usize) -> Result<usize, Error> {
        let n = self.u32()? as usize;
        if n.checked_mul(min_item_bytes.max(1)).is_none_or(|need| need > self.left.len()) {
            return Err(Error::Corrupt { what: self.what, reason: "a count larger than the data" });
        }
        Ok(n)
    }

    /// Everything that is left.
    pub const fn rest(self) -> &'a [u8] {
        self.left
    }

    /// Checks that nothing is left.
    pub fn finish(self) -> Result<(), Error> {
        if self.left.is_empty() { Ok(()) } else { Err(Error::Corrupt { what: self.what, reason: "trailing bytes" }) }
    }
}
