//! OffsetFetch: what groups have committed.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestGroup};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use runnel_api::TopicKey;
use runnel_api::groups::{CommittedOffset, FetchOffsets};

use crate::context::Context;
use crate::error::group_code;
use crate::reply::{Outcome, first_error};
use crate::topics;

/// First version that has an error for the whole group.
const WITH_ERROR: i16 = 2;

/// First version that asks for many groups at once.
const WITH_GROUPS: i16 = 8;

/// "Nothing committed" on the wire.
const NONE: i64 = -1;

/// Topics and partitions as asked for; `None` for all.
type Wanted = Option<Vec<(TopicName, Vec<i32>)>>;

/// What is committed, topic by topic, and the error of the group.
struct Found {
    topics: Vec<(TopicName, Vec<CommittedOffset>)>,
    error: i16,
}

pub(crate) async fn handle(ctx: Arc<Context>, version: i16, request: OffsetFetchRequest) -> OffsetFetchResponse {
    if version < WITH_GROUPS {
        let topics = request.topics.map(|topics| once(topics.into_iter().map(|t| (t.name, t.partition_indexes))));
        let found = find(&ctx, request.group_id.to_string(), None, topics).await;
        return one_group(version, found);
    }
    let mut groups = Vec::with_capacity(request.groups.len());
    // Each once: the answer to a group that is repeated could be as large as anyone likes.
    let mut seen = BTreeSet::new();
    for group in request.groups.into_iter().filter(|group| seen.insert(group.group_id.clone())) {
        groups.push(of_group(&ctx, group).await);
    }
    OffsetFetchResponse::default().with_groups(groups)
}

/// Each partition once: the answer to one that is repeated could be as large as anyone likes.
fn once(topics: impl Iterator<Item = (TopicName, Vec<i32>)>) -> Vec<(TopicName, Vec<i32>)> {
    let mut seen = BTreeSet::new();
    let distinct = topics.map(|(name, mut partitions)| {
        partitions.retain(|partition| seen.insert((name.clone(), *partition)));
        (name, partitions)
    });
    distinct.collect()
}

fn one_group(version: i16, found: Found) -> OffsetFetchResponse {
    // Before there was an error for all, each partition had it.
    let each = if version < WITH_ERROR { found.error } else { 0 };
    let topics = found.topics.into_iter().map(|(name, offsets)| {
        let partitions = offsets.into_iter().map(|offset| {
            OffsetFetchResponsePartition::default()
                .with_partition_index(offset.partition)
                .with_committed_offset(offset.offset)
                .with_committed_leader_epoch(offset.leader_epoch)
                .with_metadata(Some(topics::text(&offset.metadata)))
                .with_error_code(each)
        });
        OffsetFetchResponseTopic::default().with_name(name).with_partitions(partitions.collect())
    });
    OffsetFetchResponse::default().with_topics(topics.collect()).with_error_code(found.error)
}

async fn of_group(ctx: &Context, group: OffsetFetchRequestGroup) -> OffsetFetchResponseGroup {
    let wanted = group.topics.map(|topics| once(topics.into_iter().map(|t| (t.name, t.partition_indexes))));
    // Whoever names no member, as administrators do, may ask at any time.
    let member = match &group.member_id {
        None if group.member_epoch < 0 => None,
        id => Some((id.as_ref().map(ToString::to_string).unwrap_or_default(), group.member_epoch)),
    };
    let found = find(ctx, group.group_id.to_string(), member, wanted).await;
    let topics = found.topics.into_iter().map(|(name, offsets)| {
        let partitions = offsets.into_iter().map(|offset| {
            OffsetFetchResponsePartitions::default()
                .with_partition_index(offset.partition)
                .with_committed_offset(offset.offset)
                .with_committed_leader_epoch(offset.leader_epoch)
                .with_metadata(Some(topics::text(&offset.metadata)))
        });
        OffsetFetchResponseTopics::default().with_name(name).with_partitions(partitions.collect())
    });
    OffsetFetchResponseGroup::default()
        .with_group_id(group.group_id)
        .with_topics(topics.collect())
        .with_error_code(found.error)
}

async fn find(ctx: &Context, group: String, member: Option<(String, i32)>, wanted: Wanted) -> Found {
    let named = wanted.as_ref().map(|topics| {
        let topics = topics.iter().filter_map(|(name, partitions)| match topics::by_name(name) {
            TopicKey::Name(name) => Some((name, partitions.clone())),
            TopicKey::Id(_) => None,
        });
        topics.collect()
    });
    match ctx.broker.fetch_offsets(FetchOffsets { group, topics: named, member }).await {
        Ok(offsets) => Found { topics: by_topic(wanted, offsets), error: 0 },
        Err(error) => Found { topics: by_topic(wanted, Vec::new()), error: group_code(error.kind).code() },
    }
}

/// Sorts offsets, which came in the order asked, by topic; where one is missing there is none.
fn by_topic(wanted: Wanted, offsets: Vec<CommittedOffset>) -> Vec<(TopicName, Vec<CommittedOffset>)> {
    let mut offsets = offsets.into_iter();
    if let Some(wanted) = wanted {
        let one = |name: &TopicName, partition, found: Option<CommittedOffset>| {
            found.unwrap_or_else(|| CommittedOffset {
                topic: name.to_string(),
                partition,
                offset: NONE,
                leader_epoch: -1,
                metadata: String::new(),
            })
        };
        let topics = wanted.into_iter().map(|(name, partitions)| {
            let found = partitions.into_iter().map(|partition| one(&name, partition, offsets.next())).collect();
            (name, found)
        });
        return topics.collect();
    }
    let mut topics: Vec<(TopicName, Vec<CommittedOffset>)> = Vec::new();
    for offset in offsets {
        match topics.last_mut() {
            Some((name, found)) if name.as_str() == offset.topic => found.push(offset),
            _ => topics.push((topics::wire_name(&offset.topic), vec![offset])),
        }
    }
    topics
}

impl Outcome for OffsetFetchResponse {
    fn error_code(&self) -> i16 {
        first_error(self.groups.iter().map(|group| group.error_code).chain([self.error_code]))
    }
}
