//! InitProducerId: identities for idempotent producers (KIP-98).

use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::ProducerId as WireId;
use kafka_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use kafka_protocol::messages::init_producer_id_response::InitProducerIdResponse;

use crate::context::Context;
use crate::error::code;
use crate::reply::Outcome;

pub(crate) async fn handle(ctx: Arc<Context>, _version: i16, request: InitProducerIdRequest) -> InitProducerIdResponse {
    // Transactions come later, see `find_coordinator`.
    if request.transactional_id.is_some() {
        return failed(ResponseError::TransactionalIdAuthorizationFailed);
    }
    // Without a transactional id every producer gets an id of its own, whichever it says that it has, as in Kafka.
    // @platformatic/kafka always says 0 at epoch 0: were that taken for its identity (KIP-360), all such producers would
    // number their batches under one id, and records of one would pass for retries of another's.
    match ctx.broker.init_producer_id(None).await {
        Ok(identity) => InitProducerIdResponse::default()
            .with_producer_id(WireId(identity.id.0))
            .with_producer_epoch(identity.epoch),
        Err(error) => failed(code(error.kind)),
    }
}

fn failed(error: ResponseError) -> InitProducerIdResponse {
    InitProducerIdResponse::default().with_error_code(error.code()).with_producer_id(WireId(-1)).with_producer_epoch(-1)
}

impl Outcome for InitProducerIdResponse {
    fn error_code(&self) -> i16 {
        self.error_code
    }
}
