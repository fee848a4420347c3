//! The codecs of a record batch, in the framings that Kafka's clients write and read.
//!
//! Decompression stops at the caller's limit and never allocates from a size that the data only claims: a
//! decompression bomb costs at most the limit.

mod lz4;
mod snappy;

use std::fmt;
use std::io::{self, Read, Write};

use crate::Error;

pub(crate) use lz4::is_single_frame as is_single_lz4_frame;

/// Attribute bits 0–2 of a batch.
const CODEC_MASK: i16 = 0x07;

/// Compression of the records of a batch; the discriminants are the attribute bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Codec {
    /// The records as they are.
    None = 0,
    /// gzip, RFC 1952.
    Gzip = 1,
    /// Snappy blocks in the xerial framing (what the Java client writes), or one raw block (librdkafka).
    Snappy = 2,
    /// LZ4 frames of independent blocks.
    Lz4 = 3,
    /// Zstandard frames.
    Zstd = 4,
}

impl Codec {
    /// Every codec, in the order of the attribute bits.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// Reads the codec bits of batch attributes.
    pub fn from_attributes(attributes: i16) -> Result<Self, Error> {
        match attributes & CODEC_MASK {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            unknown => Err(Error::Codec(unknown)),
        }
    }

    /// Batch attributes with the codec bits replaced.
    pub(crate) const fn set_in(self, attributes: i16) -> i16 {
        attributes & !CODEC_MASK | self as i16
    }
}

/// Kafka's name of the codec, as in `compression.type`.
impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

/// Compresses `raw` so that every Kafka client can read it.
pub fn compress(codec: Codec, raw: &[u8]) -> Result<Vec<u8>, Error> {
    let result = match codec {
        Codec::None => Ok(raw.to_vec()),
        Codec::Gzip => gzip(raw),
        Codec::Snappy => snappy::compress(raw),
        Codec::Lz4 => lz4::compress(raw),
        Codec::Zstd => zstd::bulk::compress(raw, zstd::DEFAULT_COMPRESSION_LEVEL),
    };
    result.map_err(|source| Error::Compressed { codec, source })
}

/// Decompresses `data`; [`Error::Inflated`] as soon as the result would be larger than `limit` bytes.
pub fn decompress(codec: Codec, data: &[u8], limit: usize) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    decompress_into(codec, data, limit, &mut out)?;
    Ok(out)
}

/// As [`decompress`], into a buffer whose old content is dropped and whose memory is used again.
pub(crate) fn decompress_into(codec: Codec, data: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), Error> {
    out.clear();
    let result = match codec {
        Codec::None => read_all(data, limit, out),
        Codec::Gzip => read_all(flate2::bufread::MultiGzDecoder::new(data), limit, out),
        Codec::Snappy => snappy::decompress(data, limit, out),
        Codec::Lz4 => lz4::decompress(data, limit, out),
        // The window that a frame asks for is reserved, not touched, beyond what is really decompressed; libzstd
        // itself refuses windows over 128 MiB.
        Codec::Zstd => zstd::stream::read::Decoder::with_buffer(data)
            .map_err(Failure::Io)
            .and_then(|decoder| read_all(decoder, limit, out)),
    };
    result.map_err(|failure| match failure {
        Failure::OverLimit => Error::Inflated { limit },
        Failure::Io(source) => Error::Compressed { codec, source },
    })
}

/// Why a decoder stopped.
enum Failure {
    OverLimit,
    Io(io::Error),
}

impl Failure {
    fn broken(reason: &'static str) -> Self {
        Self::Io(io::Error::new(io::ErrorKind::InvalidData, reason))
    }
}

fn read_all(reader: impl Read, limit: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    // One byte more than allowed tells "full" from "too much"; reading to the end also checks what closes a stream.
    let cap = (limit as u64).saturating_add(1);
    reader.take(cap).read_to_end(out).map_err(Failure::Io)?;
    if out.len() > limit { Err(Failure::OverLimit) } else { Ok(()) }
}

fn gzip(raw: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(raw.len() / 2), flate2::Compression::default());
    encoder.write_all(raw)?;
    encoder.finish()
}

#[cfg(test)]
mod tests;
