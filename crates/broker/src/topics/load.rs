//! The topics at start: from the metadata store at once, and compared with the bucket when it answers.

use std::collections::BTreeSet;

use runnel_api::{Error, TopicKey};
use runnel_blob::Key;
use runnel_format::meta::TopicRecord;
use runnel_record::TopicId;

use super::{CHANGING_PREFIX, TOPIC_PREFIX};
use crate::Broker;
use crate::error::{bucket_error, damaged, metadata_error};

impl Broker {
    /// Fills the registry from the metadata store.
    pub(crate) async fn load_topics(&self) -> Result<(), Error> {
        for (_, stored) in self.meta.range(TOPIC_PREFIX).await.map_err(|e| metadata_error(&e))? {
            let record = TopicRecord::decode(&stored.value).map_err(|e| damaged(&e))?;
            self.topics.learn(record);
        }
        Ok(())
    }

    /// Repairs the registry and the metadata store from the bucket, which is the truth for topics: a topic whose
    /// creation was cut off after its object was stored appears, one whose deletion was cut off after its tombstone
    /// disappears. Nothing is concluded from an absence.
    pub(crate) async fn reconcile_topics(&self) -> Result<(), Error> {
        let _changing = self.topics.changing.lock().await;
        let tombstones = self.ids_under("meta/tombstones/").await?;
        for topic in self.topics.all() {
            if tombstones.contains(&topic.id) {
                self.forget_topic(topic.id).await?;
                self.drop_topic(&topic);
                tracing::info!(topic = topic.name, id = %topic.id, "finished the deletion of a topic");
            }
        }
        self.settle_changes().await?;
        let known: BTreeSet<TopicId> = self.topics.all().iter().map(|t| t.id).collect();
        for id in self.ids_under("meta/topics/").await? {
            if tombstones.contains(&id) {
                if let Err(error) = self.dig_again(id).await {
                    tracing::warn!(%id, %error, "the objects of a deleted topic stay: what is known of it cannot be read");
                }
                continue;
            }
            if known.contains(&id) {
                continue;
            }
            let Some(found) = self.bucket.read_register(&Key::Topic(id)).await.map_err(|e| bucket_error(&e))? else {
                continue;
            };
            let record = TopicRecord::decode(&found.payload).map_err(|e| damaged(&e))?;
            tracing::info!(topic = record.name, id = %id, "took over a topic from the bucket");
            self.remember_topic(record).await?;
        }
        Ok(())
    }

    /// Settings whose change was cut off are as the bucket has them.
    async fn settle_changes(&self) -> Result<(), Error> {
        for (key, _) in self.meta.range(CHANGING_PREFIX).await.map_err(|e| metadata_error(&e))? {
            let id = key.strip_prefix(CHANGING_PREFIX).and_then(|id| id.parse().ok());
            let Some(topic) = id.and_then(|id| self.topics.find(&TopicKey::Id(id))) else { continue };
            let found = self.bucket.read_register(&Key::Topic(topic.id)).await.map_err(|e| bucket_error(&e))?;
            let Some(found) = found else { continue };
            let record = TopicRecord::decode(&found.payload).map_err(|e| damaged(&e))?;
            self.take_over_settings(&topic, record).await?;
        }
        Ok(())
    }

    async fn ids_under(&self, prefix: &str) -> Result<BTreeSet<TopicId>, Error> {
        let listed = self.bucket.list(prefix).await.map_err(|e| bucket_error(&e))?;
        Ok(listed.iter().filter_map(|object| object.path.strip_prefix(prefix)?.parse().ok()).collect())
    }
}
