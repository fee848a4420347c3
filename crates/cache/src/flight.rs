//! Single flight: of all callers that want the same thing at once, one fetches it and the others get what it got.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Mutex as AsyncMutex;

use crate::error::Error;
use crate::key::BlockKey;

type Slot = Arc<AsyncMutex<Option<Result<Bytes, Error>>>>;

/// The fetches under way.
///
/// A fetch runs inside the call of the first caller. If that call is dropped the next caller in line starts its own, so
/// nobody waits for something that nobody does. What a flight brought, error or not, goes to those who waited for it
/// and to nobody who came later.
#[derive(Debug, Default)]
pub(crate) struct Flights(Mutex<BTreeMap<BlockKey, Slot>>);

/// Bytes, and whether this call fetched them itself.
pub(crate) struct Landed {
    pub(crate) bytes: Bytes,
    pub(crate) own: bool,
}

impl Flights {
    /// Fetches `key`, or waits for whoever is doing so.
    pub(crate) async fn join(
        &self,
        key: BlockKey,
        fetch: impl Future<Output = Result<Bytes, Error>>,
    ) -> Result<Landed, Error> {
        let ticket = self.board(key);
        let mut slot = ticket.slot.lock().await;
        if let Some(brought) = &*slot {
            return brought.clone().map(|bytes| Landed { bytes, own: false });
        }
        let brought = fetch.await;
        *slot = Some(brought.clone());
        self.depart(&ticket);
        brought.map(|bytes| Landed { bytes, own: true })
    }

    fn board(&self, key: BlockKey) -> Ticket<'_> {
        let slot = Arc::clone(self.map().entry(key).or_default());
        Ticket { flights: self, key, slot }
    }

    /// Takes a flight off the board: later callers start another.
    fn depart(&self, ticket: &Ticket<'_>) {
        let mut map = self.map();
        if map.get(&ticket.key).is_some_and(|slot| Arc::ptr_eq(slot, &ticket.slot)) {
            map.remove(&ticket.key);
        }
    }

    fn map(&self) -> MutexGuard<'_, BTreeMap<BlockKey, Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(crate) fn under_way(&self) -> usize {
        self.map().len()
    }
}

struct Ticket<'f> {
    flights: &'f Flights,
    key: BlockKey,
    slot: Slot,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        // The last of a flight that never landed (every call was dropped) clears the board. Counted under the lock that
        // everyone boards under: one for the board, one for this ticket.
        let mut map = self.flights.map();
        if Arc::strong_count(&self.slot) == 2 && map.get(&self.key).is_some_and(|slot| Arc::ptr_eq(slot, &self.slot)) {
            map.remove(&self.key);
        }
    }
}
