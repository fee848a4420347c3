//! GroupService: what the groups are; a file for each thing done with their offsets.

mod delete;
mod described;
mod lag;
mod offsets;
mod plan;
mod reset;

use std::collections::BTreeSet;

use runnel_api::groups::{CommittedOffset, FetchOffsets, GroupError, ListedGroup};
use runnel_api::{Error, ErrorKind, Groups};
use runnel_proto::admin::v1 as pb;
use runnel_proto::admin::v1::{DescribeGroupRequest, DescribeGroupResponse, ListGroupsRequest, ListGroupsResponse};

pub(crate) use delete::{delete, delete_offsets};
pub(crate) use offsets::offsets;
pub(crate) use reset::reset;

use crate::door::Door;
use crate::error::Failure;
use crate::page;
use described::{described, kind, state};

/// Partitions that one request changes.
const MOST_CHANGED: usize = 10_000;

/// The token of a page is a mark and the last group before it: a group may have the empty name.
pub(crate) async fn list(door: &Door, request: &ListGroupsRequest) -> Result<ListGroupsResponse, Failure> {
    let size = page::size(request.page_size, page::MAX_PAGE)?;
    let after = request.page_token.strip_prefix(MARK);
    let all = Groups::list_groups(&*door.broker).await?;
    let rest = all.into_iter().filter(|listed| after.is_none_or(|after| listed.group.as_str() > after));
    let (groups, more) = page::fill(rest.map(listed), size);
    let last = groups.last().filter(|_| more);
    let next_page_token = last.map_or_else(String::new, |last| format!("{MARK}{}", last.group));
    Ok(ListGroupsResponse { groups, next_page_token })
}

const MARK: char = '>';

/// The token of a page is the id of the last member before it.
pub(crate) async fn describe(door: &Door, request: &DescribeGroupRequest) -> Result<DescribeGroupResponse, Failure> {
    let size = page::size(request.page_size, page::MAX_PAGE)?;
    let described = described(door, &request.group).await?;
    let rest = described.members.into_iter().filter(|member| member.member_id > request.page_token);
    let (members, more) = page::fill(rest, size);
    let last = members.last().filter(|_| more);
    let next_page_token = last.map_or_else(String::new, |last| last.member_id.clone());
    let (group, protocol) = (Some(described.group), described.protocol);
    Ok(DescribeGroupResponse { group, protocol, members, next_page_token })
}

fn listed(listed: ListedGroup) -> pb::Group {
    pb::Group {
        group: listed.group,
        r#type: kind(listed.state.kind()).into(),
        state: state(listed.state).into(),
        protocol_type: listed.protocol_type,
        members: listed.members.try_into().unwrap_or(i32::MAX),
    }
}

/// Everything that a group committed; nothing for one that is not there.
async fn committed(door: &Door, group: &str) -> Result<Vec<CommittedOffset>, Failure> {
    let all = FetchOffsets { group: group.to_owned(), topics: None, member: None };
    Ok(Groups::fetch_offsets(&*door.broker, all).await?)
}

/// Says which group refused, and what can be done about it.
fn refused(group: &str, error: Error) -> Failure {
    let message = match error.kind {
        ErrorKind::Group(GroupError::GroupIdNotFound) => format!("there is no group `{group}`"),
        ErrorKind::Group(GroupError::NonEmptyGroup) => return has_members(group),
        ErrorKind::Group(GroupError::GroupSubscribedToTopic) => {
            format!("group `{group}` reads the topic: stop its consumers, or let them unsubscribe, first")
        }
        _ => return error.into(),
    };
    Failure::from(Error::new(error.kind, message)).with("group", group)
}

fn has_members(group: &str) -> Failure {
    let message = format!(
        "group `{group}` has active members: stop its consumers first; one that was killed is a member until its session \
         times out"
    );
    Failure::from(Error::new(ErrorKind::Group(GroupError::NonEmptyGroup), message)).with("group", group)
}

/// So many partitions at once are too many.
fn within_limit(partitions: &BTreeSet<(String, i32)>) -> Result<(), Failure> {
    if partitions.len() <= MOST_CHANGED {
        return Ok(());
    }
    Err(Failure::invalid(format!(
        "these are {} partitions and a request changes at most {MOST_CHANGED}: go topic by topic",
        partitions.len()
    )))
}
