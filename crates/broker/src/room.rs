//! How much memory cold reads may take up at once: what is read from disk or bucket is counted from before the read
//! until a front door counts it as its own. The memory tail is bounded by itself, its bytes are there already.

use std::sync::Arc;

use runnel_api::Room;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of one permit.
const UNIT: usize = 64 << 10;

/// What all reads of one source may take up, in permits.
const ALL: usize = (64 << 20) / UNIT;

/// Least that a read takes up: it keeps the whole run alive that its batches lie in.
const LEAST: usize = 1 << 20;

/// Most that one read gets, unless a single batch is larger. Clients that ask for more get it in several reads.
pub(crate) const MOST: usize = 8 << 20;

/// The room for reads of one source. Each source has its own, so that a bucket that hangs does not stop reads of the log.
#[derive(Debug)]
pub(crate) struct Rooms(Arc<Semaphore>);

impl Default for Rooms {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(ALL)))
    }
}

impl Rooms {
    /// Room for a read of up to `bytes`, which must be within [`MOST`]. With `wait` it is waited for, in turn; without,
    /// `None` means that there is none now. Who holds room must not wait for more: two who do would wait for ever.
    pub(crate) async fn take(&self, bytes: usize, wait: bool) -> Option<Room> {
        let permits = u32::try_from(bytes.max(LEAST).div_ceil(UNIT)).unwrap_or(u32::MAX);
        let semaphore = Arc::clone(&self.0);
        let permit: OwnedSemaphorePermit = if wait {
            semaphore.acquire_many_owned(permits).await.ok()?
        } else {
            semaphore.try_acquire_many_owned(permits).ok()?
        };
        Some(Room::new(permit))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures::FutureExt;

    use super::*;

    #[test]
    fn reads_share_what_there_is_in_turn() {
        let rooms = Rooms::default();
        let all: Vec<_> = (0..8).map(|_| rooms.take(MOST, true).now_or_never().unwrap().unwrap()).collect();
        assert!(rooms.take(1, false).now_or_never().unwrap().is_none(), "the smallest read keeps a run alive");
        let mut large = Box::pin(rooms.take(MOST, true));
        assert!(large.as_mut().now_or_never().is_none());
        let mut small = Box::pin(rooms.take(1, true));
        assert!(small.as_mut().now_or_never().is_none());
        drop(all);
        assert!(large.now_or_never().unwrap().is_some());
        assert!(small.now_or_never().unwrap().is_some());
    }
}
