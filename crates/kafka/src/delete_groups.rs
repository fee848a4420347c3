//! DeleteGroups: groups without members, and all that they committed.

use std::sync::Arc;

use kafka_protocol::messages::delete_groups_request::DeleteGroupsRequest;
use kafka_protocol::messages::delete_groups_response::{DeletableGroupResult, DeleteGroupsResponse};

use crate::context::Context;
use crate::error::group_outcome;
use crate::reply::{Outcome, first_error};

pub(crate) async fn handle(ctx: Arc<Context>, _version: i16, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    for id in request.groups_names {
        let code = group_outcome(ctx.broker.delete_group(&id).await);
        results.push(DeletableGroupResult::default().with_group_id(id).with_error_code(code));
    }
    DeleteGroupsResponse::default().with_results(results)
}

impl Outcome for DeleteGroupsResponse {
    fn error_code(&self) -> i16 {
        first_error(self.results.iter().map(|result| result.error_code))
    }
}
