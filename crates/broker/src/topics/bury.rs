//! The objects of deleted topics: gone after the grace period that the topic asked for.
//!
//! A tombstone says that nothing of the topic is wanted any more, and it stays for ever; the topic's own object goes
//! last. So a topic that has both is not done yet, which is how a burial that was cut off is found again. Whatever is
//! deleted bears the topic's id: a new incarnation of the name shares the folder of segments.

use std::sync::{Arc, PoisonError};

use runnel_api::Error;
use runnel_blob::{Key, chunk_prefix, producer_prefix, segment_prefix};
use runnel_format::meta::{Tombstone, TopicRecord};
use runnel_record::{TimestampMs, TopicId, TopicPartition};

use super::Topic;
use crate::Broker;
use crate::error::{bucket_error, damaged};

/// Names listed at a time.
const PAGE: usize = 1000;

/// A deleted topic whose objects are still there.
#[derive(Debug)]
pub(crate) struct Grave {
    /// Its object, as far as it matters here.
    record: TopicRecord,
    /// When its objects may go.
    due: TimestampMs,
    /// What was open when it was deleted here: a ship may be on its way.
    open: Option<Arc<Topic>>,
}

impl Broker {
    /// Notes a topic whose tombstone is durable.
    pub(super) fn dig(&self, record: TopicRecord, deleted_ms: i64, open: Option<Arc<Topic>>) {
        let delay = super::TopicConfig::new(&record.configs, &self.topics.defaults()).delete_delay;
        let delay = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        let due = TimestampMs(deleted_ms.saturating_add(delay));
        let mut graves = self.topics.graves.lock().unwrap_or_else(PoisonError::into_inner);
        graves.entry(record.id).or_insert(Grave { record, due, open });
    }

    /// Notes the topics whose burial an earlier process left unfinished.
    pub(super) async fn dig_again(&self, id: TopicId) -> Result<(), Error> {
        let topic = self.bucket.read_register(&Key::Topic(id)).await.map_err(|e| bucket_error(&e))?;
        let tombstone = self.bucket.read_register(&Key::Tombstone(id)).await.map_err(|e| bucket_error(&e))?;
        let (Some(topic), Some(tombstone)) = (topic, tombstone) else { return Ok(()) };
        let record = TopicRecord::decode(&topic.payload).map_err(|e| damaged(&e))?;
        let tombstone = Tombstone::decode(&tombstone.payload).map_err(|e| damaged(&e))?;
        // The grace begins anew: this process may be the first to know of the deletion, whose answer was lost.
        self.dig(record, tombstone.deleted_ms.max(self.ports.clock.now_ms()), None);
        Ok(())
    }

    /// Deletes the objects of the topics whose grace is over. What fails is tried again by the next call.
    pub(crate) async fn bury_topics(&self, now: TimestampMs) {
        let due: Vec<Grave> = {
            let mut graves = self.topics.graves.lock().unwrap_or_else(PoisonError::into_inner);
            graves.extract_if(.., |_, grave| grave.due <= now).map(|(_, grave)| grave).collect()
        };
        for grave in due {
            match self.bury(&grave).await {
                Ok(count) => {
                    let (topic, id) = (&grave.record.name, grave.record.id);
                    tracing::info!(topic, %id, count, "deleted the objects of a deleted topic");
                }
                Err(error) => {
                    tracing::warn!(topic = grave.record.name, %error, "a deleted topic's objects stay for now");
                    let mut graves = self.topics.graves.lock().unwrap_or_else(PoisonError::into_inner);
                    graves.insert(grave.record.id, grave);
                }
            }
        }
    }

    async fn bury(&self, grave: &Grave) -> Result<usize, Error> {
        // A closed partition starts no ship and no merge; what was under way ends first, so that it leaves nothing behind.
        for partition in grave.open.iter().flat_map(|topic| topic.open_partitions()) {
            drop(partition.merging.lock().await);
            drop(partition.manifest.lock().await);
        }
        let mut count = 0;
        for partition in 0..grave.record.partitions {
            let tp = TopicPartition { topic: grave.record.id, partition };
            let folders = [segment_prefix(&grave.record.name, partition), chunk_prefix(tp), producer_prefix(tp)];
            for folder in folders {
                count += self.delete_all_of(tp, &folder).await?;
            }
            self.bucket.delete(&Key::Root(tp)).await.map_err(|e| bucket_error(&e))?;
        }
        self.pass("topic.emptied")?;
        self.bucket.delete(&Key::Topic(grave.record.id)).await.map_err(|e| bucket_error(&e))?;
        Ok(count)
    }

    /// Deletes the objects of one partition of one incarnation from a folder.
    async fn delete_all_of(&self, tp: TopicPartition, folder: &str) -> Result<usize, Error> {
        let (mut count, mut after) = (0, String::new());
        loop {
            let page = self.bucket.list_after(folder, &after, PAGE).await.map_err(|e| bucket_error(&e))?;
            let parse = |path: &str| Key::parse_segment(path).or_else(|| Key::parse_partition_object(tp, path));
            let keys: Vec<Key> =
                page.iter().filter_map(|listed| parse(&listed.path)).filter(|key| is_of(key, tp)).collect();
            count += keys.len();
            self.delete_objects(keys, "topic.object_deleted").await?;
            match page.last() {
                Some(last) if page.len() == PAGE => after.clone_from(&last.path),
                _ => return Ok(count),
            }
        }
    }
}

fn is_of(key: &Key, tp: TopicPartition) -> bool {
    match key {
        Key::Segment { tp: of, .. } | Key::Chunk { tp: of, .. } | Key::ProducerState { tp: of, .. } => *of == tp,
        _ => false,
    }
}
