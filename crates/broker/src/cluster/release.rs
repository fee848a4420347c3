//! Giving back the room that the log on this disk takes up for partitions that others lead.

use runnel_api::{Error, ErrorKind, TopicKey};
use runnel_format::meta::{Durability, PartitionRecord};
use runnel_record::{Offset, TopicPartition};

use crate::Broker;
use crate::error::damaged;

impl Broker {
    /// Lets go of what this disk holds of partitions that others lead without it. Nobody here would ever ship it, and it keeps
    /// all that was written after it in the log too.
    pub(crate) async fn release_tails(&self) {
        for (tp, end) in self.log.held_on_disk() {
            if let Err(error) = self.release_tail(tp, end).await {
                tracing::debug!(partition = %tp, %error, "what the log holds of a partition stays for now");
                if error.kind == ErrorKind::StorageError {
                    return; // the store or the bucket does not answer, whichever partition it is asked about
                }
            }
        }
    }

    async fn release_tail(&self, tp: TopicPartition, end: Offset) -> Result<(), Error> {
        // Of a deleted topic the log is told when that is known.
        let Some(topic) = self.topics.find(&TopicKey::Id(tp.topic)) else { return Ok(()) };
        let slot = topic.existing(tp.partition)?;
        if slot.partition().is_some() {
            return Ok(());
        }
        // This broker may be told to lead it at any moment, and would write to the log.
        let Ok(_turning) = slot.turning.try_lock() else { return Ok(()) };
        let known = self.member.as_ref().and_then(|member| member.view().partitions.get(&tp).cloned());
        if slot.partition().is_some() || !known.is_some_and(|at| self.is_led_without_this_disk(&at.record)) {
            return Ok(());
        }
        // What is known here may be old.
        let Some(found) = self.refresh(tp).await? else { return Ok(()) };
        if !self.is_led_without_this_disk(&PartitionRecord::decode(&found.value).map_err(|e| damaged(&e))?) {
            return Ok(());
        }
        if !self.is_shipped(tp, end).await? {
            tracing::warn!(
                partition = topic.label(tp),
                "what this disk holds of a partition is no part of it any more: it is dropped"
            );
        }
        self.inherited.taken(tp);
        self.log.discard_on_disk(tp);
        Ok(())
    }

    /// Whether a partition was opened on another disk, and its record names nothing that is on this one: what comes after
    /// goes by the record.
    fn is_led_without_this_disk(&self, record: &PartitionRecord) -> bool {
        let (Some(member), Some(leader)) = (&self.member, record.leader) else { return false };
        let view = member.view();
        let elsewhere = |session: u64| {
            view.sessions.get(&session).is_some_and(|at| at.record.disk_id != self.home.identity.disk_id)
        };
        let disks = record.tail.iter().filter(|part| part.durability == Durability::Local);
        leader.is_open && elsewhere(leader.session) && disks.map(|part| part.session).all(elsewhere)
    }
}
