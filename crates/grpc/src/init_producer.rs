//! InitProducer.

use runnel_api::{Produce, ProducerIdentity};
use runnel_proto::produce::v1 as pb;
use runnel_record::ProducerId;

use crate::door::Door;
use crate::error::Failure;

pub(crate) async fn handle(door: &Door, request: pb::InitProducerRequest) -> Result<pb::InitProducerResponse, Failure> {
    let current = request.current.as_ref().map(identity).transpose()?;
    let producer = identify(door, current).await?;
    Ok(pb::InitProducerResponse { producer: Some(producer) })
}

/// A fresh identity, or the next epoch of `current`.
pub(crate) async fn identify(door: &Door, current: Option<ProducerIdentity>) -> Result<pb::ProducerIdentity, Failure> {
    let given = Produce::init_producer_id(&*door.broker, current).await?;
    Ok(pb::ProducerIdentity { id: given.id.0, epoch: given.epoch.into() })
}

/// An identity as clients write it.
pub(crate) fn identity(producer: &pb::ProducerIdentity) -> Result<ProducerIdentity, Failure> {
    match i16::try_from(producer.epoch) {
        Ok(epoch) if epoch >= 0 && producer.id >= 0 => Ok(ProducerIdentity { id: ProducerId(producer.id), epoch }),
        _ => Err(Failure::invalid("a producer has an id of at least 0 and an epoch of 0 to 32767")),
    }
}
