//! Values of the cluster and of one node.

use bytes::Bytes;
use uuid::Uuid;

use super::Kind;
use crate::codec::{self, Reader};
use crate::{Error, Levels};

const IDENTITY: Kind = Kind { what: "the identity of the data directory", magic: *b"rnID", version: 1 };
/// Version 2 has the fields of version 1. It is written from level 2 on, so that releases refuse it that know of no levels.
const CLUSTER: Kind = Kind { what: "the cluster record", magic: *b"rnCL", version: 2 };
const PRODUCERS: Kind = Kind { what: "the record of producer ids", magic: *b"rnPB", version: 1 };

/// Four bytes of [`Identity`] that nothing reads; the number that clients know a broker by is a setting.
const RESERVED: i32 = 0;

/// What a data directory belongs to: `<data_dir>/identity`, checked at every start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The cluster; the same as in [`ClusterRecord`].
    pub cluster_id: Uuid,
    /// The broker's name, `node.id`.
    pub node_name: String,
    /// Drawn at random when the directory was made; another disk has another one.
    pub disk_id: Uuid,
    /// The storage URL, as configured.
    pub storage_url: String,
}

impl Identity {
    /// The stored bytes.
    pub fn encode(&self) -> Bytes {
        IDENTITY.seal(|w| {
            w.uuid(self.cluster_id).string(&self.node_name).i32(RESERVED);
            w.uuid(self.disk_id).string(&self.storage_url);
        })
    }

    /// Reads stored bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        IDENTITY.open(bytes, |kind, r| {
            let (cluster_id, node_name) = (r.uuid()?, r.string()?.to_owned());
            if r.i32()? != RESERVED {
                return Err(kind.corrupt("reserved bytes that are not 0"));
            }
            Ok(Self { cluster_id, node_name, disk_id: r.uuid()?, storage_url: r.string()?.to_owned() })
        })
    }
}

/// What a bucket prefix belongs to: the register `cluster/id`. In whatever version, the fields up to the level are where they
/// are, so that any release can tell that it is too old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterRecord {
    /// The cluster.
    pub cluster_id: Uuid,
    /// Raised by every restore, so that brokers of before are fenced.
    pub era: u32,
    /// Which layouts are written, here and everywhere: [`Levels`].
    pub level: u32,
    /// The broker that may write, in embedded mode; claimed by compare-and-swap.
    pub session: Option<BrokerSession>,
}

/// One incarnation of the only broker of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerSession {
    /// Drawn at random at the start of the process; never reused.
    pub session: u64,
    /// The disk of [`Identity::disk_id`].
    pub disk_id: Uuid,
    /// The broker's name, for messages.
    pub node_name: String,
    /// When it started, milliseconds since the Unix epoch, for messages.
    pub started_ms: i64,
}

impl ClusterRecord {
    /// The stored bytes.
    pub fn encode(&self) -> Bytes {
        CLUSTER.seal_as(Self::version_at(self.level), |w| {
            w.uuid(self.cluster_id).u32(self.era).u32(self.level).u8(u8::from(self.session.is_some()));
            if let Some(s) = &self.session {
                w.u64(s.session).uuid(s.disk_id).string(&s.node_name).i64(s.started_ms);
            }
        })
    }

    /// Reads stored bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        CLUSTER.open_version(bytes, |kind, version, r| {
            let (cluster_id, era, level) = (r.uuid()?, r.u32()?, r.u32()?);
            if level == 0 || version != Self::version_at(level) {
                return Err(kind.corrupt("a level that does not belong to its version"));
            }
            let session = if kind.flag(r)? {
                let (session, disk_id) = (r.u64()?, r.uuid()?);
                Some(BrokerSession { session, disk_id, node_name: r.string()?.to_owned(), started_ms: r.i64()? })
            } else {
                None
            };
            Ok(Self { cluster_id, era, level, session })
        })
    }

    /// The level in stored bytes of any version, of newer releases too.
    pub fn level_of(bytes: &[u8]) -> Result<u32, Error> {
        let (_, payload) = codec::open(CLUSTER.what, CLUSTER.magic, u16::MAX, bytes)?;
        let mut r = Reader::new(CLUSTER.what, payload);
        r.uuid()?;
        r.u32()?;
        r.u32()
    }

    const fn version_at(level: u32) -> u16 {
        if level > Levels::UNTOLD.highest { 2 } else { 1 }
    }
}

/// How far producer ids are used up: the register `meta/pids`, raised by compare-and-swap before ids are given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerBlocks {
    /// The lowest id that nobody has taken.
    pub next: i64,
}

impl ProducerBlocks {
    /// The stored bytes.
    pub fn encode(&self) -> Bytes {
        PRODUCERS.seal(|w| {
            w.i64(self.next);
        })
    }

    /// Reads stored bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        PRODUCERS.open(bytes, |kind, r| Ok(Self { next: kind.natural(r.i64()?)? }))
    }
}
