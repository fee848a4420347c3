//! Metadata values: what is stored about the cluster, topics, partitions and producer ids, in the metadata store, in
//! the bucket's registers and in the data directory. Layout: `docs/formats/metadata.md`.
//!
//! Each value is an envelope of its own kind (magic), so that a value read from the wrong key is an error.

mod cluster;
mod settings;
mod topic;

#[cfg(test)]
mod tests;

pub use cluster::{BrokerSession, ClusterRecord, Identity, ProducerBlocks};
pub use settings::ClusterSettings;
pub use topic::{NameClaim, PartitionRecord, Tombstone, TopicRecord};

use bytes::Bytes;

use crate::Error;
use crate::codec::{self, Reader, Writer};

/// The layout version that this release writes, and the newest it reads.
const VERSION: u16 = 1;

/// A value's name in errors and the magic of its envelope.
struct Kind {
    what: &'static str,
    magic: [u8; 4],
}

impl Kind {
    fn seal(&self, write: impl FnOnce(&mut Writer)) -> Bytes {
        let mut w = Writer::default();
        write(&mut w);
        codec::seal(self.magic, VERSION, &w.0)
    }

    fn open<'a, T>(
        &self,
        bytes: &'a [u8],
        read: impl FnOnce(&Self, &mut Reader<'a>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let (_, payload) = codec::open(self.what, self.magic, VERSION, bytes)?;
        let mut r = Reader::new(self.what, payload);
        let value = read(self, &mut r)?;
        r.finish()?;
        Ok(value)
    }

    const fn corrupt(&self, reason: &'static str) -> Error {
        Error::Corrupt { what: self.what, reason }
    }

    /// A byte that is 0 or 1.
    fn flag(&self, r: &mut Reader<'_>) -> Result<bool, Error> {
        match r.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.corrupt("a flag that is neither 0 nor 1")),
        }
    }

    /// An id that is 0 or more.
    fn natural(&self, value: i64) -> Result<i64, Error> {
        if value < 0 { Err(self.corrupt("a negative number")) } else { Ok(value) }
    }
}
