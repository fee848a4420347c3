//! How far the level of a cluster can be raised.

use std::collections::{BTreeMap, BTreeSet};

use runnel_format::Levels;

/// What raising the level comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raise {
    /// The highest level that all brokers support; never below that of the cluster.
    pub to: u32,
    /// Brokers that do not support more, where others do.
    pub held_back_by: BTreeSet<i32>,
}

/// Decides, for a cluster at `level`, from what its live brokers support. Brokers that are not alive have no say: a release
/// that is too old by then refuses to start.
#[must_use]
pub fn raise(level: u32, brokers: &BTreeMap<i32, Levels>) -> Raise {
    let highest = |levels: &Levels| levels.highest;
    let to = brokers.values().map(highest).min().unwrap_or(level).max(level);
    let more = brokers.values().any(|levels| levels.highest > to);
    let holds_back = |(number, levels): (&i32, &Levels)| (more && levels.highest <= to).then_some(*number);
    Raise { to, held_back_by: brokers.iter().filter_map(holds_back).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(level: u32, highest: &[u32], to: u32, held_back_by: &[i32]) {
        let brokers = (0..).zip(highest.iter().map(|&highest| Levels { lowest: 1, highest })).collect();
        let held_back_by = held_back_by.iter().copied().collect();
        assert_eq!(raise(level, &brokers), Raise { to, held_back_by }, "{level} {highest:?}");
    }

    #[test]
    fn the_level_goes_as_far_as_all_brokers_can_read() {
        check(1, &[2, 2, 2], 2, &[]);
        check(1, &[2, 3, 2], 2, &[0, 2]);
        check(1, &[1, 2, 2], 1, &[0]);
        check(2, &[2, 2], 2, &[]);
        check(1, &[], 1, &[]);
    }

    #[test]
    fn it_is_never_lowered() {
        // One that has not heard of the level yet, and is about to leave.
        check(3, &[2, 3, 4], 3, &[0, 1]);
        check(3, &[1, 1], 3, &[]);
    }
}
