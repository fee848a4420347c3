//! Waiting longer after each failure.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);

/// The wait before the next attempt: doubles up to a limit.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after one more failure; never shorter than what the broker asked for.
    pub(crate) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let wait = FIRST.saturating_mul(1 << self.failures.min(8)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        wait.max(asked.unwrap_or_default())
    }

    /// It works again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit_and_heed_the_broker() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.next(None), FIRST);
        assert_eq!(backoff.next(None), FIRST * 2);
        assert_eq!(backoff.next(Some(Duration::from_secs(9))), Duration::from_secs(9));
        (0..100).for_each(|_| assert!(backoff.next(None) <= LONGEST));
        backoff.reset();
        assert_eq!(backoff.next(None), FIRST);
    }
}
