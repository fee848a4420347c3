//! Several brokers: who leads what, and what happens to it when brokers come, go and die.

use std::time::Duration;

use runnel_api::{Admin as _, Cluster as _, CreateTopic, Durability, ErrorKind, ProducerIdentity, TopicKey};
use runnel_blob::Key;
use runnel_blob::testing::{Fault, Op as Request};
use runnel_format::meta::{SessionRecord, SessionState};
use runnel_metastore::{MetaStore as _, Op};
use runnel_record::ProducerId;
use tokio::time::Instant;

use crate::support::client::{name, produce};
use crate::support::cluster::{Cluster, TTL};
use crate::support::store::Way;
use crate::support::{PATIENCE, batch, eventually, idempotent, values};

fn batch_of(what: &str) -> bytes::Bytes {
    batch(&values(what, 3, 10))
}

fn expected(parts: &[&str]) -> Vec<String> {
    parts.iter().flat_map(|what| values(what, 3, 10)).collect()
}

#[test]
fn partitions_are_spread_and_only_their_leaders_serve_them() {
    let cluster = Cluster::start(3);
    cluster.create("t", 6, &[]);
    let mut led = [0; 3];
    for partition in 0..6 {
        let leader = cluster.leader("t", partition);
        led[leader] += 1;
        let produced = cluster.append("t", partition, &batch_of("a"));
        assert_eq!(produced.durability, Durability::Object);
        for (at, node) in cluster.nodes().filter(|(at, _)| *at != leader) {
            let error = node.produce("t", partition, batch_of("b")).unwrap_err();
            assert_eq!(error.kind, ErrorKind::NotLeader, "broker {at}: {error}");
            assert_eq!(node.try_read("t", partition).unwrap_err().kind, ErrorKind::NotLeader);
        }
        assert_eq!(cluster.read_values("t", partition), expected(&["a"]));
    }
    assert_eq!(led, [2, 2, 2]);
    cluster.stop_all();
}

#[test]
fn a_topic_is_there_for_all_brokers_once_it_is_created() {
    let cluster = Cluster::start(3);
    let late = cluster.node(2);
    cluster.machines[2].store.set(Way::Late);
    let id = cluster.node(0).create("t", 1, &[]);
    assert_eq!(late.run(late.broker().describe_topic(&name("t"), false)).unwrap().id, id);
    let by_id = TopicKey::Id(cluster.node(1).create("u", 1, &[]));
    assert_eq!(late.run(late.broker().describe_topic(&by_id, false)).unwrap().name, "u");
    let missing = late.run(late.broker().describe_topic(&name("v"), false)).unwrap_err();
    assert_eq!(missing.kind, ErrorKind::UnknownTopic);
    // Whoever writes there is told to ask again, and not that there is no such topic.
    cluster.node(0).create("w", 1, &[]);
    let error = late.produce("w", 0, batch_of("a")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::LeaderNotAvailable, "{error}");
    cluster.machines[2].store.set(Way::Open);
    cluster.append("w", 0, &batch_of("a"));
    cluster.stop_all();
}

#[test]
fn what_follows_a_batch_that_is_refused_while_a_partition_opens_is_refused_with_it() {
    let cluster = Cluster::start(2);
    // The broker that elected itself first says who leads; the other cannot record that it does.
    let (leader, store) = (cluster.node(1), &cluster.machines[1].store);
    store.hold("p/");
    leader.create("t", 2, &[]);
    let partition = (0..2).find(|partition| cluster.leader("t", *partition) == 1).unwrap();
    let producer = ProducerIdentity { id: ProducerId(7), epoch: 0 };
    let send = |sequence, wait| {
        let broker = leader.broker();
        async move { produce(&broker, name("t"), partition, idempotent(&["x"], producer, sequence), wait).await }
    };
    let first = async {
        let first = send(0, Duration::from_millis(200)).await;
        store.release();
        first
    };
    let (first, second) = leader.run(async { tokio::join!(first, send(1, PATIENCE)) });
    assert_eq!(first.unwrap_err().kind, ErrorKind::LeaderNotAvailable);
    assert_eq!(second.unwrap_err().kind, ErrorKind::LeaderNotAvailable);
    for sequence in 0..2 {
        let again = leader.run(send(sequence, PATIENCE)).unwrap();
        assert_eq!(again.base_offset.0, i64::from(sequence));
    }
    cluster.stop_all();
}

