//! What may be unanswered in an append session, and in which order it is answered.

use std::collections::VecDeque;

/// Records, and bytes of their keys, values and headers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

impl Size {
    fn plus(self, other: Self) -> Self {
        Self { records: self.records.saturating_add(other.records), bytes: self.bytes.saturating_add(other.bytes) }
    }

    fn minus(self, other: Self) -> Self {
        Self { records: self.records.saturating_sub(other.records), bytes: self.bytes.saturating_sub(other.bytes) }
    }

    fn within(self, limit: Self) -> bool {
        self.records <= limit.records && self.bytes <= limit.bytes
    }
}

/// The batches that wait for their reply, in the order in which they came.
#[derive(Debug)]
pub(crate) struct Window {
    limit: Size,
    used: Size,
    unanswered: VecDeque<Size>,
    /// Batches answered so far: the number of the next one to be answered.
    answered: u64,
}

impl Window {
    pub(crate) const fn new(limit: Size) -> Self {
        Self { limit, used: Size { records: 0, bytes: 0 }, unanswered: VecDeque::new(), answered: 0 }
    }

    /// Whether a batch may be taken now: there is room for it, or nothing else is unanswered.
    pub(crate) fn fits(&self, batch: Size) -> bool {
        self.unanswered.is_empty() || self.used.plus(batch).within(self.limit)
    }

    /// Takes a batch.
    pub(crate) fn take(&mut self, batch: Size) {
        self.used = self.used.plus(batch);
        self.unanswered.push_back(batch);
    }

    /// The oldest batch is answered: its number, and what it frees.
    pub(crate) fn answer(&mut self) -> Option<(u64, Size)> {
        let freed = self.unanswered.pop_front()?;
        let number = self.answered;
        self.answered += 1;
        self.used = self.used.minus(freed);
        Some((number, freed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn size(records: u64, bytes: u64) -> Size {
        Size { records, bytes }
    }

    #[test]
    fn both_limits_hold() {
        let mut window = Window::new(size(10, 100));
        window.take(size(4, 90));
        assert!(window.fits(size(6, 10)));
        assert!(!window.fits(size(7, 0)), "too many records");
        assert!(!window.fits(size(1, 11)), "too many bytes");
    }

    #[test]
    fn what_never_fits_goes_alone() {
        let mut window = Window::new(size(10, 100));
        let huge = size(u64::MAX, u64::MAX);
        assert!(window.fits(huge));
        window.take(huge);
        assert!(!window.fits(size(0, 1)));
        assert_eq!(window.answer(), Some((0, huge)));
        assert!(window.fits(size(10, 100)));
    }

    #[test]
    fn answers_are_numbered_in_the_order_of_the_batches() {
        let mut window = Window::new(size(10, 100));
        for n in 1..=3 {
            window.take(size(n, 0));
        }
        let answers: Vec<_> = std::iter::from_fn(|| window.answer()).collect();
        assert_eq!(answers, [(0, size(1, 0)), (1, size(2, 0)), (2, size(3, 0))]);
        window.take(size(1, 1));
        assert_eq!(window.answer(), Some((3, size(1, 1))));
    }
}
