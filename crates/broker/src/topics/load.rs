//! The topics at start: from the metadata store at once, and compared with the bucket when it answers.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use runnel_api::{Error, ErrorKind, TopicKey};
use runnel_blob::{Bucket, Key};
use runnel_format::meta::{SessionState, TopicRecord};
use runnel_metastore::{Compare, Op, TxnOutcome, Versioned};
use runnel_record::TopicId;

use super::{CHANGING_PREFIX, TOPIC_PREFIX, Topic, changing_key, topic_key};
use crate::Broker;
use crate::cluster::Member;
use crate::error::{bucket_error, damaged, metadata_error};

impl Broker {
    /// Fills the registry from the metadata store.
    pub(crate) async fn load_topics(&self) -> Result<(), Error> {
        for (_, stored) in self.meta.range(TOPIC_PREFIX).await.map_err(|e| metadata_error(&e))? {
            let record = TopicRecord::decode(&stored.value).map_err(|e| damaged(&e))?;
            self.topics.learn(record, stored.revision);
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

    /// Settings whose change was cut off are as the bucket has them. Of one that may be under way the note stays.
    pub(crate) async fn settle_changes(&self) -> Result<(), Error> {
        for (key, note) in self.meta.range(CHANGING_PREFIX).await.map_err(|e| metadata_error(&e))? {
            let id = key.strip_prefix(CHANGING_PREFIX).and_then(|id| id.parse().ok());
            let Some(topic) = id.and_then(|id| self.topics.find(&TopicKey::Id(id))) else { continue };
            self.copy_topic(topic.id).await?;
            // Builds before this one left it empty.
            let session = <[u8; 8]>::try_from(&note.value[..]).map_or(0, u64::from_be_bytes);
            if !self.may_be_alive(session) {
                self.forget_note(topic.id, note.revision).await?;
            }
        }
        Ok(())
    }

    /// Brings the metadata store's copy of a topic, and what is shown of it here, to what the bucket has. Any number of
    /// brokers may do so at the same time: whoever replaces a copy has read the bucket after that copy was written, so
    /// the last copy is of the last change.
    pub(super) async fn copy_topic(&self, id: TopicId) -> Result<Arc<Topic>, Error> {
        let key = topic_key(id);
        let gone = || Error::new(ErrorKind::UnknownTopicId, format!("the topic with id {id} was deleted"));
        loop {
            let copy = self.meta.get(&key).await.map_err(|e| metadata_error(&e))?;
            if self.is_tombstoned(id).await? {
                return Err(gone());
            }
            let found = self.bucket.read_register(&Key::Topic(id)).await.map_err(|e| bucket_error(&e))?;
            let record = TopicRecord::decode(&found.ok_or_else(gone)?.payload).map_err(|e| damaged(&e))?;
            if let Some(revision) = self.replace_copy(&key, copy, record.encode()).await? {
                let (topic, _) = self.topics.learn(record.clone(), revision);
                self.topics.apply(&topic, record, revision).await;
                return Ok(topic);
            }
        }
    }

    /// Replaces a copy of something in the bucket by a later one, if it is still there as it was. The revision of the later
    /// one, or `None` if somebody else was faster.
    pub(crate) async fn replace_copy(
        &self,
        key: &str,
        copy: Option<Versioned>,
        later: Bytes,
    ) -> Result<Option<u64>, Error> {
        let unchanged = match copy {
            Some(copy) if copy.value == later => return Ok(Some(copy.revision)),
            Some(copy) => Compare::Revision(key.to_owned(), copy.revision),
            None => Compare::Absent(key.to_owned()),
        };
        let put = Op::Put(key.to_owned(), later, None);
        match self.meta.txn(vec![unchanged], vec![put]).await.map_err(|e| metadata_error(&e))? {
            TxnOutcome::Committed(revision) => Ok(Some(revision)),
            TxnOutcome::Refused => Ok(None),
        }
    }

    /// Whether a session may still be at work.
    fn may_be_alive(&self, session: u64) -> bool {
        let state = |member: &Member| member.view().sessions.get(&session).map(|at| at.record.state);
        session == self.home.session || self.member.as_ref().and_then(state) == Some(SessionState::Active)
    }

    /// A change that is in the metadata store needs no note, unless another began meanwhile.
    pub(super) async fn forget_note(&self, id: TopicId, revision: u64) -> Result<(), Error> {
        let key = changing_key(id);
        let done = self.meta.txn(vec![Compare::Revision(key.clone(), revision)], vec![Op::Delete(key)]).await;
        done.map(drop).map_err(|e| metadata_error(&e))
    }

    async fn ids_under(&self, prefix: &str) -> Result<BTreeSet<TopicId>, Error> {
        ids_under(&self.bucket, prefix).await.map_err(|e| bucket_error(&e))
    }
}

/// The topics that have an object of a kind.
pub(crate) async fn ids_under(bucket: &Bucket, prefix: &str) -> Result<BTreeSet<TopicId>, runnel_blob::Error> {
    let listed = bucket.list(prefix).await?;
    Ok(listed.iter().filter_map(|object| object.path.strip_prefix(prefix)?.parse().ok()).collect())
}
