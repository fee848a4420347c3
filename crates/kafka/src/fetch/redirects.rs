//! Consumers of one connection that were sent to a broker of their zone (KIP-392).
//!
//! One that comes back soon was not served there: it may not reach that broker, or that broker may not reach this one. It is
//! served here then, for a while, and not sent to and fro.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use runnel_api::TopicKey;
use tokio::time::Instant;

/// How long a consumer that was sent away and is back is served here. Clients that are served there come back after five
/// minutes, to ask anew.
const STAY: Duration = Duration::from_secs(30);

/// When which partitions' consumers were sent away.
#[derive(Debug, Default)]
pub(crate) struct Redirects(Mutex<Sent>);

#[derive(Debug, Default)]
struct Sent {
    at: BTreeMap<(TopicKey, i32), Instant>,
    /// When what is over was last dropped: not with each note, of which there may be one for each of many partitions.
    swept: Option<Instant>,
}

impl Redirects {
    /// Whether a consumer may be sent away.
    pub(crate) fn allow(&self, topic: &TopicKey, partition: i32) -> bool {
        let sent = self.sent();
        // Most connections never get here.
        sent.at.is_empty() || sent.at.get(&(topic.clone(), partition)).is_none_or(|at| at.elapsed() >= STAY)
    }

    /// A consumer is sent away.
    pub(crate) fn note(&self, topic: &TopicKey, partition: i32) {
        let now = Instant::now();
        let mut sent = self.sent();
        if sent.swept.is_none_or(|swept| now - swept >= STAY) {
            sent.at.retain(|_, at| now - *at < STAY);
            sent.swept = Some(now);
        }
        sent.at.insert((topic.clone(), partition), now);
    }

    fn sent(&self) -> MutexGuard<'_, Sent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_comes_back_soon_stays_for_a_while() {
        let (redirects, t) = (Redirects::default(), TopicKey::Name("t".to_owned()));
        assert!(redirects.allow(&t, 0));
        redirects.note(&t, 0);
        tokio::time::advance(STAY / 2).await;
        assert!(!redirects.allow(&t, 0));
        assert!(redirects.allow(&t, 1), "it is about one partition");
        tokio::time::advance(STAY / 2).await;
        assert!(redirects.allow(&t, 0));
        redirects.note(&t, 1);
        assert_eq!(redirects.sent().at.len(), 1, "what is over is forgotten");
    }
}
