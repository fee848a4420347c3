//! Where produce requests of one partition pass, one by one, in the order in which they came; ADR 0009.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use runnel_api::Error;
use tokio::sync::{Mutex, MutexGuard};

/// The way into a partition, open or not; it outlives each opening.
///
/// Who is refused takes along everybody who came before the refusal and has no offset yet. What follows in a producer's
/// sequence would otherwise be judged without what precedes it, and an idempotent client takes that for the end of its
/// sequence: it starts another, and sends everything unanswered once more.
#[derive(Debug, Default)]
pub(crate) struct Entrance {
    turn: Mutex<()>,
    arrived: AtomicU64,
    /// The last one who had come when somebody was refused.
    refused_upto: AtomicU64,
    /// What that one was told.
    refusal: std::sync::Mutex<Option<Error>>,
}

/// The place of a request in the order of arrival.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticket(u64);

impl Entrance {
    pub(crate) fn arrive(&self) -> Ticket {
        Ticket(self.arrived.fetch_add(1, Ordering::AcqRel) + 1)
    }

    /// Waits for those who came before. The lock is fair: call this at once after [`Entrance::arrive`].
    pub(crate) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Somebody is refused, for a reason that passes, and everybody who is here with them.
    pub(crate) fn refuse(&self, error: &Error) {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
        self.refused_upto.fetch_max(self.arrived.load(Ordering::Acquire), Ordering::AcqRel);
    }

    /// What somebody was told since a request arrived, if anybody was refused.
    pub(crate) fn refusal(&self, Ticket(ticket): Ticket) -> Option<Error> {
        if ticket > self.refused_upto.load(Ordering::Acquire) {
            return None;
        }
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use runnel_api::ErrorKind;

    use super::*;

    #[test]
    fn who_came_before_a_refusal_is_refused_and_who_comes_after_is_not() {
        let entrance = Entrance::default();
        let (first, second) = (entrance.arrive(), entrance.arrive());
        assert!(entrance.refusal(first).is_none() && entrance.refusal(second).is_none());
        entrance.refuse(&Error::new(ErrorKind::Throttled, "no room"));
        let third = entrance.arrive();
        for refused in [first, second] {
            assert_eq!(entrance.refusal(refused).map(|error| error.kind), Some(ErrorKind::Throttled));
        }
        assert!(entrance.refusal(third).is_none());
    }
}
