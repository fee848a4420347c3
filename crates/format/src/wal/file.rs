//! The header of a lane file.

use bytes::Bytes;
use uuid::Uuid;

use super::{PAGE, VERSION};
use crate::Error;
use crate::codec::{Reader, Writer};

/// Bytes in front of the first block: the header twice, on a page of its own each, so that one bad sector does not
/// make a whole file unreadable.
pub const FILE_HEADER_LEN: usize = 2 * PAGE;

const MAGIC: [u8; 8] = *b"RNL-WALF";
const WHAT: &str = "WAL file header";
const CRC_AT: usize = PAGE - 4;

/// Which file of which lane this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileHeader {
    /// The lane; never reused.
    pub lane: Uuid,
    /// Identity of the disk that the lane lives on.
    pub disk: Uuid,
    /// The session that writes the lane.
    pub session: u64,
    /// Age rank of the lane among those of its disk.
    pub generation: u64,
    /// Drawn anew for every life of the file.
    pub salt: u64,
    /// Number of the file in the lane, from 1.
    pub file: u64,
    /// Length of the file in bytes.
    pub len: u64,
}

impl FileHeader {
    /// What every CRC in the file starts from.
    pub fn seed(&self) -> u32 {
        let seed = crc32c::crc32c(self.lane.as_bytes());
        let seed = crc32c::crc32c_append(seed, &self.salt.to_le_bytes());
        crc32c::crc32c_append(seed, &self.file.to_le_bytes())
    }

    /// The [`FILE_HEADER_LEN`] bytes at the start of the file.
    pub fn encode(&self) -> Bytes {
        let mut w = Writer::default();
        w.raw(&MAGIC).u16(VERSION).u16(0).u32(0).uuid(self.lane).uuid(self.disk);
        w.u64(self.session).u64(self.generation).u64(self.salt).u64(self.file).u64(self.len);
        w.0.resize(CRC_AT, 0);
        let crc = crc32c::crc32c(&w.0);
        w.u32(crc);
        let page = w.0.split().freeze();
        w.raw(&page).raw(&page);
        w.0.freeze()
    }

    /// Reads the header from the first bytes of a file: the first copy that is whole.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut first_error = None;
        for page in bytes.chunks_exact(PAGE).take(2) {
            match Self::decode_page(page) {
                Err(error @ Error::Corrupt { .. }) => first_error = first_error.or(Some(error)),
                other => return other,
            }
        }
        Err(first_error.unwrap_or(Error::Corrupt { what: WHAT, reason: "shorter than its header" }))
    }

    fn decode_page(page: &[u8]) -> Result<Self, Error> {
        let mut r = Reader::new(WHAT, page);
        if r.array::<8>()? != MAGIC {
            return Err(Error::Corrupt { what: WHAT, reason: "wrong magic" });
        }
        // The CRC stands at the same place in all versions: a flipped bit must not look like a newer release.
        if Reader::new(WHAT, &page[CRC_AT..]).u32()? != crc32c::crc32c(&page[..CRC_AT]) {
            return Err(Error::Corrupt { what: WHAT, reason: "CRC mismatch" });
        }
        let version = r.u16()?;
        if version == 0 || version > VERSION {
            return Err(Error::NewerFormat { what: WHAT, found: version, newest: VERSION });
        }
        r.u16()?;
        r.u32()?;
        Ok(Self {
            lane: r.uuid()?,
            disk: r.uuid()?,
            session: r.u64()?,
            generation: r.u64()?,
            salt: r.u64()?,
            file: r.u64()?,
            len: r.u64()?,
        })
    }
}
