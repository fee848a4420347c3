//! Consumers read what brokers of other zones lead by way of one in their own: never anything else than the leader would
//! give them, never more from the leader than there is to get.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use runnel_api::{
    Cluster as _, Endpoint, Error, ErrorKind, Fetch, FetchPartition, FetchRequest, Fetched, Isolation, Segments as _,
};
use runnel_broker::Broker;
use runnel_peer::{Forwarding, Peer, Peers, Reading};
use runnel_record::{Batch, LeaderEpoch, Offset};
use runnel_testkit::Relay;

use crate::support::client::{FetchFrom, Record, name, records};
use crate::support::cluster::{Cluster, grpc_port};
use crate::support::{PATIENCE, batch, eventually, values};

/// Memory that nothing here fills.
const MEMORY: usize = 16 << 20;

/// The ways from one broker to all.
struct Ways(BTreeMap<u16, Arc<Relay<Broker>>>);

impl Peers for Ways {
    fn at(&self, address: &Endpoint) -> Arc<dyn Peer> {
        Arc::clone(&self.0[&address.port]) as Arc<dyn Peer>
    }
}

impl Ways {
    fn of(cluster: &Cluster) -> Arc<Self> {
        let way = |(at, node): (usize, &crate::support::Node)| {
            (grpc_port(i32::try_from(at).unwrap()), Arc::new(Relay::to(&node.broker())))
        };
        Arc::new(Self(cluster.nodes().map(way).collect()))
    }

    /// Bytes of records that came from anywhere.
    fn bytes(&self) -> usize {
        self.0.values().map(|way| way.bytes()).sum()
    }

    fn cut(&self, is_cut: bool) {
        self.0.values().for_each(|way| way.cut(is_cut));
    }
}

/// A broker and its zone, as consumers there see it.
struct Zone {
    at: usize,
    zone: Arc<str>,
    reading: Arc<Reading>,
    ways: Arc<Ways>,
}

fn start(zones: &[&str]) -> Cluster {
    let mut cluster = Cluster::without_brokers(i32::try_from(zones.len()).unwrap());
    for (at, zone) in zones.iter().enumerate() {
        cluster.machines[at].options.zone = Some((*zone).to_owned());
    }
    (0..zones.len()).for_each(|at| cluster.start_one(at));
    cluster
}

/// A broker in another zone than the leader of `t`-0.
fn elsewhere(cluster: &Cluster, memory: usize) -> Zone {
    let leader = cluster.leader("t", 0);
    let zone_of = |at: usize| cluster.machines[at].options.zone.clone().unwrap();
    let (at, node) = cluster.nodes().find(|(at, _)| zone_of(*at) != zone_of(leader)).unwrap();
    let (ways, zone) = (Ways::of(cluster), zone_of(at));
    // It starts tasks.
    let reading = node.run(async { Reading::new(node.broker(), Arc::clone(&ways) as _, &zone, memory) });
    Zone { at, zone: zone.into(), reading, ways }
}

impl Zone {
    fn part(&self, offset: i64) -> FetchPartition {
        let from = FetchFrom { topic: "t", partition: 0, offset, max_bytes: 1 << 20 };
        FetchPartition { zone: Some(Arc::clone(&self.zone)), ..from.partition() }
    }

    fn fetch(&self, cluster: &Cluster, part: FetchPartition, max_wait: Duration) -> Result<Fetched, Error> {
        cluster.node(self.at).run(self.reading.fetch(request(part, max_wait))).remove(0).outcome
    }

    /// Reads as a consumer does, up to `upto`, and goes back to whoever leads where it is sent there.
    fn read(&self, cluster: &Cluster, from: i64, upto: i64) -> Vec<Record> {
        let mut all: Vec<Record> = Vec::new();
        eventually("a read of everything", || {
            let at = from + i64::try_from(all.len()).unwrap();
            let found = self.fetch(cluster, self.part(at), Duration::from_millis(50)).ok()?;
            take(&mut all, &found, from);
            (from + i64::try_from(all.len()).unwrap() >= upto).then_some(())
        });
        all
    }
}

/// Adds what was read to what was read before.
fn take(all: &mut Vec<Record>, found: &Fetched, from: i64) {
    let next = |all: &Vec<Record>| from + i64::try_from(all.len()).unwrap();
    let at = next(all);
    for (offset, value) in records(&found.batches).into_iter().filter(|(offset, _)| *offset >= at) {
        assert_eq!(offset, next(all), "a record is missing or comes twice");
        all.push((offset, value));
    }
}

fn request(part: FetchPartition, max_wait: Duration) -> FetchRequest {
    let (min_bytes, max_bytes, isolation) = (1, 1 << 20, Isolation::ReadCommitted);
    FetchRequest { max_wait, min_bytes, max_bytes, isolation, partitions: vec![part] }
}

