//! How segments are encoded.

use std::fmt;
use std::str::FromStr;

use parquet::basic::{Compression, ZstdLevel};
use runnel_record::TopicId;

/// What [`encode`](crate::encode()) must know besides the batches.
#[derive(Debug, Clone)]
pub struct EncodeOptions {
    /// The topic incarnation; kept in the footer.
    pub topic: TopicId,
    /// Partition number; kept in the footer and in every row.
    pub partition: i32,
    /// Compression of the pages.
    pub compression: ParquetCodec,
}

/// Compression of Parquet pages (`runnel.segment.compression`): `none`, `snappy`, `lz4`, `zstd` or `zstd:LEVEL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParquetCodec {
    /// No compression.
    None,
    /// Snappy.
    Snappy,
    /// LZ4 as a raw block.
    Lz4,
    /// Zstandard at a level of 1 to 22.
    Zstd(u8),
}

impl Default for ParquetCodec {
    fn default() -> Self {
        Self::Zstd(1)
    }
}

impl ParquetCodec {
    /// The writer's word for it; a level out of range falls to the nearest.
    pub(crate) fn to_parquet(self) -> Compression {
        match self {
            Self::None => Compression::UNCOMPRESSED,
            Self::Snappy => Compression::SNAPPY,
            Self::Lz4 => Compression::LZ4_RAW,
            Self::Zstd(level) => {
                Compression::ZSTD(ZstdLevel::try_new(i32::from(level.clamp(1, 22))).unwrap_or_default())
            }
        }
    }
}

impl FromStr for ParquetCodec {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "none" => Ok(Self::None),
            "snappy" => Ok(Self::Snappy),
            "lz4" => Ok(Self::Lz4),
            "zstd" => Ok(Self::default()),
            other => other
                .strip_prefix("zstd:")
                .and_then(|level| level.parse().ok())
                .filter(|level| (1..=22).contains(level))
                .map(Self::Zstd)
                .ok_or_else(|| format!("`{s}` is not one of none, snappy, lz4, zstd, zstd:1 to zstd:22")),
        }
    }
}

impl fmt::Display for ParquetCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Snappy => f.write_str("snappy"),
            Self::Lz4 => f.write_str("lz4"),
            Self::Zstd(level) => write!(f, "zstd:{level}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn codecs_read_back_what_they_print() {
        for codec in [ParquetCodec::None, ParquetCodec::Snappy, ParquetCodec::Lz4, ParquetCodec::Zstd(7)] {
            assert_eq!(codec.to_string().parse::<ParquetCodec>().unwrap(), codec);
        }
        assert_eq!("zstd".parse::<ParquetCodec>().unwrap(), ParquetCodec::Zstd(1));
        for bad in ["", "gzip", "zstd:0", "zstd:23", "zstd:x", "ZSTD"] {
            assert!(bad.parse::<ParquetCodec>().unwrap_err().contains("zstd:22"), "{bad}");
        }
    }
}
