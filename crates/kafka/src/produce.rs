//! Produce: record data in, as slices of the frame.

pub(crate) mod old;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, ProduceResponse, TopicProduceResponse};
use runnel_api::{Acks, Error, ErrorKind, ProducePartition, ProduceRequest as ApiRequest, Produced};

use crate::context::Context;
use crate::error::code;
use crate::header::Prefix;
use crate::leaders;
use crate::reply::{self, Outcome, Reply, first_error};
use crate::topics;

pub(crate) use old::unsupported;

/// First version that names topics by id.
const WITH_TOPIC_IDS: i16 = 13;

/// First version that may carry zstd (KIP-110).
const WITH_ZSTD: i16 = 7;

/// The least time a producer gets, whatever it asks for: a request that has timed out has an unknown outcome, and
/// some clients send 0 where Kafka with one replica would not wait at all.
const MIN_TIMEOUT: Duration = Duration::from_secs(1);

/// What a partition's data came to before or after the broker saw it.
type Verdict = Result<Produced, (ResponseError, Error)>;

pub(crate) async fn handle(ctx: Arc<Context>, prefix: Prefix, mut request: ProduceRequest) -> Reply {
    let (verdicts, forwarded) = sort(prefix.api_version, &mut request);
    let answers = if forwarded.is_empty() {
        Vec::new()
    } else {
        let request = ApiRequest {
            acks: acks(request.acks).unwrap_or(Acks::All),
            timeout: Duration::from_millis(request.timeout_ms.max(0).unsigned_abs().into()).max(MIN_TIMEOUT),
            partitions: forwarded,
        };
        ctx.broker.produce(request).await
    };
    let mut answers = answers.into_iter().map(|answer| answer.outcome.map_err(|error| (code(error.kind), error)));
    let verdicts = verdicts.into_iter().map(|refused| match refused {
        Some(refused) => Err(refused),
        None => answers.next().unwrap_or_else(|| Err(missing())),
    });
    if request.acks == 0 {
        return match verdicts.filter_map(Result::err).next() {
            None => Reply::Nothing,
            // There is no reply to carry the error: as Kafka does, make the producer look again.
            Some((_, error)) => Reply::Close(format!("a produce request with acks=0 failed: {error}")),
        };
    }
    let mut response = respond(request, verdicts);
    leaders::name(&ctx, prefix.api_version, prefix.api_version >= WITH_TOPIC_IDS, &mut response).await;
    reply::encode(prefix.correlation_id, prefix.api_version, &response)
}

fn missing() -> (ResponseError, Error) {
    let error = Error::new(ErrorKind::Internal, "the broker gave no answer for this partition");
    (code(error.kind), error)
}

fn acks(wire: i16) -> Option<Acks> {
    match wire {
        -1 => Some(Acks::All),
        0 => Some(Acks::None),
        1 => Some(Acks::Leader),
        _ => None,
    }
}

/// Sorts a request's partitions: for each, in order, why it is refused here, or `None` and an entry for the broker.
/// Takes the records out of the request.
fn sort(version: i16, request: &mut ProduceRequest) -> (Vec<Option<(ResponseError, Error)>>, Vec<ProducePartition>) {
    let whole = refuse_all(request);
    let (mut verdicts, mut forwarded) = (Vec::new(), Vec::new());
    for topic in &mut request.topic_data {
        let key = topics::by_name_or_id(&topic.name, topic.topic_id, version >= WITH_TOPIC_IDS);
        let mut seen = BTreeSet::new();
        for data in &mut topic.partition_data {
            let twice = !seen.insert(data.index);
            let refused = whole.clone().or_else(|| refuse(version, data, twice));
            if refused.is_none() {
                let records = data.records.take().unwrap_or_default();
                forwarded.push(ProducePartition {
                    topic: key.clone(),
                    partition: data.index,
                    records,
                    expected_offset: None,
                });
            }
            verdicts.push(refused);
        }
    }
    (verdicts, forwarded)
}

