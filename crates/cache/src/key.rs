//! Keys and values as the disk tier stores them.
//!
//! Both are types of our own, so that their bytes do not change when some other crate turns on foyer's `serde`
//! feature, and so that a length from the disk is checked before it is allocated.

use std::io::{Read, Write};

use bytes::Bytes;
use foyer::{Code, Error, ErrorKind, Result};
use uuid::Uuid;

/// Bytes of an encoded key.
pub(crate) const KEY_BYTES: usize = 20;
/// Bytes of memory set aside for a value before its bytes have come.
const MAX_PREALLOCATED: usize = 4 << 20;

/// Names one run of one segment. Both are immutable, so what a key stands for never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockKey {
    /// The segment object.
    pub segment: Uuid,
    /// Number of the run in the segment.
    pub run: u32,
}

impl Code for BlockKey {
    fn encode(&self, writer: &mut impl Write) -> Result<()> {
        writer.write_all(self.segment.as_bytes()).map_err(Error::io_error)?;
        writer.write_all(&self.run.to_le_bytes()).map_err(Error::io_error)
    }

    fn decode(reader: &mut impl Read) -> Result<Self> {
        let (mut segment, mut run) = ([0; 16], [0; 4]);
        reader.read_exact(&mut segment).map_err(Error::io_error)?;
        reader.read_exact(&mut run).map_err(Error::io_error)?;
        Ok(Self { segment: Uuid::from_bytes(segment), run: u32::from_le_bytes(run) })
    }

    fn estimated_size(&self) -> usize {
        KEY_BYTES
    }
}

/// The bytes of a run: on disk a length (u64) and the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run(pub(crate) Bytes);

impl Code for Run {
    fn encode(&self, writer: &mut impl Write) -> Result<()> {
        writer.write_all(&(self.0.len() as u64).to_le_bytes()).map_err(Error::io_error)?;
        writer.write_all(&self.0).map_err(Error::io_error)
    }

    fn decode(reader: &mut impl Read) -> Result<Self> {
        let mut len = [0; 8];
        reader.read_exact(&mut len).map_err(Error::io_error)?;
        let len = u64::from_le_bytes(len);
        let expected = usize::try_from(len).unwrap_or(usize::MAX);
        let mut bytes = Vec::with_capacity(expected.min(MAX_PREALLOCATED));
        reader.take(len).read_to_end(&mut bytes).map_err(Error::io_error)?;
        if bytes.len() == expected {
            Ok(Self(bytes.into()))
        } else {
            Err(Error::new(ErrorKind::OutOfRange, "a run shorter than its length"))
        }
    }

    fn estimated_size(&self) -> usize {
        8 + self.0.len()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn keys_and_runs_round_trip() {
        let key = BlockKey { segment: Uuid::from_u128(0x1234 << 64), run: 0xdead_beef };
        let mut bytes = Vec::new();
        key.encode(&mut bytes).unwrap();
        assert_eq!(bytes.len(), key.estimated_size());
        assert_eq!(BlockKey::decode(&mut &bytes[..]).unwrap(), key);
        for len in [0, 1, 70_000] {
            let run = Run(vec![7; len].into());
            let mut bytes = Vec::new();
            run.encode(&mut bytes).unwrap();
            assert_eq!(bytes.len(), run.estimated_size());
            assert_eq!(Run::decode(&mut &bytes[..]).unwrap(), run);
        }
    }

    #[test]
    fn a_length_beyond_the_data_is_an_error() {
        for len in [4, u64::from(u32::MAX), u64::MAX] {
            let bytes = [&len.to_le_bytes()[..], b"abc"].concat();
            assert_eq!(Run::decode(&mut &bytes[..]).unwrap_err().kind(), ErrorKind::OutOfRange, "{len}");
        }
    }
}
