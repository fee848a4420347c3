//! What is durable about a lane apart from its blocks: where it starts, where it ends, which losses were accepted.

use bytes::Bytes;
use uuid::Uuid;

use super::{SPAN_LEN, Span, VERSION};
use crate::Error;
use crate::codec::{self, Reader, Writer};

const MAGIC: [u8; 4] = *b"RWST";
const WHAT: &str = "WAL lane state";

/// The `state` file of a lane, replaced as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneState {
    /// The lane; never reused.
    pub lane: Uuid,
    /// Identity of the disk that the lane lives on.
    pub disk: Uuid,
    /// The session that wrote the lane.
    pub session: u64,
    /// Age rank of the lane among those of its disk.
    pub generation: u64,
    /// The trim pointer: files below this number hold nothing that is needed.
    pub first_file: u64,
    /// Number of the first block in `first_file`.
    pub first_seq: u64,
    /// Set when the lane is sealed: nothing past it is ever read.
    pub end: Option<LaneEnd>,
    /// Ranges whose loss an operator accepted.
    pub accepted: Vec<Span>,
}

/// Where a sealed lane ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneEnd {
    /// The last file that is read in place.
    pub last_file: u64,
    /// Where in `last_file` the lane goes on in the seal file.
    pub position: u64,
    /// Number of the seal file: a synced copy of the unsynced tail, and a footer.
    pub seal_file: u64,
    /// Number of that footer, the last block of the lane.
    pub last_seq: u64,
}

impl LaneState {
    /// The bytes of the file: the envelope twice, so that one bad sector does not make a lane unreadable.
    pub fn encode(&self) -> Bytes {
        let mut w = Writer::default();
        w.uuid(self.lane).uuid(self.disk).u64(self.session).u64(self.generation);
        w.u64(self.first_file).u64(self.first_seq);
        match &self.end {
            None => w.u8(0),
            Some(end) => w.u8(1).u64(end.last_file).u64(end.position).u64(end.seal_file).u64(end.last_seq),
        };
        w.u32(u32::try_from(self.accepted.len()).unwrap_or(u32::MAX));
        for span in &self.accepted {
            span.encode(&mut w.0);
        }
        let one = codec::seal(MAGIC, VERSION, &w.0);
        [one.as_ref(), one.as_ref()].concat().into()
    }

    /// Reads the file: the first copy that is whole.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let (first, second) = bytes.split_at(bytes.len() / 2);
        // The version is outside the CRC of the envelope, so also "newer" is believed only of both copies.
        Self::decode_one(first).or_else(|error| Self::decode_one(second).map_err(|_| error))
    }

    fn decode_one(bytes: &[u8]) -> Result<Self, Error> {
        let (_, payload) = codec::open(WHAT, MAGIC, VERSION, bytes)?;
        let mut r = Reader::new(WHAT, payload);
        let mut state = Self {
            lane: r.uuid()?,
            disk: r.uuid()?,
            session: r.u64()?,
            generation: r.u64()?,
            first_file: r.u64()?,
            first_seq: r.u64()?,
            end: None,
            accepted: Vec::new(),
        };
        state.end = match r.u8()? {
            0 => None,
            1 => Some(LaneEnd { last_file: r.u64()?, position: r.u64()?, seal_file: r.u64()?, last_seq: r.u64()? }),
            _ => return Err(Error::Corrupt { what: WHAT, reason: "unknown end" }),
        };
        for _ in 0..r.count(SPAN_LEN)? {
            state.accepted.push(Span::decode(&mut r)?);
        }
        r.finish()?;
        Ok(state)
    }
}
