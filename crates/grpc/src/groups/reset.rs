//! ResetOffsets.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};
use runnel_api::groups::{CommitOffset, CommitOffsets, GroupError, Membership};
use runnel_api::{Error, ErrorKind, Groups, TopicKey};
use runnel_proto::admin::v1::reset_offsets_request::To;
use runnel_proto::admin::v1::reset_offsets_response::ResetOffset;
use runnel_proto::admin::v1::{ResetOffsetsRequest, ResetOffsetsResponse};
use runnel_proto::consume::v1::position::{Latest, Position as Named};

use super::plan::{Target, clip, shifted};
use crate::door::Door;
use crate::error::Failure;
use crate::position::{find, named};

/// Partitions that are asked side by side.
const AT_ONCE: usize = 16;

/// What a group committed, by topic and partition.
type Committed = BTreeMap<(String, i32), i64>;

pub(crate) async fn reset(door: &Door, request: ResetOffsetsRequest) -> Result<ResetOffsetsResponse, Failure> {
    let target = target(&request)?;
    if request.group.is_empty() {
        return Err(Error::from(GroupError::InvalidGroupId).into());
    }
    must_be_inactive(door, &request).await?;
    let committed = super::committed(door, &request.group).await?.into_iter();
    let committed: Committed = committed.map(|offset| ((offset.topic, offset.partition), offset.offset)).collect();
    let partitions = chosen(door, &request, &committed).await?;
    super::within_limit(&partitions)?;
    let planned = partitions.into_iter().map(|(topic, partition)| {
        let old_offset = committed.get(&(topic.clone(), partition)).copied();
        plan(door, topic, partition, target, old_offset)
    });
    let mut offsets: Vec<ResetOffset> = stream::iter(planned).buffered(AT_ONCE).try_collect().await?;
    if !request.validate_only && !offsets.is_empty() {
        commit(door, &request.group, &mut offsets).await?;
    }
    Ok(ResetOffsetsResponse { offsets })
}

fn target(request: &ResetOffsetsRequest) -> Result<Target, Failure> {
    if request.all_topics != request.topics.is_empty() {
        return Err(Failure::invalid("a reset names topics, or sets all_topics"));
    }
    match request.to {
        Some(To::ShiftBy(by)) => Ok(Target::Shift(by)),
        Some(To::Position(position)) => named(Some(position), Named::Latest(Latest {})).map(Target::Position),
        None => Err(Failure::invalid("a reset needs a position or shift_by")),
    }
}

/// A group that does not exist may be given offsets, before its first consumer comes.
async fn must_be_inactive(door: &Door, request: &ResetOffsetsRequest) -> Result<(), Failure> {
    match Groups::describe_group(&*door.broker, &request.group).await {
        Ok(described) if described.members.is_empty() => Ok(()),
        Ok(_) => Err(super::has_members(&request.group)),
        Err(Error { kind: ErrorKind::Group(GroupError::GroupIdNotFound), .. }) if !request.all_topics => Ok(()),
        Err(error) => Err(super::refused(&request.group, error)),
    }
}

async fn chosen(
    door: &Door,
    request: &ResetOffsetsRequest,
    committed: &Committed,
) -> Result<BTreeSet<(String, i32)>, Failure> {
    if request.all_topics {
        return Ok(committed.keys().cloned().collect());
    }
    let mut chosen = BTreeSet::new();
    for asked in &request.topics {
        let partitions = door.partitions(&asked.topic, asked.partitions.clone()).await?;
        chosen.extend(partitions.into_iter().map(|partition| (asked.topic.clone(), partition)));
    }
    Ok(chosen)
}

async fn plan(
    door: &Door,
    topic: String,
    partition: i32,
    target: Target,
    old_offset: Option<i64>,
) -> Result<ResetOffset, Failure> {
    let position = match target {
        Target::Position(named) => named,
        Target::Shift(by) => Named::Offset(shifted(old_offset, by).ok_or_else(|| {
            let why = format!("nothing is committed for partition {partition} of `{topic}`, so it cannot be shifted");
            Failure::invalid(why).at(&topic, partition)
        })?),
    };
    let place = find(door, &TopicKey::Name(topic.clone()), partition, position).await?;
    let planned = clip(place.offset, place.bounds);
    let (new_offset, clipped_from) = (planned.new_offset, planned.clipped_from);
    Ok(ResetOffset { topic, partition, old_offset, new_offset, clipped_from, error: None })
}

/// Commits as one from outside of any generation, whom a group with members refuses.
async fn commit(door: &Door, group: &str, offsets: &mut [ResetOffset]) -> Result<(), Failure> {
    let commits = offsets.iter().map(|offset| CommitOffset {
        topic: offset.topic.clone(),
        partition: offset.partition,
        offset: offset.new_offset,
        leader_epoch: -1,
        metadata: String::new(),
    });
    let commit = CommitOffsets {
        group: group.to_owned(),
        member: Membership { generation: -1, member_id: String::new(), instance_id: None },
        knows_epochs: true,
        retention: None,
        offsets: commits.collect(),
    };
    let outcomes = Groups::commit_offsets(&*door.broker, commit).await.map_err(|error| match error.kind {
        // Somebody joined since it was looked at.
        ErrorKind::Group(
            GroupError::UnknownMemberId
            | GroupError::IllegalGeneration
            | GroupError::RebalanceInProgress
            | GroupError::StaleMemberEpoch,
        ) => super::has_members(group),
        _ => super::refused(group, error),
    })?;
    for (offset, outcome) in offsets.iter_mut().zip(outcomes) {
        if let Err(error) = outcome {
            let (topic, partition) = (std::mem::take(&mut offset.topic), offset.partition);
            let error = Some(Failure::from(error).at(&topic, partition).into_proto());
            *offset = ResetOffset { topic, partition, error, ..ResetOffset::default() };
        }
    }
    Ok(())
}
