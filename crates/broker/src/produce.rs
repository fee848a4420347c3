//! Appending records: validation here, on the caller's task; everything that needs order in the partition's task.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;
use runnel_api::{
    ActiveProducer, Durability, Error, ErrorKind, Produce, ProducePartition, ProduceRequest, Produced,
    ProducedPartition, ProducerIdentity, TopicKey,
};
use runnel_partition::Terms;
use runnel_record::validate::{Limits, validate};
use runnel_record::{Batch, TimestampMs};
use tokio::sync::{SemaphorePermit, oneshot};
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use crate::Broker;
use crate::configs::TopicConfig;
use crate::entrance::Entrance;
use crate::error::record_error;
use crate::open::turns;
use crate::partition::Partition;
use crate::topics::{Topic, is_internal};

/// Appends that may be on their way at once: far above what the front doors let in.
pub(crate) const MOST_APPENDS: u32 = 1 << 20;

/// A batch may inflate to this at most; design §5, "Served batches".
pub(crate) const MAX_INFLATED_BYTES: usize = 128 << 20;

#[async_trait]
impl Produce for Broker {
    async fn produce(&self, request: ProduceRequest) -> Vec<ProducedPartition> {
        let deadline = Instant::now() + request.timeout;
        // join_all polls in order, so the parts reach their partitions in the order of the request.
        join_all(request.partitions.into_iter().map(|part| self.produce_one(part, deadline))).await
    }

    async fn init_producer_id(&self, current: Option<ProducerIdentity>) -> Result<ProducerIdentity, Error> {
        self.refuse_when_stopping()?;
        match current {
            // KIP-360: the producer keeps its id and moves to the next epoch, as long as there is one.
            Some(ProducerIdentity { id, epoch }) if id.0 >= 0 && (0..i16::MAX - 1).contains(&epoch) => {
                Ok(ProducerIdentity { id, epoch: epoch + 1 })
            }
            _ => Ok(ProducerIdentity { id: self.producer_ids.next(&self.bucket, &*self.meta).await?, epoch: 0 }),
        }
    }

    async fn active_producers(&self, topic: &TopicKey, partition: i32) -> Result<Vec<ActiveProducer>, Error> {
        let known = self.open_partition(topic, partition).await?.producers().await?;
        let active = known.producers.into_iter().filter_map(|producer| {
            let last = producer.batches.last()?;
            let identity = ProducerIdentity { id: producer.id, epoch: producer.epoch };
            Some(ActiveProducer { identity, last_sequence: last.last_sequence, last_append: last.append_time })
        });
        Ok(active.collect())
    }
}

impl Broker {
    async fn produce_one(&self, part: ProducePartition, deadline: Instant) -> ProducedPartition {
        let ProducePartition { topic, partition, records, expected_offset } = part;
        let span = tracing::debug_span!("append", %topic, partition, bytes = records.len());
        let outcome = async {
            let _admitted = self.admit()?;
            let Some(found) = self.topics.find(&topic) else {
                let found = self.find_topic(&topic).await?;
                // What came after this one may have met it already: in their order, that is for the client to mend.
                return Err(turns(&found.label(found.tp(partition))));
            };
            refuse_internal(&found.name)?;
            let config = found.config();
            let bytes = records.len();
            let batch = check(records, &config, self.ports.clock.now_ms()).inspect_err(|error| {
                tracing::debug!(topic = found.name, partition, bytes, %error, "refused a batch");
            })?;
            let records = u64::try_from(batch.record_count()).unwrap_or(0);
            let slot = found.existing(partition)?;
            let terms = Terms { log_append_time: config.log_append_time, expected_offset };
            let entered = self.enter(&found, partition, &slot.entrance, (batch, terms, deadline)).await;
            let (target, pending) = entered?;
            let produced = match target.outcome(pending, deadline).await {
                Err(error) if is_for_good(error.kind) => {
                    self.confirm_session().await?;
                    return Err(error);
                }
                outcome => outcome?,
            };
            if produced.durability == Durability::Local {
                // A disk cannot be sealed by others: past the lease of this broker they may go on without it (protocol §10, L2).
                self.check_lease()?;
            }
            target.passed(bytes);
            metrics::counter!("runnel_produce_records_total").increment(records);
            metrics::counter!("runnel_produce_bytes_total").increment(bytes as u64);
            Ok(produced)
        }
        .instrument(span)
        .await;
        ProducedPartition { topic, partition, outcome }
    }

    /// Puts a batch into the mailbox of its partition, in the order of arrival, also while that opens.
    async fn enter(
        &self,
        topic: &Arc<Topic>,
        partition: i32,
        entrance: &Entrance,
        (batch, terms, deadline): (Batch, Terms, Instant),
    ) -> Result<(Arc<Partition>, oneshot::Receiver<Outcome>), Error> {
        let ticket = entrance.arrive();
        let late = || turns(&topic.label(topic.tp(partition)));
        // Until the end: those behind a request that is refused are told before they have their turn.
        let turn = timeout_at(deadline, entrance.turn()).await;
        let entered = async {
            turn.as_ref().map_err(|_| late())?;
            if let Some(refusal) = entrance.refusal(ticket) {
                return Err(refusal);
            }
            let target = timeout_at(deadline, self.open_in(topic, partition)).await.map_err(|_| late())??;
            let pending = target.enqueue(batch, terms, deadline, ticket).await?;
            Ok((target, pending))
        };
        entered.await.inspect_err(|error| entrance.refuse(error))
    }

    /// Lets an append in, and a stop know when the last one is answered.
    pub(crate) fn admit(&self) -> Result<SemaphorePermit<'_>, Error> {
        self.refuse_when_stopping()?;
        self.admission.try_acquire().map_err(|_| stopping())
    }

    /// New work gets a retriable error while the broker stops.
    pub(crate) fn refuse_when_stopping(&self) -> Result<(), Error> {
        if self.stopping() {
            return Err(stopping());
        }
        Ok(())
    }
}

/// Whether an error is about what the log holds, and ends what the producer does.
const fn is_for_good(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::OutOfOrderSequence
            | ErrorKind::DuplicateSequence
            | ErrorKind::UnknownProducerId
            | ErrorKind::InvalidProducerEpoch
            | ErrorKind::OffsetMismatch { .. }
    )
}

fn refuse_internal(name: &str) -> Result<(), Error> {
    if is_internal(name) {
        let what = format!("`{name}` is written by the broker only: commit offsets instead");
        return Err(Error::new(ErrorKind::InvalidTopicName, what));
    }
    Ok(())
}

pub(crate) fn stopping() -> Error {
    Error::new(ErrorKind::ShuttingDown, "the broker is stopping: retry against the cluster")
}

/// Everything that must hold before an offset is given: after this, storing and encoding cannot fail on content.
fn check(records: bytes::Bytes, config: &Arc<TopicConfig>, now_ms: i64) -> Result<Batch, Error> {
    let limits = Limits {
        max_batch_bytes: config.max_message_bytes,
        max_inflated_bytes: MAX_INFLATED_BYTES,
        now: TimestampMs(now_ms),
        before_max_ms: config.timestamp_before_max_ms,
        after_max_ms: config.timestamp_after_max_ms,
        log_append_time: config.log_append_time,
    };
    validate(records, &limits).map_err(|error| record_error(&error))
}

/// The outcome that a partition reports; here so that its shape stands beside the request's.
pub(crate) type Outcome = Result<Produced, Error>;
