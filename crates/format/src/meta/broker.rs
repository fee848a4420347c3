//! Values of the brokers that are alive.

use bytes::Bytes;
use uuid::Uuid;

use super::Kind;
use crate::{Error, Levels};

const BROKER: Kind = Kind { what: "a broker record", magic: *b"rnBR", version: 1 };
const BUILD: Kind = Kind { what: "the record of a broker's build", magic: *b"rnBU", version: 1 };
const CONTROLLER: Kind = Kind { what: "the controller record", magic: *b"rnCO", version: 1 };

/// A broker that is alive: `live/<number>` in the metadata store, under the lease of its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerRecord {
    /// Its present incarnation.
    pub session: u64,
    /// The disk that it writes to.
    pub disk_id: Uuid,
    /// The broker's name, `node.id`.
    pub name: String,
    /// `node.zone`.
    pub zone: Option<String>,
    /// It is to lead nothing any more.
    pub is_draining: bool,
    /// Where Kafka clients reach it.
    pub kafka: HostPort,
    /// Where gRPC clients and other brokers reach it.
    pub grpc: HostPort,
}

/// An address to be dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// A name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// What a broker that is alive was built from: `build/<number>` in the metadata store, under the lease of its session.
/// Apart from [`BrokerRecord`], because releases from before it refuse one with more fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildRecord {
    /// The incarnation that says so. A release from before this record leaves that of an incarnation before it.
    pub session: u64,
    /// The release, for people.
    pub version: String,
    /// What it supports.
    pub levels: Levels,
}

/// The controller: `controller` in the metadata store, under the lease of its session. The revision that created the key
/// is its token: every transaction of the controller compares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControllerRecord {
    /// Its number.
    pub broker: i32,
    /// Its incarnation.
    pub session: u64,
}

impl BrokerRecord {
    /// The stored bytes.
    pub fn encode(&self) -> Bytes {
        BROKER.seal(|w| {
            w.u64(self.session).uuid(self.disk_id).string(&self.name).u8(u8::from(self.zone.is_some()));
            if let Some(zone) = &self.zone {
                w.string(zone);
            }
            w.u8(u8::from(self.is_draining));
            for at in [&self.kafka, &self.grpc] {
                w.string(&at.host).u32(u32::from(at.port));
            }
        })
    }

    /// Reads stored bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        BROKER.open(bytes, |kind, r| {
            let (session, disk_id, name) = (r.u64()?, r.uuid()?, r.string()?.to_owned());
            let zone = if kind.flag(r)? { Some(r.string()?.to_owned()) } else { None };
            let is_draining = kind.flag(r)?;
            let mut at = || {
                let host = r.string()?.to_owned();
                let port = u16::try_from(r.u32()?).map_err(|_| kind.corrupt("a port that is none"))?;
                Ok::<_, Error>(HostPort { host, port })
            };
            Ok(Self { session, disk_id, name, zone, is_draining, kafka: at()?, grpc: at()? })
        })
    }
}

impl BuildRecord {
    /// The stored bytes.
    pub fn encode(&self) -> Bytes {
        BUILD.seal(|w| {
            w.u64(self.session).string(&self.version).u32(self.levels.lowest).u32(self.levels.highest);
        })
    }

    /// Reads stored bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        BUILD.open(bytes, |kind, r| {
            let (session, version) = (r.u64()?, r.string()?.to_owned());
            let levels = Levels { lowest: r.u32()?, highest: r.u32()? };
            if levels.lowest == 0 || levels.lowest > levels.highest {
                return Err(kind.corrupt("a range of levels that is none"));
            }
            Ok(Self { session, version, levels })
        })
    }
}

impl ControllerRecord {
    /// The stored bytes.
    pub fn encode(&self) -> Bytes {
        CONTROLLER.seal(|w| {
            w.i32(self.broker).u64(self.session);
        })
    }

    /// Reads stored bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        CONTROLLER.open(bytes, |_, r| Ok(Self { broker: r.i32()?, session: r.u64()? }))
    }
}
