//! From a client's batch to the broker and back: what Produce and AppendSession have in common.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use runnel_api::{Acks, Produce, ProducePartition, ProduceRequest, ProducedPartition, ProducerIdentity, TopicKey};
use runnel_proto::produce::v1::append_outcome::Outcome;
use runnel_proto::produce::v1::{AppendBatch, AppendOutcome, Appended};
use runnel_proto::record::v1::{Compression, Durability};
use runnel_record::{BatchFields, Codec, Offset, TimestampMs};
use tonic::Code;

use crate::batches::{self, LARGE, Share};
use crate::door::{Door, duration};
use crate::error::Failure;
use crate::init_producer::identity;

/// How long a batch may wait for durability if the client does not say.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The least and the most that it gets: past the time the outcome is unknown, which helps nobody.
const TIMEOUTS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(600));

/// The time limit of an append as a client gave it.
pub(crate) fn timeout(ms: Option<u32>) -> Duration {
    duration(ms, TIMEOUT, TIMEOUTS.0, TIMEOUTS.1)
}

/// Batches that are ready for the broker.
pub(crate) struct Prepared {
    parts: Vec<ProducePartition>,
    shares: Vec<Share>,
    /// Records of each part.
    counts: Vec<i64>,
}

/// Checks a client's batch, creates its topic where that is due, routes the records and builds a batch for each
/// partition. Nothing is appended yet.
pub(crate) async fn prepare(door: &Door, batch: AppendBatch) -> Result<Prepared, Failure> {
    let fields = fields(&batch)?;
    let topic = door.describe(&batch.topic, true).await?;
    let partitions = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    let shares = match batch.partition {
        Some(partition) => vec![Share { partition, records: Vec::new() }],
        None => batches::route(&batch.records, partitions, door.next_partition(partitions)),
    };
    let key = TopicKey::Name(batch.topic);
    let (expected_offset, now) = (batch.expected_offset.map(Offset), TimestampMs(door.clock.now_ms()));
    let codec = batches::codec(Compression::try_from(batch.compression).unwrap_or_default());
    let records = batch.records;
    let bytes = batches::payload(&records);
    let build = move || {
        let mut parts = Vec::with_capacity(shares.len());
        for share in &shares {
            let records = batches::build(&records, share, fields, codec, now)?;
            let topic = key.clone();
            parts.push(ProducePartition { topic, partition: share.partition, records, expected_offset });
        }
        let count = |share: &Share| if share.records.is_empty() { records.len() } else { share.records.len() };
        let counts = shares.iter().map(|share| i64::try_from(count(share)).unwrap_or(i64::MAX)).collect();
        Ok(Prepared { parts, shares, counts })
    };
    // Plain batches are copied at the speed of memory; compression is another matter.
    if codec == Codec::None || bytes < LARGE { build() } else { off_thread(build).await }
}

/// Runs what takes processor time where it holds up nobody.
pub(crate) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|e| Err(Failure::new(Code::Internal, "INTERNAL", format!("the work was not done: {e}"))))
}

/// The header fields of a batch that the client decides, after a look at what else it asks for.
fn fields(batch: &AppendBatch) -> Result<BatchFields, Failure> {
    if batch.records.is_empty() {
        return Err(Failure::invalid("there are no records"));
    }
    if Compression::try_from(batch.compression).is_err() {
        return Err(Failure::invalid(format!("compression {} is not known", batch.compression)));
    }
    if batch.partition.is_none() && (batch.expected_offset.is_some() || batch.sequence.is_some()) {
        return Err(Failure::invalid("expected_offset and sequence belong to one partition: name it"));
    }
    let Some(sequence) = &batch.sequence else { return Ok(BatchFields::default()) };
    let producer = sequence.producer.as_ref().ok_or_else(|| Failure::invalid("sequence has no producer"))?;
    let ProducerIdentity { id, epoch } = identity(producer)?;
    if sequence.base_sequence < 0 {
        return Err(Failure::invalid("base_sequence is negative"));
    }
    let base_sequence = sequence.base_sequence;
    Ok(BatchFields { producer_id: id, producer_epoch: epoch, base_sequence, ..BatchFields::default() })
}

/// What became of each part, in order.
pub(crate) type Outcomes = Vec<(Share, Result<Appended, Failure>)>;

/// Hands the batches to the broker: the first poll fixes their place in the log.
pub(crate) fn append(door: &Arc<Door>, prepared: Prepared, timeout: Duration) -> BoxFuture<'static, Outcomes> {
    let door = Arc::clone(door);
    async move {
        let Prepared { parts, shares, counts } = prepared;
        let request = ProduceRequest { acks: Acks::All, timeout, partitions: parts };
        let produced = Produce::produce(&*door.broker, request).await;
        let outcomes = produced.into_iter().zip(counts).map(|(part, count)| outcome(part, count));
        shares.into_iter().zip(outcomes).collect()
    }
    .boxed()
}

fn outcome(part: ProducedPartition, count: i64) -> Result<Appended, Failure> {
    match part.outcome {
        Ok(produced) => Ok(Appended {
            partition: part.partition,
            base_offset: produced.base_offset.0,
            next_offset: produced.base_offset.plus(count).0,
            append_time_ms: produced.log_append_time.0,
            durability: match produced.durability {
                runnel_api::Durability::Local => Durability::Local.into(),
                runnel_api::Durability::Object => Durability::Object.into(),
            },
            leader_epoch: produced.leader_epoch.0,
        }),
        Err(error) => Err(Failure::of_append(error).at(&part.topic.to_string(), part.partition)),
    }
}

/// Outcomes for the wire.
pub(crate) fn replies(outcomes: Outcomes) -> Vec<AppendOutcome> {
    let reply = |(share, outcome): (Share, Result<Appended, Failure>)| AppendOutcome {
        records: share.records,
        partition: share.partition,
        outcome: Some(match outcome {
            Ok(appended) => Outcome::Appended(appended),
            Err(failure) => Outcome::Error(failure.into_proto()),
        }),
    };
    outcomes.into_iter().map(reply).collect()
}
