//! What can be wrong with a record batch.

use crate::compression::Codec;

/// Why bytes are not an acceptable record batch.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes end before the batch does.
    #[error("record batch cut off: {need} bytes needed, {have} there")]
    Truncated {
        /// Bytes that the batch needs.
        need: usize,
        /// Bytes that are there.
        have: usize,
    },
    /// The length field is negative or smaller than a header.
    #[error("record batch length field of {0} is impossible")]
    Length(i32),
    /// The magic byte is none that was ever used.
    #[error("unknown magic byte {0} in a record batch")]
    Magic(i8),
    /// The stored CRC does not match the bytes.
    #[error("record batch CRC mismatch: stored {stored:#010x}, computed {computed:#010x}")]
    Crc {
        /// CRC in the header.
        stored: u32,
        /// CRC of the bytes.
        computed: u32,
    },
    /// Message format 0 or 1.
    #[error("message format {0} is not supported; use format 2 (Kafka 0.11 or later)")]
    UnsupportedFormat(i8),
    /// A header field, or the batch as a whole, is not acceptable.
    #[error("invalid record batch: {0}")]
    Batch(&'static str),
    /// A record is malformed or not acceptable.
    #[error("invalid record {index} of the batch: {reason}")]
    Record {
        /// Position of the record in the batch, from 0.
        index: i32,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The codec bits name no codec.
    #[error("unknown compression codec {0}")]
    Codec(i16),
    /// The compressed data is broken.
    #[error("broken {codec} data in a record batch")]
    Compressed {
        /// Codec that the data claims to be in.
        codec: Codec,
        /// What the codec said.
        source: std::io::Error,
    },
    /// The records grow past the limit when decompressed.
    #[error("records decompress to more than {limit} bytes")]
    Inflated {
        /// The limit in bytes.
        limit: usize,
    },
    /// A record timestamp is outside what can be stored or what the topic allows.
    #[error("timestamp {timestamp} of record {index} is {reason}")]
    Timestamp {
        /// Position of the record in the batch, from 0.
        index: i32,
        /// The timestamp in milliseconds, or the nearest there is if it overflows.
        timestamp: i64,
        /// Which limit it breaks.
        reason: &'static str,
    },
    /// A producer set the log-append-time bit, which is the broker's.
    #[error("a producer may not set the timestamp type to log append time")]
    TimestampType,
    /// The batch is larger than the limit.
    #[error("record batch of {bytes} bytes is larger than the limit of {max}")]
    TooLarge {
        /// Size of the batch or of the part that is too large.
        bytes: usize,
        /// The limit in bytes.
        max: usize,
    },
}

/// What a caller does about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Damaged: framing or CRC. Sent again, it may arrive whole.
    Corrupt,
    /// Well framed and not acceptable: sent again, it will be refused again.
    Invalid,
    /// A timestamp that cannot be stored or is outside the topic's limits.
    InvalidTimestamp,
    /// Message format 0 or 1.
    UnsupportedFormat,
    /// Over a size limit.
    TooLarge,
}

impl Error {
    /// Groups the errors by what a caller does about them.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Truncated { .. } | Self::Length(_) | Self::Magic(_) | Self::Crc { .. } => ErrorKind::Corrupt,
            Self::UnsupportedFormat(_) => ErrorKind::UnsupportedFormat,
            Self::Batch(_) | Self::Record { .. } | Self::Codec(_) | Self::Compressed { .. } | Self::Inflated { .. } => {
                ErrorKind::Invalid
            }
            Self::Timestamp { .. } | Self::TimestampType => ErrorKind::InvalidTimestamp,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
        }
    }
}