fn text(records: Vec<Record>) -> Vec<String> {
    records.into_iter().map(|(_, value)| String::from_utf8(value).unwrap()).collect()
}

fn size(fetched: &Fetched) -> usize {
    fetched.batches.iter().map(Batch::len).sum()
}

fn append(cluster: &Cluster, what: &str) {
    cluster.append("t", 0, &batch(&values(what, 3, 100)));
}

/// Everything committed is in the bucket.
fn ship(cluster: &Cluster) {
    let leader = cluster.node(cluster.leader("t", 0));
    let sealed = leader.run(leader.broker().seal(&name("t"), 0, PATIENCE)).unwrap();
    assert_eq!(sealed.sealed, sealed.shipped);
}

#[test]
fn consumers_are_sent_to_the_broker_of_their_zone_and_metadata_names_it() {
    let cluster = start(&["a", "b", "c"]);
    cluster.create("t", 3, &[]);
    for partition in 0..3 {
        let leader = cluster.leader("t", partition);
        cluster.append("t", partition, &batch(&values("x", 3, 10)));
        let node = cluster.node(leader);
        let ask = |zone: &str| {
            let from = FetchFrom { topic: "t", partition, offset: 0, max_bytes: 1 << 20 }.partition();
            let part = FetchPartition { zone: Some(zone.into()), ..from };
            node.run(node.broker().fetch(request(part, PATIENCE))).remove(0).outcome.unwrap()
        };
        let described = node.run(node.broker().describe_topic(&name("t"), false)).unwrap();
        let described = &described.partitions[usize::try_from(partition).unwrap()];
        assert_eq!(described.replicas[0], i32::try_from(leader).unwrap());
        for (at, zone) in ["a", "b", "c"].into_iter().enumerate() {
            let told = ask(zone);
            if at == leader {
                assert_eq!((told.reader, told.batches.len()), (None, 1));
            } else {
                let reader = i32::try_from(at).unwrap();
                assert_eq!((told.reader, told.batches.len(), told.high_watermark), (Some(reader), 0, Offset(3)));
                assert!(described.replicas.contains(&reader) && described.in_sync.contains(&reader), "{described:?}");
            }
        }
        assert_eq!(ask("d").reader, None, "nobody is there");
    }
    let (leader, node) = (cluster.leader("t", 0), cluster.node(0));
    let drained = (leader + 1) % 3;
    node.run(node.broker().drain(i32::try_from(drained).unwrap(), true)).unwrap();
    let zone = cluster.machines[drained].options.zone.clone().unwrap();
    let node = cluster.node(leader);
    let from = FetchFrom { topic: "t", partition: 0, offset: 0, max_bytes: 1 << 20 }.partition();
    let part = FetchPartition { zone: Some(zone.into()), ..from };
    eventually("nobody is sent to a broker that is drained", || {
        let told = node.run(node.broker().fetch(request(part.clone(), Duration::ZERO))).remove(0).outcome.unwrap();
        (told.reader.is_none() && told.batches.len() == 1).then_some(())
    });
    cluster.stop_all();
}

#[test]
fn what_is_shipped_does_not_come_from_the_leader() {
    let cluster = start(&["a", "b"]);
    cluster.create("t", 1, &[]);
    let zone = elsewhere(&cluster, MEMORY);
    let mut expected = Vec::new();
    for round in 0..3 {
        append(&cluster, &format!("r{round}"));
        expected.extend(values(&format!("r{round}"), 3, 100));
        ship(&cluster);
        // Not from where it was before: nobody waits for more, so nothing is streamed.
        let upto = i64::try_from(expected.len()).unwrap();
        let found = eventually("a read", || {
            let found = zone.fetch(&cluster, zone.part(upto - 3), Duration::ZERO).ok()?;
            (!found.batches.is_empty()).then_some(found)
        });
        assert_eq!(text(records(&found.batches)), expected[expected.len() - 3..]);
    }
    let found = zone.fetch(&cluster, zone.part(0), Duration::ZERO).unwrap();
    assert_eq!(text(records(&found.batches)), expected);
    assert_eq!((found.log_start, found.high_watermark), (Offset(0), Offset(9)));
    assert_eq!(zone.ways.bytes(), 0);
    drop(zone);
    cluster.stop_all();
}

