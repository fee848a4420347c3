//! Runs that are fetched with one request and unpacked one after the other.
//!
//! What is unpacked ahead of a reader takes several times the bytes of what it was fetched as, so that little of it can
//! wait in memory. Requests to a bucket cost the same whatever they bring: more is fetched than is unpacked yet, and stays
//! as it is until its turn comes.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use runnel_segment::Fetched;
use tokio::sync::OnceCell;
use uuid::Uuid;

/// Bytes to be fetched together at most, unless one run has more.
const MOST: u64 = 2 << 20;

/// Every window has an equal part of the budget, as if there were so many more: a reader may need its next one before it is
/// through with the last.
const SPARE: usize = 4;

/// A window that was not used while every other one was, this many times, is not waited for any longer.
const IDLE_ROUNDS: u64 = 8;

/// Neighbouring runs of a segment, fetched by who needs the first of them.
#[derive(Debug)]
pub(crate) struct Window {
    pub(crate) runs: Range<u32>,
    pub(crate) fetched: OnceCell<Fetched>,
}

impl Window {
    pub(crate) fn new(runs: Range<u32>) -> Arc<Self> {
        Arc::new(Self { runs, fetched: OnceCell::new() })
    }
}

/// The windows that readers have open, within a budget of bytes.
#[derive(Debug)]
pub(crate) struct Windows {
    budget: u64,
    taken: u64,
    /// Counts uses.
    clock: u64,
    /// By segment and first run.
    open: BTreeMap<(Uuid, u32), Open>,
}

#[derive(Debug)]
struct Open {
    window: Arc<Window>,
    bytes: u64,
    used_at: u64,
}

impl Windows {
    pub(crate) const fn new(budget: u64) -> Self {
        Self { budget, taken: 0, clock: 0, open: BTreeMap::new() }
    }

    /// The window to take `runs` from, the first of them at least. A new one holds them all, and as many of those behind
    /// them as go with them; `stored` has the bytes that each run of the segment takes in its object. What there is no room
    /// for is not kept.
    pub(crate) fn at(&mut self, segment: Uuid, runs: Range<u32>, stored: impl Fn(u32) -> Option<u64>) -> Arc<Window> {
        self.clock += 1;
        if let Some(window) = self.find(segment, runs.start) {
            return window;
        }
        let size = (self.budget / (self.open.len() + SPARE) as u64).min(MOST);
        let (mut end, mut bytes) = (runs.start, 0);
        while let Some(more) = stored(end).filter(|more| end < runs.end || bytes + more <= size) {
            bytes += more;
            end += 1;
        }
        if self.taken + bytes > self.budget {
            self.drop_idle();
        }
        if self.taken + bytes > self.budget {
            return Window::new(runs);
        }
        self.taken += bytes;
        let window = Window::new(runs.start..end.max(runs.end));
        let open = Open { window: Arc::clone(&window), bytes, used_at: self.clock };
        self.open.insert((segment, runs.start), open);
        window
    }

    /// An open window with a run.
    pub(crate) fn find(&mut self, segment: Uuid, run: u32) -> Option<Arc<Window>> {
        let (_, open) = self.open.range_mut((segment, 0)..=(segment, run)).next_back()?;
        if !open.window.runs.contains(&run) {
            return None;
        }
        open.used_at = self.clock;
        Some(Arc::clone(&open.window))
    }

    /// A run was unpacked, or could not be. A window goes with its last run, and when its bytes are not what they should be:
    /// they may have been damaged on their way.
    pub(crate) fn unpacked(&mut self, segment: Uuid, run: u32, is_good: bool) {
        let window = self.open.range((segment, 0)..=(segment, run)).next_back();
        let is_over = |open: &Open| open.window.runs.end == run + 1 || (!is_good && open.window.runs.contains(&run));
        if let Some((key, _)) = window.filter(|(_, open)| is_over(open)) {
            self.remove(*key);
        }
    }

    /// Drops the window that has been unused longest, if it may be dropped.
    fn drop_idle(&mut self) {
        let Some((key, used_at)) = self.open.iter().map(|(key, o)| (*key, o.used_at)).min_by_key(|(_, at)| *at) else {
            return;
        };
        if self.clock - used_at > IDLE_ROUNDS * self.open.len() as u64 {
            self.remove(key);
        }
    }

