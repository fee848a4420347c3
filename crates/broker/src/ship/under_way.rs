//! Segments on their way to the bucket, and those that wait until there is room for them.

use std::collections::{HashMap, VecDeque};
use std::ops::RangeInclusive;

use runnel_record::TopicPartition;
use tokio::task::{Id, JoinSet};

/// MiB of batches that may be on their way at once, and how many of them one segment counts for: small ones wait for the
/// bucket side by side, large ones do not fill the memory.
const MOST_MIB: u32 = 192;
const SHIP_MIB: RangeInclusive<u32> = 12..=96;

/// What one partition has to ship.
pub(super) struct Due<T> {
    pub(super) tp: TopicPartition,
    pub(super) bytes: u64,
    pub(super) what: T,
}

/// At most one of each partition is on its way. Those that are go on when this is dropped.
pub(super) struct UnderWay<T> {
    waiting: VecDeque<Due<T>>,
    tasks: JoinSet<bool>,
    /// Whose they are, and what they count for.
    of: HashMap<Id, (TopicPartition, u32)>,
}

impl<T> Default for UnderWay<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), tasks: JoinSet::new(), of: HashMap::new() }
    }
}

impl<T> Drop for UnderWay<T> {
    fn drop(&mut self) {
        self.tasks.detach_all();
    }
}

impl<T> UnderWay<T> {
    /// This is due now, the first of it first. What waited before and is not in it is due no more.
    pub(super) fn expect(&mut self, due: impl IntoIterator<Item = Due<T>>) {
        let is_under_way = |tp: TopicPartition| self.of.values().any(|(of, _)| *of == tp);
        self.waiting = due.into_iter().filter(|due| !is_under_way(due.tp)).collect();
    }

    /// Begins what there is room for. A large segment is not overtaken by the small ones behind it. `ship` says whether it
    /// was done.
    pub(super) fn begin<F>(&mut self, ship: impl Fn(T) -> F)
    where
        F: Future<Output = bool> + Send + 'static,
    {
        let mut taken: u32 = self.of.values().map(|(_, mib)| mib).sum();
        while let Some(due) = self.waiting.front() {
            let mib = u32::try_from(due.bytes >> 20).unwrap_or(u32::MAX).clamp(*SHIP_MIB.start(), *SHIP_MIB.end());
            if taken + mib > MOST_MIB {
                return;
            }
            let Some(due) = self.waiting.pop_front() else { return };
            let task = self.tasks.spawn(ship(due.what));
            self.of.insert(task.id(), (due.tp, mib));
            taken += mib;
        }
    }

    /// Whether the next one that ends was done; a panic in it is a defect, and counts as a failure. `None` if nothing is on
    /// its way. Nothing is missed if the caller stops waiting.
    pub(super) async fn ended(&mut self) -> Option<bool> {
        let (id, is_done) = match self.tasks.join_next_with_id().await? {
            Ok((id, is_done)) => (id, is_done),
            Err(error) => (error.id(), false),
        };
        self.of.remove(&id);
        Some(is_done)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]

    use std::sync::{Arc, Mutex};

    use runnel_record::TopicId;
    use tokio::sync::Semaphore;
    use uuid::Uuid;

    use super::*;

    fn due(partition: i32, mib: u64) -> Due<i32> {
        let tp = TopicPartition { topic: TopicId(Uuid::nil()), partition };
        Due { tp, bytes: mib << 20, what: partition }
    }

    /// Ships that wait until they are let go, and which have begun.
    #[derive(Clone)]
    struct Yard {
        gate: Arc<Semaphore>,
        begun: Arc<Mutex<Vec<i32>>>,
    }

    impl Yard {
        fn new() -> Self {
            Self { gate: Arc::new(Semaphore::new(0)), begun: Arc::default() }
        }

        fn begin(&self, under_way: &mut UnderWay<i32>) -> Vec<i32> {
            let yard = self.clone();
            under_way.begin(move |partition| {
                yard.begun.lock().expect("nobody panics").push(partition);
                let gate = Arc::clone(&yard.gate);
                async move {
                    gate.acquire().await.expect("it stays open").forget();
                    assert!(partition < 100, "on purpose");
                    partition % 2 == 0
                }
            });
            std::mem::take(&mut self.begun.lock().expect("nobody panics"))
        }
    }

    #[tokio::test]
    async fn small_segments_go_side_by_side_and_large_ones_wait_for_room() {
        let (yard, mut under_way) = (Yard::new(), UnderWay::default());
        under_way.expect([due(0, 1000), due(2, 64), due(4, 64), due(6, 0)]);
        assert_eq!(
            yard.begin(&mut under_way),
            [0, 2],
            "96 and 64 of 192: the next one finds no room, nor do those behind it"
        );
        assert!(yard.begin(&mut under_way).is_empty());
        yard.gate.add_permits(1);
        assert_eq!(under_way.ended().await, Some(true));
        assert_eq!(yard.begin(&mut under_way), [4, 6]);
        under_way.expect((8..100).map(|partition| due(partition, 0)));
        yard.gate.add_permits(3);
        for _ in 0..3 {
            under_way.ended().await;
        }
        assert_eq!(yard.begin(&mut under_way).len(), 16);
    }

    #[tokio::test]
    async fn a_partition_is_on_its_way_once_and_what_is_due_no_more_is_forgotten() {
        let (yard, mut under_way) = (Yard::new(), UnderWay::default());
        under_way.expect([due(0, 96), due(2, 96), due(4, 96)]);
        assert_eq!(yard.begin(&mut under_way), [0, 2]);
        under_way.expect([due(0, 96), due(6, 96)]);
        yard.gate.add_permits(2);
        assert_eq!((under_way.ended().await, under_way.ended().await), (Some(true), Some(true)));
        assert_eq!(yard.begin(&mut under_way), [6]);
        under_way.expect([due(0, 96)]);
        assert_eq!(yard.begin(&mut under_way), [0], "after it has ended it may go again");
    }

    #[tokio::test]
    async fn failures_and_panics_are_told_and_give_their_room_back() {
        let (yard, mut under_way) = (Yard::new(), UnderWay::default());
        under_way.expect([due(1, 96), due(100, 96)]);
        assert_eq!(yard.begin(&mut under_way), [1, 100]);
        yard.gate.add_permits(2);
        assert_eq!((under_way.ended().await, under_way.ended().await), (Some(false), Some(false)));
        assert_eq!(under_way.ended().await, None);
        under_way.expect([due(100, 96), due(3, 96)]);
        assert_eq!(yard.begin(&mut under_way), [100, 3]);
    }

    #[tokio::test]
    async fn what_is_on_its_way_goes_on_when_nobody_waits() {
        let (yard, mut under_way) = (Yard::new(), UnderWay::default());
        under_way.expect([due(0, 1)]);
        assert_eq!(yard.begin(&mut under_way), [0]);
        drop(under_way);
        yard.gate.add_permits(1);
        while yard.gate.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
    }
}
