//! The register of a lane: trim pointer and end.

use runnel_blob::{Bucket, CasOutcome, Key, Register};
use runnel_format::wal::LaneHeader;
use uuid::Uuid;

use crate::Error;

pub(crate) fn decode(lane: Uuid, register: &Register) -> Result<LaneHeader, Error> {
    let key = Key::LaneHeader { lane };
    let header = LaneHeader::decode(&register.payload).map_err(|source| Error::stored(&key, source))?;
    if header.lane == lane { Ok(header) } else { Err(corrupt(lane, "belongs elsewhere")) }
}

fn corrupt(lane: Uuid, reason: &'static str) -> Error {
    Error::stored(&Key::LaneHeader { lane }, runnel_format::Error::Corrupt { what: "WAL lane header", reason })
}

/// A header that was there, and is kept for ever, is not.
pub(crate) fn vanished(lane: Uuid) -> Error {
    corrupt(lane, "it is gone")
}

/// The header of a lane; `None` if it has none yet.
pub(crate) async fn load(bucket: &Bucket, lane: Uuid) -> Result<Option<LaneHeader>, Error> {
    let found = bucket.read_register(&Key::LaneHeader { lane }).await?;
    found.map(|register| decode(lane, &register)).transpose()
}

/// Reads the header anew and lets `change` say what it should be; `None` leaves it. Repeats that until it is so, and
/// returns what the header is then. `change` sees `None` where there is no header.
pub(crate) async fn update(
    bucket: &Bucket,
    lane: Uuid,
    mut change: impl FnMut(Option<&LaneHeader>) -> Option<LaneHeader>,
) -> Result<Option<LaneHeader>, Error> {
    let key = Key::LaneHeader { lane };
    let mut found = bucket.read_register(&key).await?;
    loop {
        let header = found.as_ref().map(|register| decode(lane, register)).transpose()?;
        let Some(changed) = change(header.as_ref()) else { return Ok(header) };
        let outcome = match &found {
            None => bucket.create_register(&key, changed.encode()).await?,
            Some(register) => bucket.replace_register(&key, &register.version, changed.encode()).await?,
        };
        match outcome {
            CasOutcome::Done(_) => return Ok(Some(changed)),
            CasOutcome::Conflict(now) => found = now,
        }
    }
}
