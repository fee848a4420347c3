//! A bucket in memory, lanes in it, and a listener to wait for.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use runnel_blob::testing::Faults;
use runnel_blob::{Bucket, Key, lane_prefix};
use runnel_format::wal::LaneHeader;
use runnel_record::{Offset, TopicPartition};
use runnel_runtime::FailPoints;
use tokio::sync::watch;
use uuid::Uuid;

use crate::object::header;
use crate::object::{ObjectLaneIdentity, ObjectLog, ObjectOptions, SealedLane};
use crate::tests::rig::{Heard, entry};
use crate::{Error, LaneSeq, Listener, StoredBatch};

pub(crate) const LANE: Uuid = Uuid::from_u128(0xcd);
pub(crate) const ALL: Offset = Offset(i64::MAX);

pub(crate) fn identity() -> ObjectLaneIdentity {
    ObjectLaneIdentity { lane: LANE, session: 7, nonce: Uuid::from_u128(1) }
}

/// A store without faults.
pub(crate) fn store() -> Bucket {
    let options =
        runnel_blob::Options { request_timeout: Duration::from_secs(2), ..runnel_blob::Options::new("memory:") };
    Bucket::open(&options, FailPoints::default()).unwrap()
}

/// A slot for every entry.
pub(crate) fn one_each() -> ObjectOptions {
    ObjectOptions { max_bytes: 1, ..ObjectOptions::default() }
}

pub(crate) async fn open(bucket: &Bucket, options: ObjectOptions) -> ObjectLog {
    ObjectLog::open(bucket.clone(), options, identity(), FailPoints::default()).await.unwrap()
}

/// Remembers what it heard, and that it heard it in order.
#[derive(Default)]
pub(crate) struct Ears(watch::Sender<Heard>);

impl Listener for Ears {
    fn durable(&self, upto: LaneSeq) {
        self.0.send_modify(|heard| {
            assert!(upto.0 > heard.durable && heard.failed == 0, "out of order");
            heard.durable = upto.0;
            heard.calls += 1;
        });
    }

    fn failed(&self) {
        self.0.send_modify(|heard| heard.failed += 1);
    }
}

impl Ears {
    pub(crate) fn heard(&self) -> Heard {
        *self.0.borrow()
    }

    /// Waits until `seq` is durable; false if the lane failed first.
    pub(crate) async fn wait(&self, seq: LaneSeq) -> bool {
        let mut heard = self.0.subscribe();
        heard.wait_for(|heard| heard.durable >= seq.0 || heard.failed > 0).await.unwrap().durable >= seq.0
    }
}

/// A log, and who listens to it.
pub(crate) struct Owner {
    pub(crate) log: ObjectLog,
    pub(crate) ears: Arc<Ears>,
    listener: Arc<dyn Listener>,
}

impl Owner {
    pub(crate) async fn new(bucket: &Bucket, options: ObjectOptions) -> Self {
        Self::of(open(bucket, options).await)
    }

    pub(crate) fn of(log: ObjectLog) -> Self {
        let ears = Arc::new(Ears::default());
        let listener: Arc<dyn Listener> = Arc::clone(&ears) as _;
        Self { log, ears, listener }
    }

    pub(crate) fn append(&self, partition: i32, base: i64, body: &[u8]) -> Result<LaneSeq, Error> {
        self.log.append(entry(partition, base, 1, 1, body), &self.listener)
    }

    /// Appends and waits; whether it became durable.
    pub(crate) async fn put(&self, partition: i32, base: i64, body: &[u8]) -> bool {
        let seq = self.append(partition, base, body).unwrap();
        self.ears.wait(seq).await
    }
}

/// Numbers of the slots that there are, with their sizes.
pub(crate) async fn slots(bucket: &Bucket) -> Vec<(u64, u64)> {
    let listed = bucket.list(&lane_prefix(LANE)).await.unwrap();
    let slots = listed.iter().filter_map(|listed| match Key::parse_lane_object(&listed.path) {
        Some(Key::Slot { slot, .. }) => Some((slot, listed.bytes)),
        _ => None,
    });
    slots.collect()
}

pub(crate) fn numbers(slots: &[(u64, u64)]) -> Vec<u64> {
    slots.iter().map(|(slot, _)| *slot).collect()
}

pub(crate) async fn lane_header(bucket: &Bucket) -> LaneHeader {
    header::load(bucket, LANE).await.unwrap().unwrap()
}

pub(crate) fn bodies(found: &[StoredBatch]) -> Vec<Bytes> {
    found.iter().map(|stored| stored.batch.body().clone()).collect()
}

/// All that a sealed lane holds of a partition.
pub(crate) async fn all_of(sealed: &SealedLane, tp: TopicPartition) -> Result<Vec<StoredBatch>, Error> {
    let tails = sealed.tails(&[tp]).await?;
    let Some(first) = tails.tails.get(&tp).and_then(|tail| tail.first()) else { return Ok(Vec::new()) };
    let base = i64::from_be_bytes(first.header[..8].try_into().unwrap());
    sealed.read(tp, Offset(base), ALL, usize::MAX).await
}

pub(crate) fn behind(bucket: &Bucket) -> (Bucket, Faults) {
    let faults = Faults::new();
    (bucket.behind(&faults), faults)
}