#[test]
fn the_partitions_of_a_broker_that_dies_go_on_elsewhere() {
    let mut cluster = Cluster::start(3);
    cluster.create("t", 3, &[]);
    for partition in 0..3 {
        cluster.append("t", partition, &batch_of("a"));
    }
    cluster.kill(0);
    for partition in 0..3 {
        cluster.append("t", partition, &batch_of("b"));
        assert_eq!(cluster.read_values("t", partition), expected(&["a", "b"]), "partition {partition}");
    }
    // And once more, with what was shipped and what was not.
    cluster.kill(1);
    for partition in 0..3 {
        cluster.append("t", partition, &batch_of("c"));
        assert_eq!(cluster.read_values("t", partition), expected(&["a", "b", "c"]), "partition {partition}");
    }
    cluster.stop_all();
}

#[test]
fn a_producer_is_known_to_the_next_leader() {
    let mut cluster = Cluster::start(2);
    cluster.create("t", 1, &[]);
    let first = idempotent(&values("a", 3, 10), ProducerIdentity { id: ProducerId(7), epoch: 0 }, 0);
    let base = cluster.append("t", 0, &first).base_offset;
    cluster.kill(cluster.leader("t", 0));
    // It was acknowledged, and a client that did not hear that sends it again.
    assert_eq!(cluster.append("t", 0, &first).base_offset, base);
    assert_eq!(cluster.read_values("t", 0), expected(&["a"]));
    cluster.stop_all();
}

#[test]
fn what_dead_sessions_left_goes_away_once_it_is_shipped() {
    let mut cluster = Cluster::start(2);
    cluster.create("t", 4, &[]);
    for partition in 0..4 {
        cluster.append("t", partition, &batch_of("a"));
    }
    cluster.kill(0);
    for partition in 0..4 {
        cluster.append("t", partition, &batch_of("b"));
    }
    eventually("only the session that is alive has a record", || (cluster.keys("s/").len() == 1).then_some(()));
    for partition in 0..4 {
        assert_eq!(cluster.read_values("t", partition), expected(&["a", "b"]));
    }
    cluster.stop_all();
}

#[test]
fn a_broker_that_stops_hands_over_and_one_that_comes_gets_its_share() {
    let mut cluster = Cluster::start(2);
    cluster.create("t", 4, &[]);
    for partition in 0..4 {
        cluster.append("t", partition, &batch_of("a"));
    }
    assert_eq!(cluster.stop(0).unshipped_partitions, 0);
    for partition in 0..4 {
        assert_eq!(cluster.leader("t", partition), 1);
        cluster.append("t", partition, &batch_of("b"));
    }
    cluster.start_one(0);
    eventually("half of them moved", || {
        let of = |at| (0..4).filter(|partition| cluster.leader("t", *partition) == at).count();
        (of(0) == 2 && of(1) == 2).then_some(())
    });
    for partition in 0..4 {
        cluster.append("t", partition, &batch_of("c"));
        assert_eq!(cluster.read_values("t", partition), expected(&["a", "b", "c"]));
    }
    cluster.stop_all();
}

#[test]
fn a_whole_cluster_that_was_stopped_or_killed_comes_back() {
    let mut cluster = Cluster::start(2);
    cluster.create("t", 2, &[]);
    for round in ["a", "b", "c"] {
        for partition in 0..2 {
            cluster.append("t", partition, &batch_of(round));
        }
        for at in 0..2 {
            if round == "a" {
                cluster.stop(at);
            } else {
                cluster.kill(at);
            }
        }
        for at in 0..2 {
            cluster.start_one(at);
        }
    }
    for partition in 0..2 {
        assert_eq!(cluster.read_values("t", partition), expected(&["a", "b", "c"]));
    }
    cluster.stop_all();
}

#[test]
fn a_topic_on_a_local_disk_waits_for_that_disk() {
    let mut cluster = Cluster::start(2);
    cluster.create("t", 2, &[("runnel.durability", "local")]);
    for partition in 0..2 {
        assert_eq!(cluster.append("t", partition, &batch_of("a")).durability, Durability::Local);
    }
    let (theirs, ours) = if cluster.leader("t", 0) == 0 { (0, 1) } else { (1, 0) };
    cluster.kill(0);
    // That of the other one goes on.
    cluster.append("t", ours, &batch_of("b"));
    cluster.start_one(0);
    cluster.append("t", theirs, &batch_of("b"));
    for partition in 0..2 {
        assert_eq!(cluster.read_values("t", partition), expected(&["a", "b"]));
    }
    cluster.stop_all();
}

