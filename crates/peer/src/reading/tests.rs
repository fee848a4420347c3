//! The parts together, on a clock that stands still: the leader is a broker in memory. What all of it does on a bucket and with
//! brokers that fail is tested in `crates/broker/tests/broker/reading.rs`.
#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use runnel_api::{
    Acks, Archive, Cluster as _, Endpoint, Error, ErrorKind, Isolation, Led, Node, Produce as _, ProducePartition,
    ProduceRequest, Room, TopicKey,
};
use runnel_record::{Batch, HEADER_LEN, LeaderEpoch, Offset, TopicId};
use runnel_testkit::{BatchSpec, MemoryBroker, Relay};

use super::state::IDLE;
use super::*;
use crate::Peer;

/// A batch without content.
pub(super) fn batch(base: i64, records: i32, body: usize) -> Batch {
    let mut header = [0; HEADER_LEN];
    header[23..27].copy_from_slice(&(records - 1).to_be_bytes());
    let mut batch = Batch::from_parts(header, Bytes::from(vec![0; body]));
    batch.assign(Offset(base), LeaderEpoch(1));
    batch
}

/// A broker that leads nothing, of a cluster in which nothing was shipped yet.
struct Follower {
    epoch: i32,
}

#[async_trait]
impl Fetch for Follower {
    async fn fetch(&self, request: FetchRequest) -> Vec<FetchedPartition> {
        let elsewhere = || Error::new(ErrorKind::NotLeader, "somebody else leads it");
        let answer = |part: FetchPartition| FetchedPartition {
            topic: part.topic,
            partition: part.partition,
            outcome: Err(elsewhere()),
        };
        request.partitions.into_iter().map(answer).collect()
    }
}

struct NothingShipped;

#[async_trait]
impl Archive for NothingShipped {
    async fn read(&self, _: Offset, _: Offset, _: usize, _: bool) -> Result<(Vec<Batch>, Room)> {
        Err(Error::new(ErrorKind::StorageError, "nothing is shipped"))
    }
}

impl Nearby for Follower {
    fn led(&self, topic: &TopicKey, partition: i32) -> Result<Led> {
        let TopicKey::Id(topic) = topic else { return Err(Error::new(ErrorKind::UnknownTopic, "by id only")) };
        let grpc = Some(Endpoint { host: "leader".to_owned(), port: 1 });
        let leader = Node { id: 1, name: "leader".to_owned(), zone: Some("a".to_owned()), kafka: None, grpc };
        Ok(Led { tp: TopicPartition { topic: *topic, partition }, epoch: LeaderEpoch(self.epoch), leader })
    }

    fn archive(&self, _: TopicPartition) -> Result<Arc<dyn Archive>> {
        Ok(Arc::new(NothingShipped))
    }
}

struct OneLeader(Arc<Relay<MemoryBroker>>);

impl Peers for OneLeader {
    fn at(&self, _: &Endpoint) -> Arc<dyn Peer> {
        Arc::clone(&self.0) as _
    }
}

/// A leader, the way to it, and who reads from it.
struct World {
    leader: Arc<MemoryBroker>,
    way: Arc<Relay<MemoryBroker>>,
    reading: Arc<Reading>,
    topic: TopicId,
}

impl World {
    async fn new(memory: usize) -> Self {
        let leader = MemoryBroker::with_topic("t", 1);
        let topic = leader.describe_topic(&TopicKey::Name("t".to_owned()), false).await.unwrap().id;
        let way = Arc::new(Relay::to(&leader));
        let peers = Arc::new(OneLeader(Arc::clone(&way)));
        let reading = Reading::new(Arc::new(Follower { epoch: 1 }), peers, "b", memory);
        Self { leader, way, reading, topic }
    }

    async fn append(&self, bytes: usize) {
        let value = vec![b'x'; bytes];
        let records = runnel_testkit::batch(&BatchSpec { records: &[(None, Some(&value))], ..BatchSpec::default() });
        let (topic, partition, expected_offset) = (TopicKey::Id(self.topic), 0, None);
        let partitions = vec![ProducePartition { topic, partition, records, expected_offset }];
        let request = ProduceRequest { acks: Acks::All, timeout: Duration::from_secs(1), partitions };
        assert!(self.leader.produce(request).await[0].outcome.is_ok());
    }

