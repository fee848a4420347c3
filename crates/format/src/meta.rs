//! Metadata values: what is stored about the cluster, topics, partitions and producer ids, in the metadata store, in
//! the bucket's registers and in the data directory. Layout: `docs/formats/metadata.md`.
//!
//! Each value is an envelope of its own kind (magic), so that a value read from the wrong key is an error.

mod broker;
mod cluster;
mod partition;
mod session;
mod settings;
mod topic;

#[cfg(test)]
mod tests;

pub use broker::{BrokerRecord, BuildRecord, ControllerRecord, HostPort};
pub use cluster::{BrokerSession, ClusterRecord, Identity, ProducerBlocks};
pub use partition::{Leadership, PartitionRecord, TailSession};
pub use session::{SessionLane, SessionRecord, SessionState};
pub use settings::ClusterSettings;
pub use topic::{NameClaim, Tombstone, TopicRecord};

use bytes::Bytes;

use crate::Error;
use crate::codec::{self, Reader, Writer};

/// How far what is acknowledged reaches, as stored in records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Durability {
    /// On the broker's own disk.
    Local = 1,
    /// In the bucket.
    Object = 2,
}

/// A value's name in errors, the magic of its envelope, and the layout version that this release writes, which is the
/// newest that it reads.
struct Kind {
    what: &'static str,
    magic: [u8; 4],
    version: u16,
}

impl Kind {
    fn seal(&self, write: impl FnOnce(&mut Writer)) -> Bytes {
        self.seal_as(self.version, write)
    }

    /// As [`Kind::seal`], in a layout of before.
    fn seal_as(&self, version: u16, write: impl FnOnce(&mut Writer)) -> Bytes {
        let mut w = Writer::default();
        write(&mut w);
        codec::seal(self.magic, version, &w.0)
    }

    fn open<'a, T>(
        &self,
        bytes: &'a [u8],
        read: impl FnOnce(&Self, &mut Reader<'a>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.open_version(bytes, |kind, _, r| read(kind, r))
    }

    /// As [`Kind::open`], for a value that has older layouts: the version comes along.
    fn open_version<'a, T>(
        &self,
        bytes: &'a [u8],
        read: impl FnOnce(&Self, u16, &mut Reader<'a>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let (version, payload) = codec::open(self.what, self.magic, self.version, bytes)?;
        let mut r = Reader::new(self.what, payload);
        let value = read(self, version, &mut r)?;
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

    fn durability(&self, r: &mut Reader<'_>) -> Result<Durability, Error> {
        match r.u8()? {
            1 => Ok(Durability::Local),
            2 => Ok(Durability::Object),
            _ => Err(self.corrupt("an unknown durability")),
        }
    }

    /// An id that is 0 or more.
    fn natural(&self, value: i64) -> Result<i64, Error> {
        if value < 0 { Err(self.corrupt("a negative number")) } else { Ok(value) }
    }
}