#[test]
fn topics_that_are_deleted_or_grown_by_one_broker_are_so_for_all() {
    let cluster = Cluster::start(2);
    cluster.create("t", 2, &[]);
    cluster.append("t", 0, &batch_of("a"));
    cluster.node(1).delete("t").unwrap();
    eventually("the other one heard of it", || cluster.node(0).topic_id("t").is_err().then_some(()));
    let id = cluster.create("t", 2, &[]);
    assert_eq!(cluster.read_values("t", 0), expected(&[]));
    eventually("both know the new one", || cluster.nodes().all(|(_, node)| node.topic_id("t") == Ok(id)).then_some(()));
    cluster.stop_all();
}

#[test]
fn clients_are_served_while_the_metadata_store_is_away() {
    let cluster = Cluster::start(2);
    cluster.create("t", 2, &[]);
    for partition in 0..2 {
        cluster.append("t", partition, &batch_of("a"));
    }
    let leaders = [cluster.leader("t", 0), cluster.leader("t", 1)];
    cluster.machines.iter().for_each(|machine| machine.store.set(Way::Cut));
    let cut = Instant::now();
    let mut written = 1;
    while cut.elapsed() < TTL * 3 {
        for (partition, leader) in (0..).zip(leaders) {
            cluster.node(leader).append("t", partition, batch_of("a"));
            assert_eq!(cluster.node(leader).read_values("t", partition).len(), 3 * (written + 1));
        }
        written += 1;
    }
    cluster.machines.iter().for_each(|machine| machine.store.set(Way::Open));
    cluster.append("t", 0, &batch_of("b"));
    cluster.stop_all();
}

/// Nobody else can end what it writes to its disk, and a restore may have given its disk up.
#[test]
fn past_its_lease_a_broker_acknowledges_nothing_from_its_disk_alone() {
    let cluster = Cluster::start(1);
    cluster.create("t", 1, &[("runnel.durability", "local")]);
    assert_eq!(cluster.append("t", 0, &batch_of("a")).durability, Durability::Local);
    let machine = &cluster.machines[0];
    machine.store.set(Way::Cut);
    machine.faults.outage(true);
    let refused = eventually("its lease ends", || cluster.node(0).produce("t", 0, batch_of("a")).err());
    assert_eq!(refused.kind, ErrorKind::NotLeader, "{refused}");
    machine.faults.clear();
    machine.store.set(Way::Open);
    cluster.append("t", 0, &batch_of("b"));
    cluster.stop_all();
}

/// What it does not know of, the one who leads now may: no producer ends for it, and no consumer is sent back.
#[test]
fn a_broker_that_was_replaced_refuses_nobody_for_good() {
    let cluster = Cluster::start(2);
    cluster.create("t", 1, &[]);
    let identity = ProducerIdentity { id: ProducerId(7), epoch: 0 };
    let records = |what: &str, sequence| idempotent(&values(what, 3, 10), identity, sequence);
    cluster.append("t", 0, &records("a", 0));
    let old = cluster.leader("t", 0);
    let new = cluster.node(1 - old);
    // It can see neither its record nor its lane.
    cluster.machines[old].store.set(Way::Cut);
    cluster.machines[old].faults.outage(true);
    cluster.expire(old);
    eventually("the other one leads", || new.produce("t", 0, records("b", 3)).ok());
    let refused = cluster.node(old).produce("t", 0, records("c", 6)).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::NotLeader, "{refused}");
    let refused = cluster.node(old).fetch_at("t", 0, 6).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::NotLeader, "{refused}");
    // Who does lead says so.
    assert_eq!(new.produce("t", 0, records("c", 9)).unwrap_err().kind, ErrorKind::OutOfOrderSequence);
    assert_eq!(new.fetch_at("t", 0, 7).unwrap_err().kind, ErrorKind::OffsetOutOfRange);
    cluster.machines[old].faults.clear();
    cluster.machines[old].store.set(Way::Open);
    cluster.stop_all();
}

/// It leads, and others may have ended its session: without a lane of its own it has nothing that shows it.
#[test]
fn a_broker_without_a_lane_refuses_nobody_for_good() {
    let mut cluster = Cluster::without_brokers(1);
    let faults = cluster.machines[0].faults.clone();
    faults.always(Request::Create, "/hdr", Fault::FailBefore);
    cluster.start_one(0);
    cluster.create("t", 1, &[]);
    let read = || cluster.node(0).fetch_at("t", 0, 6).unwrap_err();
    let refused = eventually("it leads", || Some(read()).filter(|error| error.kind != ErrorKind::LeaderNotAvailable));
    assert_eq!(refused.kind, ErrorKind::NotLeader, "{refused}");
    faults.clear();
    eventually("it has a lane", || (read().kind == ErrorKind::OffsetOutOfRange).then_some(()));
    cluster.stop_all();
}

