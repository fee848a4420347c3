//! What a broker does before it says that there is no such topic: another may have created it a moment ago, and what is
//! followed of the metadata store arrives a little later than the answer to whoever created it.

use std::sync::Arc;
use std::time::Duration;

use runnel_api::{Error, ErrorKind, TopicKey};
use tokio::time::{Instant, timeout};

use crate::Broker;
use crate::error::metadata_error;
use crate::topics::{TOPIC_PREFIX, Topic};

/// Longest wait for the metadata store. Without its answer, what is known here is the answer.
const PATIENCE: Duration = Duration::from_secs(1);

impl Broker {
    /// A topic that exists anywhere in the cluster.
    ///
    /// Errors: `UnknownTopic`, `UnknownTopicId`; `InvalidTopicName` for a name that no topic can have.
    pub(crate) async fn find_topic(&self, key: &TopicKey) -> Result<Arc<Topic>, Error> {
        match self.topics.get(key) {
            Err(error) if is_unknown(error.kind) => {
                self.learn_topics().await;
                self.topics.get(key)
            }
            found => found,
        }
    }

    /// Takes over the topics that were created before this was called. One reading of the metadata store at a time serves
    /// all who wait, so that clients that ask for what is not there cost no more than that.
    async fn learn_topics(&self) {
        let (Some(member), Some(me)) = (&self.member, self.me.upgrade()) else { return };
        let asked = Instant::now();
        let mut last = member.caught_up.lock().await;
        if last.is_some_and(|last| last >= asked) || !member.lease.is_valid() {
            return;
        }
        *last = Some(Instant::now());
        let created = async {
            let created =
                self.meta.range_since(TOPIC_PREFIX, member.followed()).await.map_err(|e| metadata_error(&e))?;
            for (key, record) in created {
                me.take_in_one(&key, Some(&record)).await?;
            }
            Ok::<_, Error>(())
        };
        match timeout(PATIENCE, created).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "cannot look for a topic that is not known here"),
            Err(_) => tracing::warn!("the metadata store does not say whether there is a topic that is not known here"),
        }
    }
}

const fn is_unknown(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::UnknownTopic | ErrorKind::UnknownTopicId)
}
