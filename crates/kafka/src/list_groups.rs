//! ListGroups: every group, or those in some states (KIP-518) or of some types (KIP-848).

use std::sync::Arc;

use kafka_protocol::messages::GroupId;
use kafka_protocol::messages::list_groups_request::ListGroupsRequest;
use kafka_protocol::messages::list_groups_response::{ListGroupsResponse, ListedGroup};
use kafka_protocol::protocol::StrBytes;

use crate::context::Context;
use crate::error::group_code;
use crate::reply::Outcome;
use crate::topics::text;

pub(crate) async fn handle(ctx: Arc<Context>, _version: i16, request: ListGroupsRequest) -> ListGroupsResponse {
    let groups = match ctx.broker.list_groups().await {
        Ok(groups) => groups,
        Err(error) => return ListGroupsResponse::default().with_error_code(group_code(error.kind).code()),
    };
    let wanted = |filter: &[StrBytes], value: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(value))
    };
    let groups = groups
        .into_iter()
        .filter(|group| {
            wanted(&request.states_filter, group.state.name())
                && wanted(&request.types_filter, group.state.kind().name())
        })
        .map(|group| {
            ListedGroup::default()
                .with_group_id(GroupId(text(&group.group)))
                .with_protocol_type(text(&group.protocol_type))
                .with_group_state(StrBytes::from_static_str(group.state.name()))
                .with_group_type(StrBytes::from_static_str(group.state.kind().name()))
        });
    ListGroupsResponse::default().with_groups(groups.collect())
}

impl Outcome for ListGroupsResponse {
    fn error_code(&self) -> i16 {
        self.error_code
    }
}