#[test]
fn the_tail_comes_from_the_leader_once_for_all_consumers() {
    let cluster = start(&["a", "b"]);
    cluster.create("t", 1, &[]);
    let zone = elsewhere(&cluster, MEMORY);
    let consumers: Vec<_> = (0..5)
        .map(|_| {
            let (reading, part) = (Arc::clone(&zone.reading), zone.part(0));
            cluster.node(zone.at).spawn(async move {
                let mut all = Vec::new();
                while all.len() < 60 {
                    let part = FetchPartition { offset: Offset(i64::try_from(all.len()).unwrap()), ..part.clone() };
                    let found = reading.fetch(request(part, PATIENCE)).await.remove(0).outcome.unwrap();
                    take(&mut all, &found, 0);
                }
                all
            })
        })
        .collect();
    let mut expected = Vec::new();
    for round in 0..20 {
        append(&cluster, &format!("r{round}"));
        expected.extend(values(&format!("r{round}"), 3, 100));
    }
    for consumer in consumers {
        assert_eq!(text(cluster.node(zone.at).run(consumer).unwrap()), expected);
    }
    let leader = cluster.node(cluster.leader("t", 0));
    let from = FetchFrom { topic: "t", partition: 0, offset: 0, max_bytes: 1 << 20 };
    let all = leader.run(leader.broker().fetch(from.request())).remove(0).outcome.unwrap();
    assert_eq!(zone.ways.bytes(), size(&all), "it came more than once");
    drop(zone);
    cluster.stop_all();
}

#[test]
fn a_tail_that_does_not_fit_into_memory_is_read_all_the_same() {
    let cluster = start(&["a", "b"]);
    cluster.create("t", 1, &[]);
    let zone = elsewhere(&cluster, 1);
    let mut expected = Vec::new();
    for round in 0..10 {
        append(&cluster, &format!("r{round}"));
        expected.extend(values(&format!("r{round}"), 3, 100));
    }
    assert_eq!(text(zone.read(&cluster, 0, 30)), expected);
    assert_eq!(text(zone.read(&cluster, 15, 30)), expected[15..]);
    drop(zone);
    cluster.stop_all();
}

#[test]
fn the_leader_is_asked_before_an_offset_is_refused() {
    let cluster = start(&["a", "b"]);
    cluster.create("t", 1, &[]);
    let zone = elsewhere(&cluster, MEMORY);
    append(&cluster, "a");
    assert_eq!(zone.fetch(&cluster, zone.part(3), Duration::ZERO).unwrap().high_watermark, Offset(3));
    append(&cluster, "b");
    let found = zone.fetch(&cluster, zone.part(6), Duration::ZERO).unwrap();
    assert_eq!((found.high_watermark, found.batches.len()), (Offset(6), 0));
    let refused = zone.fetch(&cluster, zone.part(7), Duration::ZERO).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::OffsetOutOfRange);
    drop(zone);
    cluster.stop_all();
}

#[test]
fn records_that_are_deleted_are_gone_in_every_zone() {
    let cluster = start(&["a", "b"]);
    cluster.create("t", 1, &[]);
    let zone = elsewhere(&cluster, MEMORY);
    append(&cluster, "a");
    append(&cluster, "b");
    assert_eq!(zone.read(&cluster, 0, 6).len(), 6);
    let leader = cluster.node(cluster.leader("t", 0));
    assert_eq!(leader.run(leader.broker().delete_records(&name("t"), 0, Some(Offset(4)), PATIENCE)), Ok(Offset(4)));
    let refused = eventually("the records are gone", || zone.fetch(&cluster, zone.part(3), Duration::ZERO).err());
    assert_eq!(refused.kind, ErrorKind::OffsetOutOfRange);
    let found = zone.fetch(&cluster, zone.part(4), Duration::ZERO).unwrap();
    assert_eq!(found.log_start, Offset(4));
    assert_eq!(text(zone.read(&cluster, 4, 6)), values("b", 3, 100)[1..]);
    drop(zone);
    cluster.stop_all();
}

#[test]
fn epochs_are_checked_as_the_leader_does() {
    let cluster = start(&["a", "b"]);
    cluster.create("t", 1, &[]);
    append(&cluster, "a");
    give_up(&cluster, cluster.leader("t", 0));
    let zone = elsewhere(&cluster, MEMORY);
    let leader = cluster.node(cluster.leader("t", 0));
    let (_, epoch) = leader.run(leader.broker().leader_of(&name("t"), 0)).unwrap();
    let next = LeaderEpoch(epoch.0 + 1);
    let with = |current: Option<LeaderEpoch>, last: Option<LeaderEpoch>, offset| FetchPartition {
        current_leader_epoch: current,
        last_fetched_epoch: last,
        ..zone.part(offset)
    };
    assert_eq!(zone.fetch(&cluster, with(Some(epoch), None, 0), Duration::ZERO).unwrap().high_watermark, Offset(3));
    let kind = |part| zone.fetch(&cluster, part, Duration::ZERO).unwrap_err().kind;
    assert_eq!(kind(with(Some(next), None, 0)), ErrorKind::UnknownLeaderEpoch);
    assert_eq!(kind(with(Some(LeaderEpoch(epoch.0 - 1)), None, 0)), ErrorKind::FencedLeaderEpoch);
    let own = |part: FetchPartition| {
        let part = FetchPartition { zone: None, ..part };
        leader.run(leader.broker().fetch(request(part, Duration::ZERO))).remove(0).outcome.unwrap().diverging
    };
    for (last, offset) in [(epoch, 3), (epoch, 4), (next, 3), (LeaderEpoch(epoch.0 - 1), 3)] {
        let part = with(None, Some(last), offset);
        let told = zone.fetch(&cluster, part.clone(), Duration::ZERO).unwrap().diverging;
        assert_eq!(told, own(part), "{last} at {offset}");
    }
    drop(zone);
    cluster.stop_all();
}

