//! What this broker can do for partitions that others lead: who leads them, and reads of what is shipped.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use runnel_api::{Archive, Error, ErrorKind, Led, Nearby, Room, TopicKey};
use runnel_blob::Bucket;
use runnel_record::{Batch, Offset, TopicPartition};
use runnel_segment::manifest::Snapshot;
use tokio::sync::Mutex;

use crate::Broker;
use crate::cold::ColdReader;
use crate::error::segment_error;
use crate::shipped::Shipped;

#[async_trait]
impl Nearby for Broker {
    fn led(&self, topic: &TopicKey, partition: i32) -> Result<Led, Error> {
        let topic = self.topics.get(topic)?;
        topic.existing(partition)?;
        let tp = topic.tp(partition);
        if self.stopping() || self.is_leaving() {
            return Err(Error::new(ErrorKind::NotLeader, "this broker is stopping: ask the leader"));
        }
        // What it knows of leaders may be old.
        self.check_lease()?;
        let (leader, epoch) = self.leader_node(tp).ok_or_else(|| self.led_elsewhere(&topic, tp))?;
        Ok(Led { tp, epoch, leader })
    }

    fn archive(&self, tp: TopicPartition) -> Result<Arc<dyn Archive>, Error> {
        let topic_name = self.topics.get(&TopicKey::Id(tp.topic))?.name.clone();
        let (cold, bucket) = (Arc::clone(&self.cold), self.bucket.clone());
        let (known, looking) = Default::default();
        Ok(Arc::new(Elsewhere { tp, topic_name, cold, bucket, known, looking }))
    }
}

impl Broker {
    /// Memory, in bytes, that what is kept of partitions that brokers of other zones lead may take up.
    pub const fn memory_for_zone(&self) -> u64 {
        self.zone_memory
    }
}

/// What is shipped of a partition that another broker leads.
struct Elsewhere {
    tp: TopicPartition,
    topic_name: String,
    cold: Arc<ColdReader>,
    bucket: Bucket,
    /// As of the last look at the root.
    known: OnceLock<Arc<Shipped>>,
    /// Held by the one who looks. Nobody else waits, unless for what is not known yet.
    looking: Mutex<()>,
}

#[async_trait]
impl Archive for Elsewhere {
    async fn read(
        &self,
        from: Offset,
        upto: Offset,
        max_bytes: usize,
        wait: bool,
    ) -> Result<(Vec<Batch>, Room), Error> {
        let shipped = self.known(|known| from < known.end()).await?;
        check(&shipped, from)?;
        let error = match self.cold.read_shipped(&shipped, from, upto, max_bytes, wait).await {
            Err(error) => error,
            read => return read,
        };
        // The objects may have been merged, or had their time, since the root was read.
        let version = shipped.snapshot().root().version;
        let newer = self.known(|known| known.snapshot().root().version > version).await?;
        check(&newer, from)?;
        if newer.snapshot().root().version == version {
            return Err(error);
        }
        self.cold.read_shipped(&newer, from, upto, max_bytes, wait).await
    }
}

impl Elsewhere {
    /// What is known, if that is `enough`; else what the bucket says now.
    async fn known(&self, enough: impl Fn(&Shipped) -> bool) -> Result<Arc<Shipped>, Error> {
        let found = || self.known.get().filter(|known| enough(known)).map(Arc::clone);
        if let Some(known) = found() {
            return Ok(known);
        }
        let _looking = self.looking.lock().await;
        if let Some(known) = found() {
            return Ok(known);
        }
        if let Some(known) = self.known.get() {
            known.publish(known.snapshot().newest().await.map_err(|e| segment_error(&e))?);
            return Ok(Arc::clone(known));
        }
        let loaded = Snapshot::load(&self.bucket, self.tp, &self.topic_name).await.map_err(|e| segment_error(&e))?;
        let loaded = Arc::new(Shipped::new(self.tp, self.topic_name.clone(), loaded));
        Ok(Arc::clone(self.known.get_or_init(|| loaded)))
    }
}

fn check(shipped: &Shipped, from: Offset) -> Result<(), Error> {
    let what = match from {
        _ if from < shipped.log_start() => (ErrorKind::OffsetOutOfRange, "is not in the log any more"),
        // The leader said that it is, or this broker sees an older bucket.
        _ if from >= shipped.end() => (ErrorKind::StorageError, "is not in the bucket"),
        _ => return Ok(()),
    };
    Err(Error::new(what.0, format!("offset {from} of {} {}", shipped.label(), what.1)))
}
