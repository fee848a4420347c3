//! Produce.

use std::sync::Arc;

use runnel_proto::produce::v1::{ProduceRequest, ProduceResponse};

use crate::append::{append, prepare, replies, timeout};
use crate::door::Door;
use crate::error::Failure;

pub(crate) async fn handle(door: &Arc<Door>, request: ProduceRequest) -> Result<ProduceResponse, Failure> {
    let batch = request.batch.ok_or_else(|| Failure::invalid("there is no batch"))?;
    let named = batch.partition.is_some();
    let prepared = prepare(door, batch).await?;
    let mut outcomes = append(door, prepared, timeout(request.timeout_ms)).await;
    if named && let Some((_, Err(failure))) = outcomes.pop_if(|(_, outcome)| outcome.is_err()) {
        return Err(failure);
    }
    Ok(ProduceResponse { outcomes: replies(outcomes) })
}
