//! Ends a lane for ever. Anybody may, at any time, and any number at once: all get the same end.
//!
//! A SEAL is put, if absent, into the first absent slot. Its writer never skips a slot and acknowledges the contiguous
//! prefix only, so nothing behind that slot was or will be acknowledged. The one trap is a slot that is absent because
//! it was trimmed: so the header is read again after the SEAL is there, and a SEAL below the trim pointer is void.
//!
//! A slot that is absent although one [`WINDOW`] behind it is there was acknowledged, and somebody else has deleted it.
//! It counts as damaged, and the lane goes on behind it.

use std::collections::VecDeque;

use bytes::Bytes;
use runnel_blob::{Bucket, Created, Key, lane_prefix};
use runnel_format::wal::{LaneHeader, SLOT_HEADER_LEN, SlotHeader, SlotKind};
use runnel_guard::{Guard, holds};
use runnel_runtime::FailPoints;
use runnel_runtime::simulation::random_id;
use uuid::Uuid;

use super::header;
use super::options::WINDOW;
use crate::Error;

/// Names of one listing.
const PAGE: usize = 1000;

/// Seals `lane` on behalf of `session` and returns its end: the number of slots that it has. Idempotent.
///
/// A lane without a header was never written to, because its owner makes the header first: it gets one that says that
/// it ends at 0, which is what the owner then meets.
///
/// # Errors
/// `Unavailable` while the bucket does not answer, `Corrupt` or `Unsupported` for a header that cannot be read. Call
/// it again: it goes on from what is there.
pub async fn seal(bucket: &Bucket, lane: Uuid, session: u64, fail: &FailPoints) -> Result<u64, Error> {
    let unwritten =
        |found: Option<&LaneHeader>| found.is_none().then_some(LaneHeader { lane, session: 0, trim: 0, end: Some(0) });
    let mut trim = match header::update(bucket, lane, unwritten).await? {
        Some(LaneHeader { end: Some(end), .. }) => return Ok(end),
        found => found.map_or(0, |header| header.trim),
    };
    loop {
        let listed = look(bucket, lane, trim).await?;
        // What was trimmed while it was listed is not missing: the pointer had moved before.
        let trimmed = header::load(bucket, lane).await?.map_or(trim, |header| header.trim);
        if trimmed == trim {
            if listed.missing > 0 {
                tracing::error!(%lane, slots = listed.missing, "slots of an object lane are gone that had been acknowledged");
            }
            return seal_from(bucket, lane, session, listed.gap, fail).await;
        }
        trim = trimmed;
    }
}

/// Whether a lane has ended. Of one that has not when this is asked, nobody else goes on with what its owner leads: whoever
/// does reads the header's end first.
///
/// # Errors
/// `Unavailable` while the bucket does not answer, `Corrupt` or `Unsupported` for a header that cannot be read.
pub async fn is_sealed(bucket: &Bucket, lane: Uuid) -> Result<bool, Error> {
    Ok(header::load(bucket, lane).await?.is_none_or(|header| header.end.is_some()))
}

/// Seals a lane whose slots in front of `position` are, or were, all there.
pub(crate) async fn seal_from(
    bucket: &Bucket,
    lane: Uuid,
    session: u64,
    mut position: u64,
    fail: &FailPoints,
) -> Result<u64, Error> {
    let nonce = random_id();
    loop {
        position = place(bucket, SlotHeader::seal(lane, session, position, nonce)).await?;
        fail.hit("wal.object.seal.placed")?;
        let ended = header::update(bucket, lane, |found| {
            // Whoever was first has fixed the end. A SEAL below the trim pointer is void.
            let is_void = |header: &LaneHeader| header.trim > position && holds(Guard::SealAbovePointer);
            let open = found.filter(|header| header.end.is_none() && !is_void(header))?;
            Some(LaneHeader { end: Some(position), ..open.clone() })
        });
        match ended.await? {
            Some(LaneHeader { end: Some(end), .. }) => {
                tracing::info!(%lane, end, "an object lane is sealed");
                return Ok(end);
            }
            Some(header) => position = header.trim.max(position),
            None => return Err(header::vanished(lane)),
        }
    }
}

/// Puts a SEAL into the first slot from that of `seal` on that has no data, and returns its number.
async fn place(bucket: &Bucket, mut seal: SlotHeader) -> Result<u64, Error> {
    loop {
        let key = Key::Slot { lane: seal.lane, slot: seal.slot };
        let bytes = Bytes::copy_from_slice(&seal.encode());
        let Created::Taken(found) = bucket.create(&key, &[bytes], SLOT_HEADER_LEN).await? else { return Ok(seal.slot) };
        match SlotHeader::decode(&found, seal.lane, seal.slot) {
            Ok(SlotHeader { kind: SlotKind::Seal, .. }) => return Ok(seal.slot),
            // Also a damaged slot was acknowledged, perhaps.
            Ok(_) | Err(runnel_format::Error::Corrupt { .. }) => seal.slot += 1,
            Err(source) => return Err(Error::stored(&key, source)),
        }
    }
}

/// What a listing says of the slots of a lane.
struct Listed {
    /// The first slot that may never have been acknowledged. Those in front of it were all there.
    gap: u64,
    /// How many of those are not there now.
    missing: u64,
}

/// Looks at the slots from `trim` on.
async fn look(bucket: &Bucket, lane: Uuid, trim: u64) -> Result<Listed, Error> {
    let mut after = trim.checked_sub(1).map_or_else(String::new, |slot| Key::Slot { lane, slot }.path());
    // The last ones with data in them, as many as the window may hold, and the number of those before.
    let (mut last, mut before) = (VecDeque::with_capacity(WINDOW + 1), 0);
    loop {
        let page = bucket.list_after(&lane_prefix(lane), &after, PAGE).await?;
        for listed in &page {
            if let Some(Key::Slot { slot, .. }) = Key::parse_lane_object(&listed.path)
                && slot >= trim
                && listed.bytes > SLOT_HEADER_LEN as u64
            {
                last.push_back(slot);
                if last.len() > WINDOW {
                    last.pop_front();
                    before += 1;
                }
            }
        }
        match page.last() {
            Some(listed) if page.len() == PAGE => after.clone_from(&listed.path),
            _ => break,
        }
    }
    let window = last.back().map_or(trim, |last| trim.max((last + 1).saturating_sub(WINDOW as u64)));
    let in_front = before + last.iter().filter(|slot| **slot < window).count() as u64;
    let gap = (window..).find(|slot| !last.contains(slot)).unwrap_or(window);
    let gap = if holds(Guard::SealAtFirstHole) { gap } else { last.back().map_or(gap, |last| last + 1) };
    Ok(Listed { gap, missing: window - trim - in_front })
}