    fn remove(&mut self, key: (Uuid, u32)) {
        self.taken -= self.open.remove(&key).map_or(0, |open| open.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: Uuid = Uuid::from_u128(7);
    const KIB: u64 = 1 << 10;

    /// A segment of so many runs of 100 KiB.
    fn of(runs: u32) -> impl Fn(u32) -> Option<u64> {
        move |run| (run < runs).then_some(100 * KIB)
    }

    fn at(windows: &mut Windows, runs: Range<u32>) -> Range<u32> {
        windows.at(SEGMENT, runs, of(23)).runs.clone()
    }

    #[test]
    fn a_window_serves_its_runs_and_goes_with_the_last() {
        let mut windows = Windows::new(2_000 * KIB);
        let mut fetched = Vec::new();
        for run in 3..23 {
            fetched.push(at(&mut windows, run..run + 1));
            windows.unpacked(SEGMENT, run, true);
        }
        fetched.dedup();
        assert_eq!(fetched, [3..8, 8..13, 13..18, 18..23]);
        assert_eq!((windows.taken, windows.open.len()), (0, 0));
        assert_eq!(at(&mut windows, 2..9), 2..9, "as many as are wanted, whatever they take");
        assert_eq!(windows.taken, 700 * KIB);
        assert!(windows.find(SEGMENT, 9).is_none() && windows.find(Uuid::nil(), 4).is_none());
    }

    #[test]
    fn readers_of_one_segment_have_windows_of_their_own() {
        let mut windows = Windows::new(2_000 * KIB);
        assert_eq!([at(&mut windows, 0..1), at(&mut windows, 10..11), at(&mut windows, 3..4)], [0..5, 10..14, 0..5]);
        assert_eq!(windows.find(SEGMENT, 12).map(|window| window.runs.clone()), Some(10..14));
    }

    #[test]
    fn the_more_windows_are_open_the_smaller_is_the_next_one() {
        let mut windows = Windows::new(32 << 20);
        let mut open = |segment| windows.at(Uuid::from_u128(segment), 0..1, |_| Some(10 * KIB)).runs.end * 10;
        let kib: Vec<u32> = (0..40).map(&mut open).collect();
        assert!(kib.is_sorted_by(|a, b| a >= b), "{kib:?}");
        assert_eq!((kib[0], kib[12], kib[15], kib[39]), (2_040, 2_040, 1_720, 10), "the last one is not kept");
        assert!(windows.taken > 31 << 20 && windows.taken <= 32 << 20);
    }

    #[test]
    fn without_room_only_what_is_wanted_is_fetched_and_nothing_is_kept() {
        let mut windows = Windows::new(1_000 * KIB);
        assert_eq!([at(&mut windows, 0..5), at(&mut windows, 10..15)], [0..5, 10..15]);
        assert_eq!(at(&mut windows, 20..22), 20..22);
        assert_eq!(windows.taken, 1_000 * KIB);
        // Whoever opened the first one does not come back.
        for _ in 0..20 {
            at(&mut windows, 12..13);
        }
        assert_eq!(at(&mut windows, 20..22), 20..22);
        assert!(windows.find(SEGMENT, 3).is_none() && windows.taken == 700 * KIB);
    }

    #[test]
    fn damaged_bytes_are_not_looked_at_twice() {
        let mut windows = Windows::new(1_000 * KIB);
        at(&mut windows, 0..2);
        windows.unpacked(SEGMENT, 5, false);
        assert!(windows.find(SEGMENT, 1).is_some(), "a run that is not in it");
        windows.unpacked(SEGMENT, 1, false);
        assert!(windows.find(SEGMENT, 1).is_none() && windows.taken == 0);
    }

    #[test]
    fn a_window_whose_runs_are_not_known_holds_what_is_wanted() {
        let mut windows = Windows::new(1_000 * KIB);
        assert_eq!(windows.at(SEGMENT, 4..6, |_| None).runs, 4..6);
    }
}
