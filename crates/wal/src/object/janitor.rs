//! Takes away what a sealed lane holds once nobody needs it. Header and SEAL stay for ever.

use futures::stream::{self, StreamExt, TryStreamExt};
use runnel_blob::{Bucket, Key, lane_prefix};
use runnel_format::wal::{LaneHeader, SLOT_HEADER_LEN};
use runnel_runtime::FailPoints;
use uuid::Uuid;

use super::header;
use crate::Error;

/// Where lanes are.
const LANES_PREFIX: &str = "wal/";
/// Names of one listing.
const PAGE: usize = 1000;
/// Requests in flight.
const PARALLEL: usize = 8;

/// Every lane of the bucket that may still hold something: for when the metadata store, which knows them otherwise, was
/// lost. In the order of their names.
///
/// # Errors
/// `Unavailable` while the bucket does not answer, `Corrupt` or `Unsupported` for a lane's header.
pub async fn lanes_in_use(bucket: &Bucket) -> Result<Vec<LaneHeader>, Error> {
    let listed = bucket.list(LANES_PREFIX).await?;
    let lanes = listed.iter().filter_map(|object| match Key::parse_lane_object(&object.path) {
        Some(Key::LaneHeader { lane }) => Some(lane),
        _ => None,
    });
    let headers = lanes.map(|lane| header::load(bucket, lane)).collect::<Vec<_>>();
    let found: Vec<Option<LaneHeader>> = stream::iter(headers).buffered(PARALLEL).try_collect().await?;
    let in_use = |header: &LaneHeader| header.end.is_none_or(|end| header.trim < end);
    Ok(found.into_iter().flatten().filter(in_use).collect())
}

/// Trims a sealed lane to its end, durably, and deletes its slots; returns how many. The caller vouches that everything
/// in the lane is in the bucket as segments, or belongs to topics that are deleted. Idempotent.
///
/// # Errors
/// `NotSealed`, `Unavailable` while the bucket does not answer, `Corrupt` or `Unsupported` for the lane's header.
pub async fn retire(bucket: &Bucket, lane: Uuid, fail: &FailPoints) -> Result<usize, Error> {
    let trimmed = header::update(bucket, lane, |found| {
        let header = found?;
        let end = header.end.filter(|end| header.trim < *end)?;
        Some(LaneHeader { trim: end, ..header.clone() })
    });
    let end = trimmed.await?.and_then(|header| header.end).ok_or(Error::NotSealed { lane })?;
    tracing::debug!(%lane, end, "an object lane is not needed any more");
    fail.hit("wal.object.retire.recorded")?;
    sweep(bucket, lane).await
}

/// Deletes slots of a sealed lane that lie below its trim pointer or behind its end; returns how many. Requests of a
/// writer that stalled may still make some, so this is done again from time to time.
///
/// # Errors
/// As of [`retire`].
pub async fn sweep(bucket: &Bucket, lane: Uuid) -> Result<usize, Error> {
    let header = header::load(bucket, lane).await?.ok_or(Error::NotSealed { lane })?;
    let end = header.end.ok_or(Error::NotSealed { lane })?;
    let (mut after, mut deleted) = (String::new(), 0);
    loop {
        let page = bucket.list_after(&lane_prefix(lane), &after, PAGE).await?;
        let dead = page.iter().filter_map(|listed| {
            let key = Key::parse_lane_object(&listed.path)?;
            // A SEAL is as long as a header, and stays: the one at the end for safety, a void one for simplicity.
            let Key::Slot { slot, .. } = &key else { return None };
            let gone = (*slot < header.trim || *slot > end) && listed.bytes > SLOT_HEADER_LEN as u64;
            gone.then_some(key)
        });
        let dead: Vec<Key> = dead.collect();
        deleted += dead.len();
        let deletes = dead.into_iter().map(|key| async move { bucket.delete(&key).await });
        stream::iter(deletes).buffered(PARALLEL).try_collect::<()>().await?;
        match page.last() {
            Some(last) if page.len() == PAGE => after.clone_from(&last.path),
            _ => return Ok(deleted),
        }
    }
}
