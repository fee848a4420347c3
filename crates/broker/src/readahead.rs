//! When to read ahead: a pure decision on the sequence of runs that a partition's readers ask for.

use runnel_record::Offset;

/// Runs fetched ahead at most.
const MOST: u32 = 8;

/// Follows one partition's cold reads. The window doubles with each run read in sequence and closes on a jump.
#[derive(Debug, Default)]
pub(crate) struct Readahead {
    last: Option<(Offset, Offset)>,
    window: u32,
}

impl Readahead {
    /// A reader asks for the run `[base, next)`. Returns how many of the following runs to fetch.
    pub(crate) fn read(&mut self, base: Offset, next: Offset) -> u32 {
        match self.last {
            Some((last, _)) if last == base => return 0,
            Some((_, end)) if end == base => self.window = (self.window * 2).clamp(1, MOST),
            _ => self.window = 0,
        }
        self.last = Some((base, next));
        self.window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_in_sequence_and_closes_on_a_jump() {
        let mut ahead = Readahead::default();
        let mut read = |run: i64| ahead.read(Offset(run * 10), Offset(run * 10 + 10));
        let windows = [5, 5, 6, 7, 7, 8, 9, 10, 2, 3].map(&mut read);
        assert_eq!(windows, [0, 0, 1, 2, 0, 4, 8, 8, 0, 1]);
    }
}
