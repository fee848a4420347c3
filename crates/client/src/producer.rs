//! Appending records.
//!
//! [`Producer`] is the handle; `session.rs` talks to the broker; `pipeline.rs` decides what is sent when, without I/O;
//! `batch.rs` is what it decides about.

mod batch;
mod pipeline;
mod session;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use runnel_proto::record::v1::{Compression, Record};
use runnel_record::partition_for_key;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::{Client, Error, ErrorKind, Result};
use batch::size_of;

/// Records that may wait on their way to the session.
const MAILBOX: usize = 4096;

/// The config of a topic that bounds a batch.
const MAX_BATCH: &str = "max.message.bytes";

/// Settings of a [`Producer`].
#[derive(Debug, Clone)]
pub struct ProducerOptions {
    /// A batch is sent once it holds this many bytes.
    pub batch_bytes: usize,
    /// A batch is sent this long after its first record at the latest.
    pub linger: Duration,
    /// Records that are not yet acknowledged may take this many bytes; past it `send` waits.
    pub buffer_bytes: usize,
    /// How the broker compresses batches in its log.
    pub compression: Compression,
    /// A record that could not be stored for this long fails.
    pub delivery_timeout: Duration,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self {
            batch_bytes: 256 << 10,
            linger: Duration::from_millis(5),
            buffer_bytes: 32 << 20,
            compression: Compression::Unspecified,
            delivery_timeout: Duration::from_secs(120),
        }
    }
}

/// Where a record goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// To the partition of its key, as Kafka's clients choose it; without a key, wherever the batch at hand goes.
    Key,
    /// To this partition.
    Partition(i32),
}

/// Where a record is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// Its partition.
    pub partition: i32,
    /// Its offset; unknown if it was stored by an attempt that the broker remembers no details of.
    pub offset: Option<i64>,
}

/// What becomes of a record that was handed in: resolves once it is durable, or has failed.
#[derive(Debug)]
pub struct Delivery(oneshot::Receiver<Result<Delivered>>);

impl Future for Delivery {
    type Output = Result<Delivered>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(Pin::new(&mut self.0).poll(context));
        Poll::Ready(outcome.unwrap_or_else(|_| Err(closed())))
    }
}

/// What is known of a topic.
#[derive(Debug)]
struct Topic {
    name: Arc<str>,
    partitions: i32,
    /// No batch may be larger; unless one record is.
    max_batch_bytes: usize,
}

/// Every topic seen.
type Topics = Arc<Mutex<BTreeMap<String, Arc<Topic>>>>;

/// Appends records, in batches, over a session that is opened anew when it breaks.
///
/// Appends are idempotent: a batch whose reply was lost is sent again under the same sequence number, so it is stored
/// once. Records of one partition keep their order.
#[derive(Debug, Clone)]
pub struct Producer {
    client: Client,
    mailbox: mpsc::Sender<session::Command>,
    buffer: Arc<Semaphore>,
    buffer_bytes: usize,
    topics: Topics,
}

impl Producer {
    /// A producer; its session is opened for the first record. The session ends with the last clone, after what was
    /// handed in is stored.
    pub fn new(client: Client, options: ProducerOptions) -> Self {
        let (mailbox, commands) = mpsc::channel(MAILBOX);
        let buffer_bytes = options.buffer_bytes.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        let topics = Topics::default();
        tokio::spawn(session::run(client.clone(), options, commands, Arc::clone(&topics)));
        Self { client, mailbox, buffer: Arc::new(Semaphore::new(buffer_bytes)), buffer_bytes, topics }
    }

    /// Hands in a record. Waits while the buffer is full, or for news of a topic not seen before.
    pub async fn send(&self, topic: &str, target: Target, record: Record) -> Result<Delivery> {
        let topic = self.topic(topic).await?;
        let partitions = topic.partitions;
        let partition = match (target, &record.key) {
            (Target::Partition(partition), _) if !(0..partitions).contains(&partition) => {
                let text = format!("topic `{}` has partitions 0 to {}, not {partition}", topic.name, partitions - 1);
                return Err(Error::new(ErrorKind::NotFound, text));
            }
            (Target::Partition(partition), _) => Some(partition),
            (Target::Key, Some(key)) => Some(partition_for_key(key, partitions)),
            (Target::Key, None) => None,
        };
        let bytes = size_of(&record);
        // A record larger than the buffer takes all of it.
        let permits = u32::try_from(bytes.min(self.buffer_bytes)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.buffer).acquire_many_owned(permits).await.map_err(|_| closed())?;
        let (reply, delivery) = oneshot::channel();
        let entry = batch::Entry { record, bytes, reply, room };
        let command = session::Command::Append { topic, partition, entry };
        self.mailbox.send(command).await.map_err(|_| closed())?;
        Ok(Delivery(delivery))
    }

    /// Sends what waits for company and returns once everything handed in before has been stored or has failed.
    pub async fn flush(&self) -> Result<()> {
        let (reply, done) = oneshot::channel();
        self.mailbox.send(session::Command::Flush(reply)).await.map_err(|_| closed())?;
        done.await.map_err(|_| closed())
    }

    async fn topic(&self, name: &str) -> Result<Arc<Topic>> {
        let known = || self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known().get(name) {
            return Ok(Arc::clone(found));
        }
        let partitions = self.client.topic(name).await?.partitions.len();
        let configs = self.client.topic_configs(name).await?;
        let limit = configs.iter().find(|config| config.name == MAX_BATCH).and_then(|config| config.value.as_deref());
        let found = Arc::new(Topic {
            name: Arc::from(name),
            partitions: i32::try_from(partitions).unwrap_or(i32::MAX),
            max_batch_bytes: limit.and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX),
        });
        known().insert(name.to_owned(), Arc::clone(&found));
        Ok(found)
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the producer has ended")
}
