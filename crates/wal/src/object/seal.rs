//! Ends a lane for ever. Anybody may, at any time, and any number at once: all get the same end.
//!
//! A SEAL is put, if absent, into the first absent slot. Its writer never skips a slot and acknowledges the contiguous
//! prefix only, so nothing behind that slot was or will be acknowledged. The one trap is a slot that is absent because
//! it was trimmed: so the header is read again after the SEAL is there, and a SEAL below the trim pointer is void.

use bytes::Bytes;
use runnel_blob::{Bucket, Created, Key, lane_prefix};
use runnel_format::wal::{LaneHeader, SLOT_HEADER_LEN, SlotHeader, SlotKind};
use runnel_runtime::FailPoints;
use uuid::Uuid;

use super::header;
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
    let trim = match header::update(bucket, lane, unwritten).await? {
        Some(LaneHeader { end: Some(end), .. }) => return Ok(end),
        found => found.map_or(0, |header| header.trim),
    };
    let first = first_gap(bucket, lane, trim).await.unwrap_or(trim);
    seal_from(bucket, lane, session, first, fail).await
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
    let nonce = Uuid::new_v4();
    loop {
        position = place(bucket, SlotHeader::seal(lane, session, position, nonce)).await?;
        fail.hit("wal.object.seal.placed")?;
        let ended = header::update(bucket, lane, |found| {
            // Whoever was first has fixed the end. A SEAL below the trim pointer is void.
            let open = found.filter(|header| header.end.is_none() && header.trim <= position)?;
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
pub(crate) async fn place(bucket: &Bucket, mut seal: SlotHeader) -> Result<u64, Error> {
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

/// The first slot from `from` on that the listing does not show with data in it. A hint that saves requests: a slot
/// in front of it is there, or has been trimmed since.
async fn first_gap(bucket: &Bucket, lane: Uuid, from: u64) -> Result<u64, Error> {
    let mut next = from;
    loop {
        let after = next.checked_sub(1).map_or_else(String::new, |slot| Key::Slot { lane, slot }.path());
        let page = bucket.list_after(&lane_prefix(lane), &after, PAGE).await?;
        let full = page.len() == PAGE;
        for listed in page {
            match Key::parse_lane_object(&listed.path) {
                Some(Key::Slot { slot, .. }) if slot == next && listed.bytes > SLOT_HEADER_LEN as u64 => next += 1,
                _ => return Ok(next),
            }
        }
        if !full {
            return Ok(next);
        }
    }
}
