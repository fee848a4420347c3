//! The memory that all tails of partitions that others lead may take up together. The batch that came first goes first,
//! whichever partition it is of.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError, Weak};

use runnel_record::Offset;

/// What gives memory back.
pub(super) trait Evict: Send + Sync {
    /// Drops the batches up to the one at `base`.
    fn evict(&self, base: Offset);
}

/// A budget in bytes.
pub(super) struct Memory {
    limit: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    bytes: usize,
    /// Every batch, in the order in which they came. Of those that are gone already too: it counts more than there is.
    order: VecDeque<(Weak<dyn Evict>, Offset, usize)>,
}

impl Memory {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, held: Mutex::default() }
    }

    /// A batch came. The newest one stays, whatever its size.
    pub(super) fn added(&self, holder: Weak<dyn Evict>, base: Offset, bytes: usize) {
        let mut evicted = Vec::new();
        {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            held.bytes += bytes;
            held.order.push_back((holder, base, bytes));
            while held.bytes > self.limit && held.order.len() > 1 {
                let Some((holder, base, bytes)) = held.order.pop_front() else { break };
                held.bytes -= bytes;
                evicted.push((holder, base));
            }
        }
        for (holder, base) in evicted {
            if let Some(holder) = holder.upgrade() {
                holder.evict(base);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;

    #[derive(Default)]
    struct Holder(Mutex<Vec<i64>>);

    impl Evict for Holder {
        fn evict(&self, base: Offset) {
            self.0.lock().unwrap().push(base.0);
        }
    }

    #[test]
    fn what_came_first_goes_first() {
        let memory = Memory::new(250);
        let (a, b) = (Arc::new(Holder::default()), Arc::new(Holder::default()));
        let add = |to: &Arc<Holder>, base| {
            let holder: Arc<dyn Evict> = Arc::<Holder>::clone(to);
            memory.added(Arc::downgrade(&holder), Offset(base), 100);
        };
        add(&a, 0);
        add(&b, 0);
        assert!(a.0.lock().unwrap().is_empty());
        add(&a, 1);
        add(&a, 2);
        assert_eq!((&*a.0.lock().unwrap(), &*b.0.lock().unwrap()), (&vec![0], &vec![0]));
        assert_eq!(memory.held.lock().unwrap().bytes, 200);
    }
}