#[test]
fn who_does_not_reach_the_leader_sends_consumers_back_to_it() {
    let cluster = start(&["a", "b"]);
    cluster.create("t", 1, &[]);
    let zone = elsewhere(&cluster, MEMORY);
    append(&cluster, "a");
    assert_eq!(zone.read(&cluster, 0, 3).len(), 3);
    zone.ways.cut(true);
    append(&cluster, "b");
    // At once where it waits for more, and as soon as what the leader said last is too old elsewhere.
    let lost = eventually("the stream is missed", || zone.fetch(&cluster, zone.part(3), PATIENCE).err());
    assert_eq!(lost.kind, ErrorKind::NotLeader);
    let lost = zone.fetch(&cluster, zone.part(0), PATIENCE).unwrap_err();
    assert_eq!(lost.kind, ErrorKind::NotLeader);
    zone.ways.cut(false);
    assert_eq!(text(zone.read(&cluster, 0, 6)), [values("a", 3, 100), values("b", 3, 100)].concat());
    drop(zone);
    cluster.stop_all();
}

#[test]
fn consumers_of_a_zone_follow_from_leader_to_leader() {
    let mut cluster = start(&["a", "b", "a"]);
    cluster.create("t", 1, &[]);
    if cluster.leader("t", 0) == 1 {
        give_up(&cluster, 1);
    }
    let zone = elsewhere(&cluster, MEMORY);
    assert_eq!(zone.at, 1);
    let mut expected = Vec::new();
    let mut all: Vec<Record> = Vec::new();
    for round in 0..3 {
        append(&cluster, &format!("r{round}"));
        expected.extend(values(&format!("r{round}"), 3, 100));
        let upto = i64::try_from(expected.len()).unwrap();
        all.extend(zone.read(&cluster, i64::try_from(all.len()).unwrap(), upto));
        if round < 2 {
            // Its session is ended. It finds that out and stops; the other one of its zone leads, or this one.
            let leader = cluster.leader("t", 0);
            if leader != zone.at {
                cluster.expire(leader);
                eventually("another leader", || (cluster.node(leader).has_failed()).then_some(()));
                cluster.stop(leader);
            }
        }
    }
    assert_eq!(text(all), expected);
    drop(zone);
    cluster.stop_all();
}

/// A broker gives up what it leads.
fn give_up(cluster: &Cluster, at: usize) {
    let (node, number) = (cluster.node(at), i32::try_from(at).unwrap());
    node.run(node.broker().drain(number, true)).unwrap();
    eventually("another leader", || (cluster.leader("t", 0) != at).then_some(()));
    node.run(node.broker().drain(number, false)).unwrap();
}

#[test]
fn what_is_forwarded_is_read_in_the_zone_too() {
    let cluster = start(&["a", "b"]);
    cluster.create("t", 1, &[]);
    append(&cluster, "a");
    ship(&cluster);
    let zone = elsewhere(&cluster, MEMORY);
    let node = cluster.node(zone.at);
    let asked = Forwarding::new(node.broker(), Arc::clone(&zone.ways) as _).reading(Arc::clone(&zone.reading));
    let part = FetchPartition { zone: None, ..zone.part(0) };
    let found = node.run(asked.fetch(request(part.clone(), PATIENCE))).remove(0).outcome.unwrap();
    assert_eq!(text(records(&found.batches)), values("a", 3, 100));
    assert_eq!(zone.ways.bytes(), 0);
    append(&cluster, "b");
    let part = FetchPartition { offset: Offset(3), ..part };
    let found = node.run(asked.fetch(request(part, PATIENCE))).remove(0).outcome.unwrap();
    assert_eq!(text(records(&found.batches)), values("b", 3, 100));
    assert_eq!(zone.ways.bytes(), size(&found));
    drop((asked, zone));
    cluster.stop_all();
}
