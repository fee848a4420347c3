//! Value of a session.

use bytes::Bytes;
use uuid::Uuid;

use super::{Durability, Kind};
use crate::Error;

const SESSION: Kind = Kind { what: "a session record", magic: *b"rnSE", version: 1 };

/// One incarnation of a broker: `s/<session>` in the metadata store (protocol §4.1). Kept until nothing that its lanes
/// hold is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRecord {
    /// The broker's name.
    pub node_name: String,
    /// The disk that it writes to.
    pub disk_id: Uuid,
    /// How far its end has come.
    pub state: SessionState,
    /// Its lanes. The first byte goes to a lane only after the lane is here.
    pub lanes: Vec<SessionLane>,
}

/// How far the end of a session has come; it only goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum SessionState {
    /// It may write, and add lanes.
    Active = 1,
    /// It adds no lanes any more; those that it has are being sealed, by whoever helps.
    Fencing = 2,
    /// The end of every lane is known.
    Sealed = 3,
}

/// A lane of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLane {
    /// The lane.
    pub id: Uuid,
    /// Where it is.
    pub durability: Durability,
    /// Where it ends, once it is sealed. The slot, for a lane in the bucket.
    pub end: Option<u64>,
}

impl SessionRecord {
    /// The stored bytes.
    pub fn encode(&self) -> Bytes {
        SESSION.seal(|w| {
            w.string(&self.node_name).uuid(self.disk_id).u8(self.state as u8);
            w.u32(u32::try_from(self.lanes.len()).unwrap_or(u32::MAX));
            for lane in &self.lanes {
                w.uuid(lane.id).u8(lane.durability as u8).u8(u8::from(lane.end.is_some()));
                if let Some(end) = lane.end {
                    w.u64(end);
                }
            }
        })
    }

    /// Reads stored bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        SESSION.open(bytes, |kind, r| {
            let (node_name, disk_id) = (r.string()?.to_owned(), r.uuid()?);
            let state = match r.u8()? {
                1 => SessionState::Active,
                2 => SessionState::Fencing,
                3 => SessionState::Sealed,
                _ => return Err(kind.corrupt("an unknown state")),
            };
            let mut lanes = Vec::new();
            for _ in 0..r.count(18)? {
                let (id, durability) = (r.uuid()?, kind.durability(r)?);
                let end = if kind.flag(r)? { Some(r.u64()?) } else { None };
                lanes.push(SessionLane { id, durability, end });
            }
            if state == SessionState::Sealed && lanes.iter().any(|lane| lane.end.is_none()) {
                return Err(kind.corrupt("a sealed session with an open lane"));
            }
            Ok(Self { node_name, disk_id, state, lanes })
        })
    }
}