/// A client that is wrong all the time makes the broker ask the bucket, but not once for each of its requests.
#[test]
fn those_who_are_refused_together_cost_few_looks_at_the_lane() {
    let cluster = Cluster::start(1);
    cluster.create("t", 1, &[]);
    let identity = ProducerIdentity { id: ProducerId(7), epoch: 0 };
    cluster.append("t", 0, &idempotent(&values("a", 3, 10), identity, 0));
    let faults = &cluster.machines[0].faults;
    let looks = || faults.requests().iter().filter(|(op, path)| *op == Request::Get && path.ends_with("/hdr")).count();
    faults.always(Request::Get, "/hdr", Fault::Delay(Duration::from_millis(50)));
    let (before, broker) = (looks(), cluster.node(0).broker());
    let wrong = (0..30).map(|number| {
        let records = idempotent(&values("b", 3, 10), identity, 100 + number);
        produce(&broker, name("t"), 0, records, PATIENCE)
    });
    for refused in cluster.node(0).run(futures::future::join_all(wrong)) {
        assert_eq!(refused.unwrap_err().kind, ErrorKind::OutOfOrderSequence);
    }
    let looks = looks() - before;
    assert!((1..30).contains(&looks), "{looks} looks for 30 refusals");
    drop(broker);
    cluster.stop_all();
}

#[test]
fn a_session_that_was_fenced_and_is_not_needed_goes() {
    let cluster = Cluster::start(1);
    let fenced = SessionRecord {
        node_name: "gone".to_owned(),
        disk_id: uuid::Uuid::nil(),
        state: SessionState::Fencing,
        lanes: Vec::new(),
    };
    let put = Op::Put("s/0000000000000007".to_owned(), fenced.encode(), None);
    cluster.node(0).run(cluster.meta.txn(Vec::new(), vec![put])).unwrap();
    eventually("it is gone", || (cluster.keys("s/").len() == 1).then_some(()));
    cluster.stop_all();
}

/// The answer to a registration gets lost, then its lease ends, and another broker ends the session. The next attempt finds
/// neither the lease nor an answer.
#[test]
fn a_session_that_was_ended_before_its_broker_knew_of_it_stays_ended() {
    let mut cluster = Cluster::without_brokers(1);
    let (store, meta) = (cluster.machines[0].store.clone(), std::sync::Arc::clone(&cluster.meta));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    store.hold("live/");
    let (key, ended, refused) = std::thread::scope(|scope| {
        let start = scope.spawn(|| cluster.try_start_one(0).unwrap_err().to_string());
        eventually("it registers", || (store.holds() == 1).then_some(()));
        store.set(Way::Deaf);
        store.release();
        let found = || runtime.block_on(meta.range("s/")).unwrap().pop();
        let (key, active) = eventually("the session is known", found);
        runtime.block_on(store.expire());
        let mut record = SessionRecord::decode(&active.value).unwrap();
        record.state = SessionState::Fencing;
        runtime.block_on(meta.txn(Vec::new(), vec![Op::Put(key.clone(), record.encode(), None)])).unwrap();
        store.set(Way::Open);
        (key, record, start.join().unwrap())
    });
    assert!(refused.contains("start again"), "{refused}");
    let found = runtime.block_on(meta.get(&key)).unwrap().unwrap();
    assert_eq!(SessionRecord::decode(&found.value).unwrap().state, ended.state);
    cluster.start_one(0);
    cluster.stop_all();
}

/// A broker that was replaced without knowing: what it takes on is not acknowledged, and what it shows is not new.
#[test]
fn a_broker_that_was_replaced_acknowledges_nothing() {
    let cluster = Cluster::start(2);
    cluster.create("t", 1, &[]);
    cluster.append("t", 0, &batch_of("a"));
    let old = cluster.leader("t", 0);
    cluster.machines[old].store.set(Way::Cut);
    cluster.expire(old);
    let new = 1 - old;
    eventually("the other one leads", || cluster.node(new).produce("t", 0, batch_of("b")).ok());
    let error = cluster.node(old).produce("t", 0, batch_of("c")).unwrap_err();
    // Its lane may have told it before.
    assert!(matches!(error.kind, ErrorKind::NotLeader | ErrorKind::ShuttingDown), "{error}");
    eventually("it knows that it is over", || cluster.node(old).has_failed().then_some(()));
    assert_eq!(cluster.node(new).read_values("t", 0), expected(&["a", "b"]));
    cluster.machines[old].store.set(Way::Open);
    cluster.stop_all();
}