fn refuse_all(request: &ProduceRequest) -> Option<(ResponseError, Error)> {
    if request.transactional_id.is_some() {
        let why = "transactions are not supported yet: produce without transactional.id";
        return Some((ResponseError::InvalidTxnState, Error::new(ErrorKind::Unsupported, why)));
    }
    if acks(request.acks).is_none() {
        let why = format!("acks must be 0, 1 or -1 (all), not {}", request.acks);
        return Some((ResponseError::InvalidRequiredAcks, Error::new(ErrorKind::InvalidRequest, why)));
    }
    topic_twice(request).then(|| invalid("a topic appears twice in one request"))
}

fn topic_twice(request: &ProduceRequest) -> bool {
    let mut seen = BTreeSet::new();
    !request.topic_data.iter().all(|topic| seen.insert((&topic.name, topic.topic_id)))
}

fn invalid(why: &str) -> (ResponseError, Error) {
    (ResponseError::InvalidRequest, Error::new(ErrorKind::InvalidRequest, why))
}

fn refuse(version: i16, data: &PartitionProduceData, twice: bool) -> Option<(ResponseError, Error)> {
    if twice {
        return Some(invalid("a partition appears twice in one request"));
    }
    let Some(records) = &data.records else {
        let why = "the request has no records for this partition";
        return Some((ResponseError::InvalidRecord, Error::new(ErrorKind::InvalidRecord, why)));
    };
    if version < WITH_ZSTD && is_zstd(records) {
        let why = "zstd needs Produce version 7 or later: use a newer client or another compression.type";
        return Some((ResponseError::UnsupportedCompressionType, Error::new(ErrorKind::Unsupported, why)));
    }
    None
}

/// Whether the bytes begin with a RecordBatch v2 whose codec is zstd; broken batches are the broker's business.
fn is_zstd(records: &Bytes) -> bool {
    records.get(16) == Some(&2) && records.get(22).is_some_and(|attributes| attributes & 7 == 4)
}

fn respond(request: ProduceRequest, mut verdicts: impl Iterator<Item = Verdict>) -> ProduceResponse {
    let mut responses = Vec::with_capacity(request.topic_data.len());
    for topic in request.topic_data {
        let partitions = topic.partition_data.iter().map(|data| {
            let verdict = verdicts.next().unwrap_or_else(|| Err(missing()));
            partition(data.index, &verdict)
        });
        let partitions = partitions.collect();
        responses.push(
            TopicProduceResponse::default()
                .with_name(topic.name)
                .with_topic_id(topic.topic_id)
                .with_partition_responses(partitions),
        );
    }
    ProduceResponse::default().with_responses(responses)
}

fn partition(index: i32, verdict: &Verdict) -> PartitionProduceResponse {
    let response = PartitionProduceResponse::default().with_index(index);
    match verdict {
        Ok(produced) => response
            .with_base_offset(produced.base_offset.0)
            .with_log_append_time_ms(produced.log_append_time.0)
            .with_log_start_offset(produced.log_start.0),
        Err((wire, error)) => response
            .with_error_code(wire.code())
            .with_base_offset(-1)
            .with_log_append_time_ms(-1)
            .with_log_start_offset(-1)
            .with_error_message(topics::message(error)),
    }
}

impl Outcome for ProduceResponse {
    fn error_code(&self) -> i16 {
        first_error(self.responses.iter().flat_map(|t| &t.partition_responses).map(|p| p.error_code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_three_acks_are_known() {
        assert_eq!([-2, -1, 0, 1, 2].map(acks), [None, Some(Acks::All), Some(Acks::None), Some(Acks::Leader), None]);
    }

    #[test]
    fn zstd_is_seen_in_the_attributes_of_a_v2_batch_only() {
        let batch = |magic, attributes| {
            let mut bytes = vec![0; 61];
            (bytes[16], bytes[22]) = (magic, attributes);
            Bytes::from(bytes)
        };
        assert!(is_zstd(&batch(2, 4)));
        assert!(is_zstd(&batch(2, 0b1100)));
        assert!(!is_zstd(&batch(2, 3)));
        assert!(!is_zstd(&batch(1, 4)));
        assert!(!is_zstd(&Bytes::from_static(&[0; 20])));
    }
}
