//! Value of a partition.

use bytes::Bytes;
use runnel_record::{LeaderEpoch, Offset};

use super::{Durability, Kind};
use crate::Error;
use crate::codec::Reader;
use crate::manifest::EpochStart;

const PARTITION: Kind = Kind { what: "a partition record", magic: *b"rnPR", version: 3 };

/// A partition: `p/<topic id>/<partition>` in the metadata store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionRecord {
    /// The last epoch handed out, 0 if none was.
    pub epoch: LeaderEpoch,
    /// Who leads it in a cluster. On a single node that goes without saying.
    pub leader: Option<Leadership>,
    /// Whether no root was ever committed, so that an absent root means an empty partition and not a lost one.
    pub never_shipped: bool,
    /// Where the epochs begin that the last root does not know yet, by ascending epoch.
    pub starts: Vec<EpochStart>,
    /// The encoded root last seen in the bucket and its version there, so that the partition of a single node opens
    /// while the bucket does not answer.
    pub last_root: Option<(Bytes, String)>,
    /// The sessions whose lanes may hold what is not in a segment yet, in the order of their epochs.
    pub tail: Vec<TailSession>,
}

/// Who leads a partition (protocol §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leadership {
    /// The session that was told to.
    pub session: u64,
    /// Whether it serves: OPEN, not RECOVERING.
    pub is_open: bool,
    /// The session that it is asked to hand over to.
    pub move_to: Option<u64>,
}

/// A session that led a partition for some of its unshipped log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TailSession {
    /// The session.
    pub session: u64,
    /// The class of its lanes that may hold something: the bucket's, if it used those of both classes.
    pub durability: Durability,
    /// First offset that it may have written.
    pub from: Offset,
    /// Where its successor began; open while it leads.
    pub to: Option<Offset>,
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
            w.u32(u32::try_from(self.tail.len()).unwrap_or(u32::MAX));
            for part in &self.tail {
                w.u64(part.session).u8(part.durability as u8).i64(part.from.0).u8(u8::from(part.to.is_some()));
                if let Some(to) = part.to {
                    w.i64(to.0);
                }
            }
            w.u8(u8::from(self.leader.is_some()));
            if let Some(leader) = &self.leader {
                w.u64(leader.session).u8(u8::from(leader.is_open)).u8(u8::from(leader.move_to.is_some()));
                if let Some(to) = leader.move_to {
                    w.u64(to);
                }
            }
        })
    }

    /// Reads stored bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        PARTITION.open_version(bytes, |kind, version, r| {
            let epoch = LeaderEpoch(r.i32()?);
            kind.natural(i64::from(epoch.0))?;
            let (never_shipped, starts) = (kind.flag(r)?, starts(kind, r)?);
            let last_root =
                if kind.flag(r)? { Some((Bytes::copy_from_slice(r.bytes()?), r.string()?.to_owned())) } else { None };
            let tail = if version > 1 { tail(kind, r)? } else { Vec::new() };
            let leader = if version > 2 && kind.flag(r)? { Some(leadership(kind, r)?) } else { None };
            Ok(Self { epoch, leader, never_shipped, starts, last_root, tail })
        })
    }
}

fn leadership(kind: &Kind, r: &mut Reader<'_>) -> Result<Leadership, Error> {
    let (session, is_open) = (r.u64()?, kind.flag(r)?);
    let move_to = if kind.flag(r)? { Some(r.u64()?) } else { None };
    Ok(Leadership { session, is_open, move_to })
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

fn tail(kind: &Kind, r: &mut Reader<'_>) -> Result<Vec<TailSession>, Error> {
    let count = r.count(18)?;
    let mut tail: Vec<TailSession> = Vec::with_capacity(count);
    for _ in 0..count {
        let (session, durability, from) = (r.u64()?, kind.durability(r)?, Offset(kind.natural(r.i64()?)?));
        let to = if kind.flag(r)? { Some(Offset(kind.natural(r.i64()?)?)) } else { None };
        if to.is_some_and(|to| to < from) {
            return Err(kind.corrupt("a session that ends before it begins"));
        }
        tail.push(TailSession { session, durability, from, to });
    }
    Ok(tail)
}
