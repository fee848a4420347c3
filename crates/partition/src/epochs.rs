//! Epochs of the partition with their start offsets (KIP-101, KIP-320), as Kafka's `LeaderEpochFileCache` keeps them.

use runnel_format::manifest::EpochStart;
use runnel_record::{LeaderEpoch, Offset};

use crate::Error;

/// The answer to OffsetForLeaderEpoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEnd {
    /// The largest known epoch that is at most the one asked for; the one asked for if all known ones are larger.
    pub epoch: LeaderEpoch,
    /// Where it ends, exclusive.
    pub end: Offset,
}

/// Epoch starts: both fields strictly ascend. An epoch without a batch collapses into its successor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Epochs(Vec<EpochStart>);

impl Epochs {
    /// Takes a recorded list, which may still hold empty epochs.
    pub(crate) fn restore(recorded: &[EpochStart]) -> Result<Self, Error> {
        if !recorded.is_sorted_by(|a, b| a.epoch < b.epoch && a.start <= b.start) {
            return Err(Error::Corrupt("epoch starts not ascending"));
        }
        if recorded.first().is_some_and(|first| first.epoch < LeaderEpoch::ZERO || first.start < Offset::ZERO) {
            return Err(Error::Corrupt("negative epoch or epoch start"));
        }
        let mut epochs = Self::default();
        recorded.iter().for_each(|next| epochs.push(*next));
        Ok(epochs)
    }

    /// Begins an epoch above every known one, at or above every known start.
    pub(crate) fn begin(&mut self, epoch: LeaderEpoch, start: Offset) -> Result<(), Error> {
        match self.0.last() {
            Some(last) if last.epoch >= epoch => Err(Error::StaleEpoch { opened: epoch, known: last.epoch }),
            Some(last) if last.start > start => Err(Error::Corrupt("an epoch starts before its predecessor")),
            _ => {
                self.push(EpochStart { epoch, start });
                Ok(())
            }
        }
    }

    fn push(&mut self, next: EpochStart) {
        if self.0.last().is_some_and(|last| last.start == next.start) {
            self.0.pop();
        }
        self.0.push(next);
    }

    /// The recorded list.
    pub(crate) fn as_slice(&self) -> &[EpochStart] {
        &self.0
    }

    /// The epoch that wrote, or would write, `offset`; `None` below the first known start.
    pub(crate) fn at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.0.partition_point(|e| e.start <= offset);
        self.0.get(after.checked_sub(1)?).map(|e| e.epoch)
    }

    /// Where `epoch` ends in a log of committed length `end`; `None` if it is larger than every known epoch.
    pub(crate) fn end_of(&self, epoch: LeaderEpoch, end: Offset) -> Option<EpochEnd> {
        let last = self.0.last()?;
        if epoch == last.epoch {
            return Some(EpochEnd { epoch, end });
        }
        let higher = self.0.partition_point(|e| e.epoch <= epoch);
        let successor = self.0.get(higher)?;
        // Without a known epoch at or below the one asked for, its data is gone: the answer is where the rest begins.
        let floor = higher.checked_sub(1).and_then(|at| self.0.get(at)).map_or(epoch, |e| e.epoch);
        Some(EpochEnd { epoch: floor, end: successor.start })
    }

    /// Drops epochs that end at or below `start`; the one that holds `start` begins there.
    pub(crate) fn truncate_below(&mut self, start: Offset) {
        let keep = self.0.partition_point(|e| e.start <= start).saturating_sub(1);
        self.0.drain(..keep);
        if let Some(first) = self.0.first_mut() {
            first.start = first.start.max(start);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn starts(list: &[(i32, i64)]) -> Vec<EpochStart> {
        list.iter().map(|&(epoch, start)| EpochStart { epoch: LeaderEpoch(epoch), start: Offset(start) }).collect()
    }

    fn epochs(list: &[(i32, i64)]) -> Epochs {
        Epochs::restore(&starts(list)).unwrap()
    }

    #[test]
    fn empty_epochs_collapse() {
        let mut e = epochs(&[(1, 0), (2, 10), (3, 10), (5, 10)]);
        assert_eq!(e.as_slice(), starts(&[(1, 0), (5, 10)]));
        e.begin(LeaderEpoch(6), Offset(10)).unwrap();
        assert_eq!(e.as_slice(), starts(&[(1, 0), (6, 10)]));
        e.begin(LeaderEpoch(7), Offset(12)).unwrap();
        assert_eq!(e.as_slice(), starts(&[(1, 0), (6, 10), (7, 12)]));
    }

    #[test]
    fn epochs_and_starts_never_fall() {
        let mut e = epochs(&[(3, 10)]);
        let stale = Error::StaleEpoch { opened: LeaderEpoch(3), known: LeaderEpoch(3) };
        assert_eq!(e.begin(LeaderEpoch(3), Offset(20)), Err(stale));
        assert!(matches!(e.begin(LeaderEpoch(4), Offset(9)), Err(Error::Corrupt(_))));
        assert!(Epochs::restore(&starts(&[(2, 0), (1, 5)])).is_err());
        assert!(Epochs::restore(&starts(&[(1, 5), (2, 4)])).is_err());
        assert!(Epochs::restore(&starts(&[(-1, 5)])).is_err());
        assert!(Epochs::restore(&starts(&[(1, -5)])).is_err());
    }

    /// The cases of `LeaderEpochFileCache.endOffsetFor`, as consumers ask by OffsetForLeaderEpoch (KIP-320).
    #[test]
    fn end_of_epoch() {
        let e = epochs(&[(2, 5), (4, 10), (7, 30)]);
        let check = |asked: i32, expected: Option<(i32, i64)>| {
            let got = e.end_of(LeaderEpoch(asked), Offset(50)).map(|a| (a.epoch.0, a.end.0));
            assert_eq!(got, expected, "epoch {asked}");
        };
        check(7, Some((7, 50))); // the current one: the committed end
        check(8, None); // larger than any known
        check(4, Some((4, 30)));
        check(2, Some((2, 10)));
        check(5, Some((4, 30))); // unknown or empty: its floor
        check(3, Some((2, 10)));
        check(1, Some((1, 5))); // below the first known: where the rest begins
        assert_eq!(Epochs::default().end_of(LeaderEpoch(0), Offset(0)), None);
    }

    #[test]
    fn epoch_at_offset() {
        let e = epochs(&[(2, 5), (4, 10)]);
        let at = |o| e.at(Offset(o)).map(|e| e.0);
        assert_eq!((at(4), at(5), at(9), at(10), at(99)), (None, Some(2), Some(2), Some(4), Some(4)));
    }

    #[test]
    fn epochs_below_the_log_start_collapse() {
        let check = |start: i64, expected: &[(i32, i64)]| {
            let mut e = epochs(&[(2, 5), (4, 10), (7, 30)]);
            e.truncate_below(Offset(start));
            assert_eq!(e.as_slice(), starts(expected), "log start {start}");
        };
        check(0, &[(2, 5), (4, 10), (7, 30)]);
        check(7, &[(2, 7), (4, 10), (7, 30)]);
        check(10, &[(4, 10), (7, 30)]);
        check(29, &[(4, 29), (7, 30)]);
        check(40, &[(7, 40)]);
    }
}
