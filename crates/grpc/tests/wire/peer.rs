//! Brokers that ask each other, over a socket: the answer is the one that the broker gives itself.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use runnel_api::groups::{CommitOffset, CommitOffsets, FetchOffsets, GroupError, JoinGroup, JoinOutcome, Membership};
use runnel_api::{
    Acks, Endpoint, ErrorKind, Fetch, FetchPartition, FetchRequest, Isolation, OffsetSpec, ProducePartition,
    ProduceRequest, TopicKey,
};
use runnel_grpc::Options;
use runnel_peer::{Connections, Peer, Peers};
use runnel_record::{LeaderEpoch, Offset, TimestampMs};
use runnel_runtime::{ManualClock, Shutdown};
use runnel_testkit::{BatchSpec, MemoryBroker};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::support::{NOW, within};

const SECOND: Duration = Duration::from_secs(1);

fn topic() -> TopicKey {
    TopicKey::Name("t".to_owned())
}

struct Other {
    at: Endpoint,
    shutdown: Shutdown,
    serving: JoinHandle<Result<(), runnel_grpc::Error>>,
}

impl Other {
    async fn start(broker: &Arc<MemoryBroker>, port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let at = Endpoint { host: "127.0.0.1".to_owned(), port: listener.local_addr().unwrap().port() };
        let shutdown = Shutdown::new();
        let (clock, own) = (Arc::new(ManualClock::new(NOW)), Some(Arc::clone(broker) as Arc<dyn Peer>));
        let options = Options { drain_grace: Duration::from_millis(20), ..Options::default() };
        let broker = Arc::clone(broker) as Arc<dyn runnel_api::Broker>;
        let serving = tokio::spawn(runnel_grpc::serve(listener, broker, own, clock, options, shutdown.clone()));
        Self { at, shutdown, serving }
    }

    async fn stop(self) {
        self.shutdown.trigger();
        within(self.serving).await.unwrap().unwrap();
    }
}

fn append(partition: i32, value: &[u8]) -> ProduceRequest {
    let records = runnel_testkit::batch(&BatchSpec { records: &[(None, Some(value))], ..BatchSpec::default() });
    let partitions = vec![ProducePartition { topic: topic(), partition, records, expected_offset: None }];
    ProduceRequest { acks: Acks::All, timeout: SECOND * 10, partitions }
}

fn fetch(partition: i32, offset: i64, max_wait: Duration) -> FetchRequest {
    let partition = FetchPartition {
        topic: topic(),
        partition,
        offset: Offset(offset),
        max_bytes: 1 << 20,
        current_leader_epoch: None,
        last_fetched_epoch: None,
        zone: None,
    };
    let isolation = Isolation::ReadCommitted;
    FetchRequest { max_wait, min_bytes: 1, max_bytes: 1 << 20, isolation, partitions: vec![partition] }
}

#[tokio::test]
async fn every_call_is_answered_as_the_broker_itself_answers_it() {
    let broker = MemoryBroker::with_topic("t", 2);
    let other = Other::start(&broker, 0).await;
    let remote = Connections::default().at(&other.at);
    let produced = remote.produce(append(1, b"one")).await.pop().unwrap();
    assert_eq!((produced.topic, produced.partition, produced.outcome.unwrap().base_offset), (topic(), 1, Offset(0)));

    let (there, here) = (remote.fetch(fetch(1, 0, SECOND)).await, broker.fetch(fetch(1, 0, SECOND)).await);
    let (there, here) = (there[0].outcome.as_ref().unwrap(), here[0].outcome.as_ref().unwrap());
    assert_eq!(there.batches, here.batches);
    assert_eq!(there.batches.len(), 1);
    let bounds = |read: &runnel_api::Fetched| (read.high_watermark, read.last_stable_offset, read.log_start);
    assert_eq!((bounds(there), there.diverging), (bounds(here), here.diverging));

    let (own, isolation) = (Arc::clone(&broker) as Arc<dyn Peer>, Isolation::ReadUncommitted);
    let time = OffsetSpec::Timestamp(TimestampMs(NOW));
    for spec in [OffsetSpec::Earliest, OffsetSpec::Latest, OffsetSpec::MaxTimestamp, OffsetSpec::LatestTiered, time] {
        let ask = async |peer: &Arc<dyn Peer>| peer.list_offset(&topic(), 1, spec, isolation, None).await;
        assert_eq!(ask(&remote).await, ask(&own).await, "{spec:?}");
    }
    for epoch in [0, 1, 7] {
        let ask = async |peer: &Arc<dyn Peer>| peer.epoch_end(&topic(), 1, LeaderEpoch(epoch), None).await;
        assert_eq!(ask(&remote).await, ask(&own).await);
        let ask = async |peer: &Arc<dyn Peer>| peer.standing(&topic(), 1, LeaderEpoch(epoch)).await;
        assert_eq!(ask(&remote).await, ask(&own).await);
    }
    let asked = [(topic(), 1), (topic(), 9), (TopicKey::Name("absent".to_owned()), 0), (topic(), 0)];
    assert_eq!(remote.ends(&asked).await, [Some(Offset(1)), None, None, Some(Offset(0))]);
    assert_eq!(remote.seal(&topic(), 1, SECOND).await, own.seal(&topic(), 1, SECOND).await);
    let start = Some(Offset(1));
    assert_eq!(remote.delete_records(&topic(), 1, start, SECOND).await, Ok(Offset(1)));
    assert_eq!(remote.active_producers(&topic(), 1).await, own.active_producers(&topic(), 1).await);
    assert_eq!(remote.log_dirs(None).await, own.log_dirs(None).await);
    assert!(remote.log_dirs(Some(&[])).await[0].partitions.is_empty());
    let traffic = remote.traffic().await.unwrap();
    assert_eq!((traffic.len(), &traffic), (2, &own.traffic().await.unwrap()));
    assert!(traffic[1].bytes > 0);
    other.stop().await;
}