    async fn fetch(&self, offset: i64, max_wait: Duration) -> Result<Vec<i64>> {
        let part = FetchPartition {
            topic: TopicKey::Id(self.topic),
            partition: 0,
            offset: Offset(offset),
            max_bytes: 1 << 20,
            current_leader_epoch: None,
            last_fetched_epoch: None,
            zone: Some("b".into()),
        };
        let isolation = Isolation::ReadUncommitted;
        let request = FetchRequest { max_wait, min_bytes: 1, max_bytes: 1 << 20, isolation, partitions: vec![part] };
        let read = self.reading.fetch(request).await.remove(0).outcome?;
        Ok(read.batches.iter().map(|batch| batch.base_offset().0).collect())
    }
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_long_poll_ends_with_what_the_stream_brings() {
    let world = World::new(1 << 20).await;
    let (read, ()) = tokio::join!(world.fetch(0, LONG), async {
        tokio::time::sleep(LONG / 2).await;
        world.append(10).await;
    });
    assert_eq!(read.unwrap(), [0]);
    assert_eq!(world.fetch(0, LONG).await.unwrap(), [0], "it is there");
    let begun = Instant::now();
    assert!(world.fetch(1, LONG).await.unwrap().is_empty());
    assert_eq!(begun.elapsed(), LONG, "nothing came");
    let (read, ()) = tokio::join!(world.fetch(1, LONG), async {
        tokio::time::sleep(IDLE * 2).await;
        world.append(10).await;
    });
    assert_eq!(read.unwrap(), [1], "who waits is not nobody");
}

#[tokio::test(start_paused = true)]
async fn what_is_there_is_waited_for() {
    let world = World::new(1 << 20).await;
    world.append(10).await;
    assert_eq!(world.fetch(0, Duration::ZERO).await.unwrap(), [0], "the stream had not begun yet");
    let begun = Instant::now();
    assert!(world.fetch(1, Duration::ZERO).await.unwrap().is_empty());
    assert!(begun.elapsed().is_zero(), "there is nothing to wait for");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_for_that_nobody_reads() {
    let world = World::new(1 << 20).await;
    world.append(10).await;
    assert_eq!(world.fetch(0, LONG).await.unwrap(), [0]);
    let brought = world.way.bytes();
    tokio::time::sleep(IDLE + LOOK + Duration::from_secs(1)).await;
    world.append(10).await;
    tokio::time::sleep(IDLE + LOOK * 2).await;
    assert_eq!(world.way.bytes(), brought, "the stream went on without anybody");
    assert!(world.reading.followed().is_empty(), "the partition is kept without anybody");
    assert_eq!(world.fetch(1, LONG).await.unwrap(), [1]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_hears_that_the_leader_is_lost() {
    let world = World::new(1 << 20).await;
    let (read, ()) = tokio::join!(world.fetch(0, LONG), async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        world.way.cut(true);
    });
    assert_eq!(read.unwrap_err().kind, ErrorKind::NotLeader);
    world.way.cut(false);
    // A later moment than that at which it failed.
    tokio::time::advance(Duration::from_millis(1)).await;
    world.append(10).await;
    assert_eq!(world.fetch(0, LONG).await.unwrap(), [0]);
}

#[tokio::test(start_paused = true)]
async fn another_epoch_than_that_of_the_leader_is_not_served() {
    let world = World::new(1 << 20).await;
    world.append(10).await;
    let peers = Arc::new(OneLeader(Arc::clone(&world.way)));
    let reading = Reading::new(Arc::new(Follower { epoch: 2 }), peers, "b", 1 << 20);
    let world = World { reading, ..world };
    assert_eq!(world.fetch(0, LONG).await.unwrap_err().kind, ErrorKind::NotLeader);
    assert_eq!(world.way.bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn memory_is_bounded_and_what_is_not_kept_comes_again() {
    let world = World::new(10_000).await;
    for _ in 0..50 {
        world.append(1_000).await;
    }
    let mut at = 0;
    while at < 50 {
        at += i64::try_from(world.fetch(at, LONG).await.unwrap().len()).unwrap();
    }
    assert_eq!(at, 50);
    // The last few are kept, the rest is asked for again.
    let brought = world.way.bytes();
    assert!(brought >= 50_000, "{brought}");
    assert_eq!(world.fetch(49, LONG).await.unwrap(), [49]);
    assert_eq!(world.way.bytes(), brought);
    assert!(!world.fetch(0, LONG).await.unwrap().is_empty());
    assert!(world.way.bytes() > brought);
}
