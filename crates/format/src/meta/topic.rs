//! Values of a topic and its partitions.

use std::collections::BTreeMap;

use bytes::Bytes;
use runnel_record::{LeaderEpoch, Offset, TopicId};

use super::Kind;
use crate::Error;
use crate::codec::{Reader, Writer};
use crate::manifest::EpochStart;

const TOPIC: Kind = Kind { what: "a topic record", magic: *b"rnTR" };
const NAME: Kind = Kind { what: "the claim of a topic name", magic: *b"rnTN" };
const TOMBSTONE: Kind = Kind { what: "a topic tombstone", magic: *b"rnTD" };
const PARTITION: Kind = Kind { what: "a partition record", magic: *b"rnPR" };

/// One incarnation of a topic: the register `meta/topics/<id>`, and the metadata store's copy of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicRecord {
    /// The name.
    pub name: String,
    /// The id, never reused.
    pub id: TopicId,
    /// Number of partitions, at least 1.
    pub partitions: i32,
    /// As requested; it moves no data.
    pub replication_factor: i16,
    /// The settings that differ from the defaults.
    pub configs: BTreeMap<String, String>,
    /// When it was created, milliseconds since the Unix epoch.
    pub created_ms: i64,
}

impl TopicRecord {
    /// The stored bytes.
    pub fn encode(&self) -> Bytes {
        TOPIC.seal(|w| {
            w.string(&self.name).uuid(self.id.0).i32(self.partitions).i16(self.replication_factor);
            w.i64(self.created_ms);
            put_configs(w, &self.configs);
        })
    }

    /// Reads stored bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        TOPIC.open(bytes, |kind, r| {
            let (name, id) = (r.string()?.to_owned(), TopicId(r.uuid()?));
            let (partitions, replication_factor, created_ms) = (r.i32()?, r.i16()?, r.i64()?);
            if partitions < 1 {
                return Err(kind.corrupt("a topic without partitions"));
            }
            Ok(Self { name, id, partitions, replication_factor, configs: configs(kind, r)?, created_ms })
        })
    }
}

pub(super) fn put_configs(w: &mut Writer, configs: &BTreeMap<String, String>) {
    w.u32(u32::try_from(configs.len()).unwrap_or(u32::MAX));
    for (key, value) in configs {
        w.string(key).string(value);
    }
}

/// Ascending keys, each once: one set of settings has one encoding.
pub(super) fn configs(kind: &Kind, r: &mut Reader<'_>) -> Result<BTreeMap<String, String>, Error> {
    let mut configs = BTreeMap::new();
    for _ in 0..r.count(8)? {
        let (key, value) = (r.string()?, r.string()?);
        if configs.last_key_value().is_some_and(|(last, _): (&String, _)| last.as_str() >= key) {
            return Err(kind.corrupt("settings out of order"));
        }
        configs.insert(key.to_owned(), value.to_owned());
    }
    Ok(configs)
}

/// Whom a topic name belongs to: the register `meta/names/<name>`, claimed by compare-and-swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameClaim {
    /// The latest incarnation; free again once that has a [`Tombstone`].
    pub id: TopicId,
}

impl NameClaim {
    /// The stored bytes.
    pub fn encode(&self) -> Bytes {
        NAME.seal(|w| {
            w.uuid(self.id.0);
        })
    }

    /// Reads stored bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        NAME.open(bytes, |_, r| Ok(Self { id: TopicId(r.uuid()?) }))
    }
}

/// That a topic was deleted: the register `meta/tombstones/<id>`, kept for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// The name it had.
    pub name: String,
    /// Its id.
    pub id: TopicId,
    /// When, milliseconds since the Unix epoch.
    pub deleted_ms: i64,
}

impl Tombstone {
    /// The stored bytes.
    pub fn encode(&self) -> Bytes {
        TOMBSTONE.seal(|w| {
            w.string(&self.name).uuid(self.id.0).i64(self.deleted_ms);
        })
    }

    /// Reads stored bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        TOMBSTONE
            .open(bytes, |_, r| Ok(Self { name: r.string()?.to_owned(), id: TopicId(r.uuid()?), deleted_ms: r.i64()? }))
    }
}

/// A partition as its only broker knows it: `p/<topic id>/<partition>` in the metadata store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionRecord {
    /// The last epoch handed out, 0 if none was.
    pub epoch: LeaderEpoch,
    /// Whether no root was ever committed, so that an absent root means an empty partition and not a lost one.
    pub never_shipped: bool,
    /// Where the epochs begin that the last root does not know yet, by ascending epoch.
    pub starts: Vec<EpochStart>,
    /// The encoded root last seen in the bucket and its version there, so that the partition opens while the bucket
    /// does not answer.
    pub last_root: Option<(Bytes, String)>,
}

impl PartitionRecord {
    /// The stored bytes.
    pub fn encode(&self) -> Bytes {
        PARTITION.seal(|w| {
            w.i32(self.epoch.0).u8(u8::from(self.never_shipped));
            w.u32(u32::try_from(self.starts.len()).unwrap_or(u32::MAX));
            for start in &self.starts {
                w.i32(start.epoch.0).i64(start.start.0);
            }
            w.u8(u8::from(self.last_root.is_some()));
            if let Some((root, version)) = &self.last_root {
                w.bytes(root).string(version);
            }
        })
    }

    /// Reads stored bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        PARTITION.open(bytes, |kind, r| {
            let epoch = LeaderEpoch(r.i32()?);
            kind.natural(i64::from(epoch.0))?;
            let (never_shipped, starts) = (kind.flag(r)?, starts(kind, r)?);
            let last_root =
                if kind.flag(r)? { Some((Bytes::copy_from_slice(r.bytes()?), r.string()?.to_owned())) } else { None };
            Ok(Self { epoch, never_shipped, starts, last_root })
        })
    }
}

fn starts(kind: &Kind, r: &mut Reader<'_>) -> Result<Vec<EpochStart>, Error> {
    let count = r.count(12)?;
    let mut starts: Vec<EpochStart> = Vec::with_capacity(count);
    for _ in 0..count {
        let next = EpochStart { epoch: LeaderEpoch(r.i32()?), start: Offset(r.i64()?) };
        kind.natural(i64::from(next.epoch.0))?;
        kind.natural(next.start.0)?;
        // Their offsets may fall: an operator who accepts a loss starts an epoch below the one before.
        if starts.last().is_some_and(|last| last.epoch >= next.epoch) {
            return Err(kind.corrupt("epochs out of order"));
        }
        starts.push(next);
    }
    Ok(starts)
}