#[tokio::test]
async fn topics_may_be_named_by_id_and_errors_keep_their_kind() {
    let broker = MemoryBroker::with_topic("t", 1);
    let other = Other::start(&broker, 0).await;
    let remote = Connections::default().at(&other.at);
    let latest = async |topic: &TopicKey, partition| {
        remote.list_offset(topic, partition, OffsetSpec::Latest, Isolation::ReadCommitted, None).await
    };
    let id = TopicKey::Id(runnel_api::Cluster::describe_topic(&*broker, &topic(), false).await.unwrap().id);
    assert_eq!(latest(&id, 0).await.unwrap().unwrap().offset, Offset(0));
    assert_eq!(latest(&topic(), 9).await.unwrap_err().kind, ErrorKind::UnknownPartition);
    broker.fail("t", ErrorKind::NotLeader);
    let error = latest(&topic(), 0).await.unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::NotLeader, "`t` was told to fail"));
    let refused = remote.fetch(fetch(0, 0, SECOND)).await.remove(0).outcome.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::NotLeader);
    let refused = remote.produce(append(0, b"x")).await.remove(0).outcome.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::NotLeader);
    other.stop().await;
}

#[tokio::test]
async fn appends_begin_in_the_order_in_which_they_were_first_polled() {
    let broker = MemoryBroker::with_topic("t", 200);
    let other = Other::start(&broker, 0).await;
    let remote = Connections::default().at(&other.at);
    // Large ones between small ones: on streams of their own the small ones would be first.
    let value = |n: i32| vec![b'.'; if n % 3 == 0 { 300_000 } else { 10 }];
    let gate = broker.hold();
    let all = (0..200).map(|n| remote.produce(append(n, &value(n))));
    let mut all = std::pin::pin!(join_all(all));
    assert!(futures::poll!(&mut all).is_pending());
    drop(gate);
    let answered = within(all).await;
    assert!(answered.iter().flatten().zip(0..).all(|(part, n)| part.partition == n && part.outcome.is_ok()));
    assert_eq!(broker.appends(), (0..200).collect::<Vec<_>>());
    other.stop().await;
}

#[tokio::test]
async fn a_large_append_and_a_large_read_go_through() {
    let broker = MemoryBroker::with_topic("t", 1);
    let other = Other::start(&broker, 0).await;
    let remote = Connections::default().at(&other.at);
    let value = vec![7; 40 << 20];
    within(remote.produce(append(0, &value))).await.remove(0).outcome.unwrap();
    let read = within(remote.fetch(FetchRequest { max_bytes: 60 << 20, ..fetch(0, 0, SECOND) })).await.remove(0);
    assert!(read.outcome.unwrap().batches[0].len() > 40 << 20);
    other.stop().await;
}