#[test]
fn a_replication_factor_is_reported_and_moves_nothing() {
    let cluster = Cluster::start(2);
    eventually("the first one knows the second", || {
        let (node, asked) = (cluster.node(0), cluster.node(0).broker());
        (node.run(async move { asked.describe_cluster().await }).nodes.len() == 2).then_some(())
    });
    let create = |factor| {
        let wanted = CreateTopic {
            name: format!("t{factor}"),
            partitions: Some(2),
            replication_factor: Some(factor),
            assignments: Vec::new(),
            configs: Vec::new(),
        };
        let broker = cluster.node(0).broker();
        cluster.node(0).run(broker.create_topic(wanted, false))
    };
    assert_eq!(create(3).unwrap_err().kind, ErrorKind::InvalidReplicationFactor);
    create(2).unwrap();
    let describe = cluster.node(0).broker();
    let found = cluster.node(0).run(async move { describe.describe_topic(&name("t2"), false).await }).unwrap();
    for partition in found.partitions {
        assert_eq!(partition.replicas.len(), 2);
        assert_eq!(partition.replicas.first().copied(), partition.leader);
        assert_eq!(partition.in_sync, partition.replicas);
    }
    cluster.stop_all();
}

#[test]
fn numbers_are_given_once_to_a_disk() {
    let mut cluster = Cluster::without_brokers(3);
    cluster.machines.iter_mut().for_each(|machine| machine.options.node_number = None);
    let number = |cluster: &Cluster, at: usize| {
        let node = cluster.node(at);
        node.run(node.broker().describe_cluster()).this_node
    };
    for (at, expected) in [(1, 0), (0, 1)] {
        cluster.start_one(at);
        assert_eq!(number(&cluster, at), expected);
    }
    cluster.stop(1);
    cluster.start_one(2);
    assert_eq!(number(&cluster, 2), 2);
    cluster.start_one(1);
    assert_eq!(number(&cluster, 1), 0);
    cluster.stop_all();
}

#[test]
fn a_broker_says_of_itself_too_where_kafka_clients_reach_it() {
    let cluster = Cluster::start(2);
    let node = cluster.node(1);
    let seen = node.run(node.broker().describe_cluster());
    assert_eq!(seen.nodes.iter().filter(|node| node.kafka.is_some()).count(), 2, "{seen:?}");
    cluster.stop_all();
}

#[test]
fn numbers_and_buckets_are_not_shared() {
    let mut cluster = Cluster::start(1);
    cluster.add_machine(0);
    let error = cluster.try_start_one(1).unwrap_err().to_string();
    assert!(error.contains("node.number 0"), "{error}");
    // A single node has no business in the bucket of a cluster.
    let error = cluster.world.try_start().map(drop).unwrap_err().to_string();
    assert!(error.contains("cluster"), "{error}");
    cluster.stop_all();
}

#[test]
fn what_somebody_deleted_from_a_lane_is_missed_and_not_taken_for_its_end() {
    let mut cluster = Cluster::start(2);
    cluster.create("t", 1, &[]);
    for n in 0..20 {
        cluster.append("t", 0, &batch_of(&n.to_string()));
    }
    let leader = cluster.leader("t", 0);
    let (node, bucket) = (cluster.node(leader), &cluster.world.bucket);
    let listed = node.run(bucket.list("wal/")).unwrap();
    let keys =
        listed.iter().filter(|object| object.bytes > 112).filter_map(|object| Key::parse_lane_object(&object.path));
    for key in keys.filter(|key| matches!(key, Key::Slot { slot: 1, .. })) {
        node.run(bucket.delete(&key)).unwrap();
    }
    cluster.kill(leader);
    let error = eventually("the damage is reported", || {
        let produced = cluster.node(cluster.leader("t", 0)).produce("t", 0, batch_of("x"));
        produced.err().filter(|error| error.kind == ErrorKind::Corrupt)
    });
    assert!(error.message.contains("from offset 3 on"), "{error}");
    assert_eq!(cluster.read_values("t", 0), expected(&["0"]), "what lies in front of it is there");
    let sessions = cluster.keys("s/").len();
    cluster.create("another", 1, &[]);
    cluster.append("another", 0, &batch_of("a"));
    assert_eq!(cluster.keys("s/").len(), sessions, "what is left of the lane stays");
    cluster.stop_all();
}
