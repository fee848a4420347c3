//! What a group has told its members, and what that rules out from then on.

use std::collections::BTreeMap;

/// What clients of one group know together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    /// The newest generation in which somebody was told an assignment. It was durable by then, so those before it are over.
    generation: i32,
    /// Who was told what in it.
    assigned: BTreeMap<String, Vec<i32>>,
    /// What is committed of each partition, or more.
    committed: BTreeMap<i32, i64>,
}

impl Ledger {
    /// Somebody was told its assignment: a partition has one owner in a generation.
    pub(super) fn assigned(&mut self, generation: i32, who: &str, partitions: &[i32]) -> Result<(), String> {
        if generation < self.generation {
            return Ok(()); // told late, and of no use any more
        }
        if generation > self.generation {
            (self.generation, self.assigned) = (generation, BTreeMap::new());
        }
        let others = self.assigned.iter().filter(|(other, _)| *other != who);
        let taken = others.flat_map(|(other, theirs)| theirs.iter().map(move |partition| (partition, other)));
        if let Some((partition, other)) = taken.into_iter().find(|(partition, _)| partitions.contains(partition)) {
            return Err(format!("partition {partition} is also {other}'s in generation {generation}"));
        }
        match self.assigned.insert(who.to_owned(), partitions.to_vec()) {
            Some(before) if before != partitions => {
                Err(format!("has {partitions:?} in generation {generation}, and had {before:?} in it"))
            }
            _ => Ok(()),
        }
    }

    /// A commit by a member of a generation was acknowledged, which was begun when this was known.
    pub(super) fn may_commit(&self, generation: i32) -> Result<(), String> {
        let newest = self.generation;
        if generation < newest {
            return Err(format!("commits in generation {generation}, and generation {newest} has its assignment"));
        }
        Ok(())
    }

    /// An offset was told to be committed to somebody who asked when this was known. Whoever has a partition goes on where it
    /// was left, and those before can commit no more: it never goes back.
    pub(super) fn may_be_told(&self, partition: i32, offset: i64) -> Result<(), String> {
        match self.committed.get(&partition) {
            Some(known) if offset < *known => {
                Err(format!("offset {offset} of partition {partition} is committed, and {known} was"))
            }
            _ => Ok(()),
        }
    }

    /// So much is committed.
    pub(super) fn committed(&mut self, partition: i32, offset: i64) {
        let known = self.committed.entry(partition).or_insert(offset);
        *known = offset.max(*known);
    }

    /// Whether so many members share so many partitions in the newest generation, and have committed each up to its end.
    pub(crate) fn is_through(&self, members: u64, ends: &[i64]) -> bool {
        let mut shared: Vec<i32> = self.assigned.values().flatten().copied().collect();
        shared.sort_unstable();
        let all = 0..i32::try_from(ends.len()).unwrap_or(i32::MAX);
        let reached = |(partition, end)| self.committed.get(&partition).copied().unwrap_or(0) >= end;
        self.assigned.len() as u64 == members
            && shared.into_iter().eq(all.clone())
            && all.zip(ends.iter().copied()).all(reached)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_has_one_owner_in_a_generation() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.assigned(3, "a", &[0]), Ok(()));
        assert_eq!(ledger.assigned(3, "b", &[1]), Ok(()));
        assert_eq!(ledger.assigned(3, "a", &[0]), Ok(()));
        assert_eq!(ledger.assigned(2, "c", &[0]), Ok(()), "what was true is no news");
        assert!(ledger.assigned(3, "c", &[0]).is_err());
        assert!(ledger.assigned(3, "b", &[]).is_err());
        assert_eq!(ledger.assigned(4, "b", &[0, 1]), Ok(()));
    }

    #[test]
    fn generations_end_and_offsets_do_not_go_back() {
        let mut ledger = Ledger::default();
        let before = ledger.clone();
        ledger.committed(0, 7);
        ledger.committed(0, 5);
        assert_eq!(ledger.assigned(3, "a", &[0]), Ok(()));
        assert!(before.may_commit(2).is_ok() && ledger.may_commit(3).is_ok() && ledger.may_commit(2).is_err());
        assert!(before.may_be_told(0, 5).is_ok() && ledger.may_be_told(0, 7).is_ok());
        assert!(ledger.may_be_told(0, 6).is_err() && ledger.may_be_told(1, 0).is_ok());
    }

    #[test]
    fn a_group_is_through_once_all_is_shared_and_committed() {
        let mut ledger = Ledger::default();
        ledger.assigned(1, "a", &[1]).expect("the first");
        ledger.committed(1, 4);
        assert!(!ledger.is_through(1, &[0, 4]), "nobody has partition 0");
        ledger.assigned(1, "b", &[0]).expect("another");
        assert!(ledger.is_through(2, &[0, 4]) && !ledger.is_through(3, &[0, 4]));
        assert!(!ledger.is_through(2, &[1, 4]) && !ledger.is_through(2, &[0, 5]));
        ledger.committed(0, 1);
        assert!(ledger.is_through(2, &[1, 4]));
    }
}