#[tokio::test]
async fn more_long_polls_than_a_connection_carries_wait_for_nobody() {
    let broker = MemoryBroker::with_topic("t", 1);
    let other = Other::start(&broker, 0).await;
    let remote = Connections::default().at(&other.at);
    let polls = (0..300).map(|_| remote.fetch(fetch(0, 0, SECOND * 15)));
    let mut polls = std::pin::pin!(join_all(polls));
    assert!(futures::poll!(&mut polls).is_pending());
    let append = async {
        // Behind all the polls, and not held up by them.
        within(remote.seal(&topic(), 0, SECOND)).await.unwrap();
        remote.produce(append(0, b"one")).await
    };
    let (read, _) = tokio::join!(within(polls), append);
    assert!(read.iter().flatten().all(|part| part.outcome.as_ref().unwrap().batches.len() == 1));
    other.stop().await;
}

#[tokio::test]
async fn a_broker_that_is_gone_does_not_lead_and_one_that_comes_back_does() {
    let broker = MemoryBroker::with_topic("t", 1);
    let other = Other::start(&broker, 0).await;
    let (at, connections) = (other.at.clone(), Connections::default());
    let remote = connections.at(&at);
    let kinds = async || {
        let produced = remote.produce(append(0, b"x")).await.remove(0).outcome.map(drop).map_err(|e| e.kind);
        let read = remote.fetch(fetch(0, 0, Duration::ZERO)).await.remove(0).outcome.map(drop).map_err(|e| e.kind);
        (produced, read)
    };
    assert_eq!(kinds().await, (Ok(()), Ok(())));
    other.stop().await;
    assert_eq!(within(kinds()).await, (Err(ErrorKind::NotLeader), Err(ErrorKind::NotLeader)));
    let again = Other::start(&broker, at.port).await;
    assert_eq!(within(kinds()).await, (Ok(()), Ok(())));
    again.stop().await;
}

#[tokio::test]
async fn groups_are_asked_as_they_are_here() {
    let broker = MemoryBroker::with_topic("t", 1);
    let other = Other::start(&broker, 0).await;
    let remote = Connections::default().at(&other.at);
    let join = JoinGroup {
        group: "g".to_owned(),
        member_id: String::new(),
        instance_id: None,
        client_id: "c".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        session_timeout: SECOND * 30,
        rebalance_timeout: SECOND * 30,
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), Bytes::from_static(b"\0\xff\x01t"))],
        reason: None,
        needs_member_id: false,
        may_skip_assignment: true,
    };
    let JoinOutcome::Joined(joined) = within(remote.join_group(join)).await.unwrap() else { panic!("no member") };
    assert_eq!(joined.members[0].metadata.as_ref(), b"\0\xff\x01t");
    let member = Membership { generation: joined.generation, member_id: joined.member_id, instance_id: None };
    let sync = runnel_api::groups::SyncGroup {
        group: "g".to_owned(),
        member: member.clone(),
        protocol_type: None,
        protocol: None,
        assignments: vec![(member.member_id.clone(), Bytes::from_static(b"\x80mine"))],
    };
    assert_eq!(remote.sync_group(sync).await.unwrap().assignment.as_ref(), b"\x80mine");
    let offset = |topic: &str| CommitOffset {
        topic: topic.to_owned(),
        partition: 0,
        offset: 5,
        leader_epoch: 0,
        metadata: "m".to_owned(),
    };
    let commit = CommitOffsets {
        group: "g".to_owned(),
        member: member.clone(),
        knows_epochs: false,
        retention: None,
        offsets: vec![offset("t")],
    };
    assert_eq!(remote.commit_offsets(commit.clone()).await, Ok(vec![Ok(())]));
    let wrong = Membership { generation: 99, ..member };
    let refused = remote.commit_offsets(CommitOffsets { member: wrong, ..commit }).await;
    let refused = refused.map(|mut each| each.remove(0)).and_then(|one| one).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Group(GroupError::IllegalGeneration));
    let fetch = FetchOffsets { group: "g".to_owned(), topics: None, member: None };
    assert_eq!(remote.fetch_offsets(fetch).await.unwrap()[0].offset, 5);
    let own = Arc::clone(&broker) as Arc<dyn Peer>;
    assert_eq!(remote.list_groups().await, own.list_groups().await);
    assert_eq!(remote.describe_group("g").await, own.describe_group("g").await);
    let refused = remote.delete_group("g").await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Group(GroupError::NonEmptyGroup));
    other.stop().await;
}

#[test]
fn reflection_knows_nothing_of_it() {
    let needle = b"PeerService";
    assert!(!runnel_proto::DESCRIPTORS.windows(needle.len()).any(|window| window == needle));
}
