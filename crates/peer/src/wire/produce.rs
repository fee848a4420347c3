//! Appends, and the producers that a partition remembers.

use std::time::Duration;

use runnel_api::error::Result;
use runnel_api::{
    Acks, ActiveProducer, Durability, ProducePartition, ProduceRequest, Produced, ProducedPartition, ProducerIdentity,
};
use runnel_proto::peer::v1 as pb;
use runnel_proto::peer::v1::produce_response::outcome::Outcome;
use runnel_record::{LeaderEpoch, Offset, ProducerId, TimestampMs};

use super::{error, malformed, ms, named, partition};

/// A request; the number that its answer bears is put in later.
pub fn request(request: &ProduceRequest) -> pb::ProduceRequest {
    let part = |part: &ProducePartition| pb::produce_request::Part {
        partition: partition(&part.topic, part.partition),
        records: part.records.clone(),
        expected_offset: part.expected_offset.map(|offset| offset.0),
    };
    let parts = request.partitions.iter().map(part).collect();
    pb::ProduceRequest { id: 0, timeout_ms: ms(request.timeout), parts }
}

/// A request as the leader sees it. Whether the producer wants to hear of it is the other broker's business.
pub fn requested(request: pb::ProduceRequest) -> Result<ProduceRequest> {
    let part = |part: pb::produce_request::Part| {
        let (topic, partition) = named(part.partition)?;
        let expected_offset = part.expected_offset.map(Offset);
        Ok(ProducePartition { topic, partition, records: part.records, expected_offset })
    };
    let partitions = request.parts.into_iter().map(part).collect::<Result<_>>()?;
    Ok(ProduceRequest { acks: Acks::All, timeout: Duration::from_millis(request.timeout_ms), partitions })
}

/// Answers to the parts of a request.
pub fn answer(id: u64, outcomes: impl Iterator<Item = Result<Produced>>) -> pb::ProduceResponse {
    let outcome = |outcome: Result<Produced>| match outcome {
        Ok(produced) => Outcome::Produced(pb::produce_response::Produced {
            base_offset: produced.base_offset.0,
            log_append_time_ms: produced.log_append_time.0,
            log_start: produced.log_start.0,
            leader_epoch: produced.leader_epoch.0,
            in_bucket: produced.durability == Durability::Object,
        }),
        Err(failed) => Outcome::Error(error::encode(failed)),
    };
    let outcomes = outcomes.map(|one| pb::produce_response::Outcome { outcome: Some(outcome(one)) });
    pb::ProduceResponse { id, outcomes: outcomes.collect() }
}

/// What became of the parts.
pub fn answered(response: pb::ProduceResponse, parts: Vec<(runnel_api::TopicKey, i32)>) -> Vec<ProducedPartition> {
    let mut outcomes = response.outcomes.into_iter();
    let answered = parts.into_iter().map(|(topic, partition)| {
        let outcome = match outcomes.next().and_then(|one| one.outcome) {
            Some(Outcome::Produced(produced)) => Ok(Produced {
                base_offset: Offset(produced.base_offset),
                log_append_time: TimestampMs(produced.log_append_time_ms),
                log_start: Offset(produced.log_start),
                leader_epoch: LeaderEpoch(produced.leader_epoch),
                durability: if produced.in_bucket { Durability::Object } else { Durability::Local },
            }),
            Some(Outcome::Error(failed)) => Err(error::decode(failed)),
            None => Err(malformed("an answer missing")),
        };
        ProducedPartition { topic, partition, outcome }
    });
    answered.collect()
}

/// The producers of a partition.
pub fn producers(found: Result<Vec<ActiveProducer>>) -> pb::ActiveProducersResponse {
    let producer = |one: ActiveProducer| pb::active_producers_response::Producer {
        id: one.identity.id.0,
        epoch: one.identity.epoch.into(),
        last_sequence: one.last_sequence,
        last_append_ms: one.last_append.0,
    };
    match found {
        Ok(all) => pb::ActiveProducersResponse { producers: all.into_iter().map(producer).collect(), error: None },
        Err(failed) => pb::ActiveProducersResponse { producers: Vec::new(), error: Some(error::encode(failed)) },
    }
}

/// The producers of a partition, as they were found.
pub fn found_producers(response: pb::ActiveProducersResponse) -> Result<Vec<ActiveProducer>> {
    if let Some(failed) = response.error {
        return Err(error::decode(failed));
    }
    let producer = |one: pb::active_producers_response::Producer| {
        let epoch = i16::try_from(one.epoch).map_err(|_| malformed("an epoch that is none"))?;
        Ok(ActiveProducer {
            identity: ProducerIdentity { id: ProducerId(one.id), epoch },
            last_sequence: one.last_sequence,
            last_append: TimestampMs(one.last_append_ms),
        })
    };
    response.producers.into_iter().map(producer).collect()
}
