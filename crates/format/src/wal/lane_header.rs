//! What is known of an object lane apart from its slots: where it starts and where it ends.

use bytes::Bytes;
use uuid::Uuid;

use super::VERSION;
use crate::Error;
use crate::codec::{self, Reader, Writer};

const MAGIC: [u8; 4] = *b"RWLH";
const WHAT: &str = "WAL lane header";

/// The value of the register `hdr` of a lane; changed by compare-and-swap only, kept for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneHeader {
    /// The lane; never reused.
    pub lane: Uuid,
    /// The session that writes the lane; 0 where the lane was sealed before its owner had made the header.
    pub session: u64,
    /// Slots below this number are not needed and may be gone. Never falls.
    pub trim: u64,
    /// Set once, when the lane is sealed: the first slot that is not part of it.
    pub end: Option<u64>,
}

impl LaneHeader {
    /// The stored bytes.
    pub fn encode(&self) -> Bytes {
        let mut w = Writer::default();
        w.uuid(self.lane).u64(self.session).u64(self.trim);
        match self.end {
            None => w.u8(0),
            Some(end) => w.u8(1).u64(end),
        };
        codec::seal(MAGIC, VERSION, &w.0)
    }

    /// Reads stored bytes.
    ///
    /// # Errors
    /// `Corrupt`, also where the start is behind the end; `NewerFormat`.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let (_, payload) = codec::open(WHAT, MAGIC, VERSION, bytes)?;
        let mut r = Reader::new(WHAT, payload);
        let (lane, session, trim) = (r.uuid()?, r.u64()?, r.u64()?);
        let end = match r.u8()? {
            0 => None,
            1 => Some(r.u64()?),
            _ => return Err(Error::Corrupt { what: WHAT, reason: "unknown end" }),
        };
        r.finish()?;
        if end.is_some_and(|end| end < trim) {
            return Err(Error::Corrupt { what: WHAT, reason: "it starts behind its end" });
        }
        Ok(Self { lane, session, trim, end })
    }
}
