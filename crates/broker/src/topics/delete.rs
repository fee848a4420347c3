//! Deleting a topic, and changing its configuration.
//!
//! A change goes to the bucket first, then to the metadata store, then into memory.

use std::sync::Arc;

use runnel_api::{ConfigChange, Error, ErrorKind, TopicKey};
use runnel_blob::{CasOutcome, Key};
use runnel_format::meta::{Tombstone, TopicRecord};
use runnel_metastore::{Op, TxnOutcome};
use runnel_record::TopicId;

use super::{Topic, changing_key, created_key, topic_key};
use crate::Broker;
use crate::configs::{self, Of};
use crate::error::{bucket_error, damaged, metadata_error};
use crate::open::partitions_key;

/// Keys that one transaction deletes.
const FORGET_AT_ONCE: usize = 100;

impl Broker {
    /// Deletes a topic. The tombstone in the bucket is the point of no return; it is kept for ever, so that nothing
    /// brings the topic back. Its name is free for a new incarnation at once.
    pub(crate) async fn delete(&self, key: &TopicKey) -> Result<(String, TopicId), Error> {
        let _changing = self.topics.changing.lock().await;
        let topic = self.find_topic(key).await?;
        let deleted_ms = self.ports.clock.now_ms();
        let tombstone = Tombstone { name: topic.name.clone(), id: topic.id, deleted_ms }.encode();
        // A conflict means that an earlier attempt got this far.
        let created = self.bucket.create_register(&Key::Tombstone(topic.id), tombstone).await;
        created.map_err(|error| {
            // It may be there: a topic that goes on would lose at the next start what it acknowledged meanwhile.
            self.topics.half_deleted().insert(topic.id);
            bucket_error(&error)
        })?;
        self.topics.half_deleted().remove(&topic.id);
        self.pass("topic.tombstoned")?;
        self.forget_topic(topic.id).await?;
        self.drop_topic(&topic);
        self.dig(topic.record(), deleted_ms, Some(Arc::clone(&topic)));
        tracing::info!(topic = topic.name, id = %topic.id, "deleted a topic; its objects follow");
        Ok((topic.name.clone(), topic.id))
    }

    /// Nothing of a topic is served here any more. Its tombstone is there.
    pub(super) fn drop_topic(&self, topic: &Topic) {
        self.topics.remove(topic);
        topic.open_partitions().for_each(|partition| partition.close());
        self.log.forget(topic.id);
    }

    /// A topic was deleted by another broker.
    pub(crate) async fn forget_deleted(&self, id: TopicId) {
        let _changing = self.topics.changing.lock().await;
        let Some(topic) = self.topics.find(&TopicKey::Id(id)) else { return };
        self.drop_topic(&topic);
        tracing::info!(topic = topic.name, %id, "another broker deleted a topic");
        self.forget_offsets_of(&topic.name).await;
    }

    /// Finds out what became of deletions whose outcome is unknown, and goes on with those that the bucket knows of.
    pub(crate) async fn delete_again(&self) {
        let ids: Vec<TopicId> = self.topics.half_deleted().iter().copied().collect();
        for id in ids {
            let outcome = match self.bucket.read_register(&Key::Tombstone(id)).await {
                Ok(Some(_)) => match self.delete(&TopicKey::Id(id)).await {
                    Ok((name, _)) => {
                        self.forget_offsets_of(&name).await;
                        Ok(())
                    }
                    Err(error) => Err(error),
                },
                Ok(None) => Ok(()),
                Err(error) => Err(bucket_error(&error)),
            };
            match outcome {
                Err(error) if error.kind != ErrorKind::UnknownTopicId => {
                    tracing::warn!(%id, %error, "whether a topic was deleted is not known yet");
                }
                _ => drop(self.topics.half_deleted().remove(&id)),
            }
        }
    }

    pub(super) async fn forget_topic(&self, id: TopicId) -> Result<(), Error> {
        // The records of the partitions first: a topic that is still known is forgotten again.
        let partitions = self.meta.range(&partitions_key(id)).await.map_err(|e| metadata_error(&e))?;
        let keys: Vec<_> = partitions.into_iter().map(|(key, _)| key).collect();
        let last = vec![topic_key(id), created_key(id), changing_key(id)];
        for keys in keys.chunks(FORGET_AT_ONCE).chain([last.as_slice()]) {
            let gone = keys.iter().cloned().map(Op::Delete).collect();
            self.meta.txn(Vec::new(), gone).await.map_err(|e| metadata_error(&e))?;
        }
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
        let topic = self.find_topic(&TopicKey::Name(name.to_owned())).await?;
        configs::apply(Of::Topic, &topic.record().configs, changes)?;
        if validate_only {
            return Ok(());
        }
        let change = |stored: TopicRecord| {
            let configs = configs::apply(Of::Topic, &stored.configs, changes)?;
            Ok(TopicRecord { configs, ..stored })
        };
        self.change(&topic, change).await
    }

    /// Changes the stored topic. Holding `changing` is the caller's part.
    pub(super) async fn change(
        &self,
        topic: &Arc<Topic>,
        change: impl Fn(TopicRecord) -> Result<TopicRecord, Error>,
    ) -> Result<(), Error> {
        // Noted first: after a crash, or an answer that got lost, the bucket is asked what became of it.
        let note = Op::Put(changing_key(topic.id), self.home.session.to_be_bytes().to_vec().into(), None);
        let noted = self.meta.txn(Vec::new(), vec![note]).await.map_err(|e| metadata_error(&e))?;
        self.pass("topic.noted")?;
        self.change_in_bucket(topic, change).await?;
        self.pass("topic.changed")?;
        self.copy_topic(topic.id).await?;
        match noted {
            TxnOutcome::Committed(revision) => self.forget_note(topic.id, revision).await,
            TxnOutcome::Refused => Ok(()),
        }
    }

    async fn change_in_bucket(
        &self,
        topic: &Topic,
        change: impl Fn(TopicRecord) -> Result<TopicRecord, Error>,
    ) -> Result<(), Error> {
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
            let record = change(stored)?;
            let outcome = self.bucket.replace_register(&key, &register.version, record.encode()).await;
            match outcome.map_err(|e| bucket_error(&e))? {
                CasOutcome::Done(_) => return Ok(()),
                CasOutcome::Conflict(now) => found = now,
            }
        }
    }
}
