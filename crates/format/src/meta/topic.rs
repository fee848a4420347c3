//! Values of a topic.

use std::collections::BTreeMap;

use bytes::Bytes;
use runnel_record::TopicId;

use super::Kind;
use crate::Error;
use crate::codec::{Reader, Writer};

const TOPIC: Kind = Kind { what: "a topic record", magic: *b"rnTR", version: 1 };
const NAME: Kind = Kind { what: "the claim of a topic name", magic: *b"rnTN", version: 1 };
const TOMBSTONE: Kind = Kind { what: "a topic tombstone", magic: *b"rnTD", version: 1 };

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
