//! Waiting longer after each failure, and giving up.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::{Error, Result};

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

/// A session that is opened anew when it breaks.
#[derive(Debug, Default)]
pub(crate) struct Mending {
    backoff: Backoff,
    /// Since when it is broken, and when to open it anew.
    broken: Option<(Instant, Instant)>,
}

impl Mending {
    /// It works, which a session that was only opened does not show.
    pub(crate) fn works(&mut self) {
        self.broken = None;
    }

    /// It brings what it is there for.
    pub(crate) fn delivers(&mut self) {
        self.works();
        self.backoff.reset();
    }

    /// It ended as it should, and is opened anew at once.
    pub(crate) fn ended(&mut self) {
        let now = Instant::now();
        self.broken = Some((now, now));
    }

    /// It broke. The error comes back if opening it anew is no use, or was of none for all of `patience`.
    pub(crate) fn broke(&mut self, error: Error, patience: Duration) -> Result<()> {
        let now = Instant::now();
        let since = self.broken.map_or(now, |(since, _)| since);
        if !error.is_retryable() || now - since > patience {
            return Err(error);
        }
        self.broken = Some((since, now + self.backoff.next(error.retry_after())));
        Ok(())
    }

    /// Waits until it may be opened anew.
    pub(crate) async fn pause(&self) {
        if let Some((_, at)) = self.broken {
            sleep_until(at).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

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

    #[tokio::test(start_paused = true)]
    async fn patience_begins_anew_once_a_session_has_worked() {
        let patience = Duration::from_secs(60);
        let error = || Error::new(ErrorKind::Unavailable, "gone");
        let mut mending = Mending::default();
        mending.broke(error(), patience).unwrap();
        tokio::time::advance(2 * patience).await;
        mending.broke(error(), patience).unwrap_err();
        mending.works();
        mending.broke(error(), patience).unwrap();
        mending.broke(Error::new(ErrorKind::Invalid, "never"), patience).unwrap_err();
    }
}
