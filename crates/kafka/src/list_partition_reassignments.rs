//! ListPartitionReassignments: nothing moves in a cluster of one broker (KIP-455).

use std::sync::Arc;

use kafka_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsRequest;
use kafka_protocol::messages::list_partition_reassignments_response::ListPartitionReassignmentsResponse;

use crate::context::Context;
use crate::reply::Outcome;

pub(crate) async fn handle(
    _ctx: Arc<Context>,
    _version: i16,
    _request: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse::default().with_error_message(None)
}

impl Outcome for ListPartitionReassignmentsResponse {
    fn error_code(&self) -> i16 {
        self.error_code
    }
}
