//! Deleting a topic, and changing its configuration.

use bytes::Bytes;
use runnel_api::{ConfigChange, Error, ErrorKind, TopicKey};
use runnel_blob::{CasOutcome, Key};
use runnel_format::meta::{Tombstone, TopicRecord};
use runnel_metastore::Op;
use runnel_record::TopicId;

use super::{Topic, changing_key, created_key, topic_key};
use crate::Broker;
use crate::configs;
use crate::error::{bucket_error, damaged, metadata_error};

impl Broker {
    /// Deletes a topic. The tombstone in the bucket is the point of no return; it is kept for ever, so that nothing
    /// brings the topic back. Its name is free for a new incarnation at once.
    pub(crate) async fn delete(&self, key: &TopicKey) -> Result<(String, TopicId), Error> {
        let _changing = self.topics.changing.lock().await;
        let topic = self.topics.get(key)?;
        let tombstone =
            Tombstone { name: topic.name.clone(), id: topic.id, deleted_ms: self.ports.clock.now_ms() }.encode();
        // A conflict means that an earlier attempt got this far.
        self.bucket.create_register(&Key::Tombstone(topic.id), tombstone).await.map_err(|e| bucket_error(&e))?;
        self.pass("topic.tombstoned")?;
        self.forget_topic(topic.id).await?;
        self.topics.remove(&topic);
        for partition in topic.open_partitions() {
            partition.close();
        }
        self.log.forget(topic.id);
        tracing::info!(topic = topic.name, id = %topic.id, "deleted a topic; its objects stay in the bucket");
        Ok((topic.name.clone(), topic.id))
    }

    pub(super) async fn forget_topic(&self, id: TopicId) -> Result<(), Error> {
        let keys = [topic_key(id), created_key(id), changing_key(id)];
        let gone = keys.into_iter().map(Op::Delete).collect();
        self.meta.txn(Vec::new(), gone).await.map_err(|e| metadata_error(&e))?;
        Ok(())
    }

    /// Applies configuration changes: bucket first, then metadata store, then memory.
    pub(crate) async fn alter_topic(
        &self,
        name: &str,
        changes: &[ConfigChange],
        validate_only: bool,
    ) -> Result<(), Error> {
        let _changing = self.topics.changing.lock().await;
        let topic = self.topics.get(&TopicKey::Name(name.to_owned()))?;
        configs::apply(&topic.record().configs, changes)?;
        if validate_only {
            return Ok(());
        }
        // Noted first: after a crash, or an answer that got lost, the bucket is asked what became of it.
        let note = Op::Put(changing_key(topic.id), Bytes::new(), None);
        self.meta.txn(Vec::new(), vec![note]).await.map_err(|e| metadata_error(&e))?;
        let record = self.change_in_bucket(&topic, changes).await?;
        self.take_over_settings(&topic, record).await
    }

    async fn change_in_bucket(&self, topic: &Topic, changes: &[ConfigChange]) -> Result<TopicRecord, Error> {
        let key = Key::Topic(topic.id);
        let mut found = self.bucket.read_register(&key).await.map_err(|e| bucket_error(&e))?;
        loop {
            let Some(register) = found else {
                return Err(Error::new(
                    ErrorKind::Corrupt,
                    format!("the bucket has lost the topic object of `{}`", topic.name),
                ));
            };
            let stored = TopicRecord::decode(&register.payload).map_err(|e| damaged(&e))?;
            let record = TopicRecord { configs: configs::apply(&stored.configs, changes)?, ..stored };
            let outcome = self.bucket.replace_register(&key, &register.version, record.encode()).await;
            match outcome.map_err(|e| bucket_error(&e))? {
                CasOutcome::Done(_) => return Ok(record),
                CasOutcome::Conflict(now) => found = now,
            }
        }
    }

    /// Settings that are in the bucket: into the metadata store, into memory, to the open partitions.
    pub(super) async fn take_over_settings(&self, topic: &Topic, record: TopicRecord) -> Result<(), Error> {
        let done = vec![Op::Put(topic_key(topic.id), record.encode(), None), Op::Delete(changing_key(topic.id))];
        self.meta.txn(Vec::new(), done).await.map_err(|e| metadata_error(&e))?;
        topic.set(record, &self.topics.defaults);
        let limits = topic.config().segment_limits();
        for partition in topic.open_partitions() {
            // A partition that closed meanwhile reads the new limits when it opens again.
            if partition.set_limits(limits).await.is_err() {
                tracing::debug!(partition = partition.label(), "closed before its new limits reached it");
            }
        }
        Ok(())
    }
}
