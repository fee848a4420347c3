//! Committing offsets, deleting them, and letting them expire.

use runnel_format::groups::{GroupKey, OffsetCommitValue};
use runnel_record::TopicId;

use crate::error::Error;
use crate::group::{Group, subscription};
use crate::requests::{CommitOffset, CommitOffsets, DeleteOffsets, GroupState};
use crate::shard::Context;

/// The protocol type of consumers, whose metadata says what they read.
pub(super) const CONSUMER: &str = "consumer";

impl Group {
    pub(crate) fn commit(
        &mut self,
        ctx: &mut Context<'_>,
        commit: &CommitOffsets,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        self.may_commit(ctx, commit)?;
        let expire = commit
            .retention
            .map(|kept| ctx.now.wall_ms.saturating_add(i64::try_from(kept.as_millis()).unwrap_or(i64::MAX)));
        let each = commit.offsets.iter().map(|offset| {
            if offset.metadata.len() > ctx.options.max_offset_metadata {
                return Err(Error::OffsetMetadataTooLarge);
            }
            let grows = self.offsets.growth(&offset.topic, offset.partition, &offset.metadata);
            if grows > ctx.room {
                return Err(Error::TooManyGroups);
            }
            let topic_id = ctx.topics.find(&offset.topic).map(|(id, _)| id);
            // Deleted while the request was on its way here: its offsets are dropped already, or will be.
            if topic_id.is_none() && !ctx.topics.is_unknown() {
                return Err(Error::UnknownTopic);
            }
            ctx.room -= grows;
            self.commit_one(ctx, offset, expire, topic_id);
            Ok(())
        });
        Ok(each.collect())
    }

    fn may_commit(&mut self, ctx: &Context<'_>, commit: &CommitOffsets) -> Result<(), Error> {
        if let Some(consumer) = &self.consumer {
            return consumer.may_commit(ctx.topics, commit);
        }
        // From a tool, or a consumer that was assigned its partitions by hand; such a consumer may name an instance.
        if commit.member.generation < 0 && self.is(GroupState::Empty) {
            return Ok(());
        }
        let state = self.state;
        let member = self.current(&commit.member)?;
        match state {
            GroupState::Stable | GroupState::PreparingRebalance => {
                member.deadline = ctx.now.elapsed + member.session_timeout;
                Ok(())
            }
            // It has a generation and no assignment yet: what it commits is of the one before.
            GroupState::CompletingRebalance => Err(Error::RebalanceInProgress),
            GroupState::Empty => Err(Error::UnknownMemberId),
        }
    }

    fn commit_one(
        &mut self,
        ctx: &mut Context<'_>,
        offset: &CommitOffset,
        expire_timestamp: Option<i64>,
        topic_id: Option<TopicId>,
    ) {
        let value = OffsetCommitValue {
            offset: offset.offset,
            leader_epoch: offset.leader_epoch,
            metadata: offset.metadata.clone(),
            commit_timestamp: ctx.now.wall_ms,
            expire_timestamp,
            topic_id,
        };
        ctx.write(self.offset_key(&offset.topic, offset.partition), Some(value.encode()));
        self.offsets.set(&offset.topic, offset.partition, value);
    }

    pub(crate) fn delete_offsets(
        &mut self,
        ctx: &mut Context<'_>,
        delete: &DeleteOffsets,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        let consumers = self.protocol_type.as_deref() == Some(CONSUMER);
        if !self.is(GroupState::Empty) && !consumers {
            return Err(Error::NonEmptyGroup);
        }
        let each = delete.partitions.iter().map(|(topic, partition)| {
            if self.reads(topic) {
                return Err(Error::GroupSubscribedToTopic);
            }
            self.forget_offset(ctx, topic, *partition);
            Ok(())
        });
        Ok(each.collect())
    }

    pub(crate) fn forget_topic(&mut self, ctx: &mut Context<'_>, topic: &str) {
        for partition in self.offsets.of_topic(topic) {
            self.forget_offset(ctx, topic, partition);
        }
    }

    /// Deletes the group with all that it committed.
    pub(crate) fn delete(&mut self, ctx: &mut Context<'_>) -> Result<(), Error> {
        if !self.is(GroupState::Empty) || self.consumer.as_ref().is_some_and(|consumer| !consumer.is_empty()) {
            return Err(Error::NonEmptyGroup);
        }
        let all: Vec<_> = self.offsets.iter().map(|(topic, partition, _)| (topic.to_owned(), partition)).collect();
        for (topic, partition) in all {
            self.forget_offset(ctx, &topic, partition);
        }
        self.pending.clear();
        self.end(ctx);
        Ok(())
    }

    /// Nothing is left of the group but what is still committed.
    fn end(&mut self, ctx: &mut Context<'_>) {
        match self.consumer.take() {
            Some(consumer) => consumer.write_gone(ctx),
            None => ctx.write(GroupKey::Group { group: self.id.clone() }, None),
        }
        self.restore_absent();
    }

    /// Lets go what nobody has used for long (KIP-211), and the group with the last of it.
    pub(crate) fn expire_offsets(&mut self, ctx: &mut Context<'_>) {
        let (state, since, consumers) = (self.state, self.since, self.protocol_type.as_deref() == Some(CONSUMER));
        let idle_since = |topic: &str, value: &OffsetCommitValue| match (state, &self.protocol_type) {
            _ if self.consumer.is_some() => (!self.reads(topic)).then_some(value.commit_timestamp),
            // From the moment that the last member went.
            (GroupState::Empty, Some(_)) if since >= 0 => Some(since.max(value.commit_timestamp)),
            (GroupState::Empty, _) => Some(value.commit_timestamp),
            (GroupState::Stable, Some(_)) if consumers && !self.reads(topic) => Some(value.commit_timestamp),
            _ => None,
        };
        let mut expired = self.offsets.expired(ctx.now.wall_ms, ctx.options.offsets_retention, idle_since);
        expired.extend(self.offsets.orphaned(ctx.topics));
        for (topic, partition) in expired {
            self.forget_offset(ctx, &topic, partition);
        }
        let unused = self.consumer.as_ref().is_none_or(|consumer| consumer.is_empty());
        if unused && self.is(GroupState::Empty) && self.offsets.is_empty() && self.pending.is_empty() {
            self.end(ctx);
        }
    }

    fn forget_offset(&mut self, ctx: &mut Context<'_>, topic: &str, partition: i32) {
        if self.offsets.remove(topic, partition) {
            ctx.write(self.offset_key(topic, partition), None);
        }
    }

    fn offset_key(&self, topic: &str, partition: i32) -> GroupKey {
        GroupKey::Offset { group: self.id.clone(), topic: topic.to_owned(), partition }
    }

    /// Whether a member may be reading the topic.
    fn reads(&self, topic: &str) -> bool {
        if let Some(consumer) = &self.consumer {
            return consumer.reads(topic);
        }
        self.members
            .values()
            .flat_map(|member| &member.protocols)
            .any(|(_, metadata)| subscription::topics(metadata).is_none_or(|topics| topics.contains(&topic)))
    }
}
