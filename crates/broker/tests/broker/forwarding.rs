//! Any broker answers for all: each test asks one that does not lead what it is about.

use std::sync::Arc;
use std::time::Duration;

use runnel_api::groups::{CommitOffset, CommitOffsets, FetchOffsets, Membership};
use runnel_api::{
    Acks, Admin as _, AlterConfigOp, Cluster as _, ConfigChange, ConfigResource, CreateTopic, Endpoint, ErrorKind,
    Fetch as _, FetchRequest, FetchedPartition, Groups as _, Isolation, OffsetSpec, Offsets as _, Produce as _,
    ProducePartition, ProduceRequest, Segments as _,
};
use runnel_peer::{Forwarding, Peers as _, THE_ONE};
use runnel_record::Offset;

use crate::support::client::{FetchFrom, name, records};
use crate::support::cluster::{Cluster, grpc_port};
use crate::support::direct::{Direct, direct};
use crate::support::{PATIENCE, batch, eventually, values};

fn forwarding(cluster: &Cluster, at: usize) -> Forwarding {
    Forwarding::new(cluster.node(at).broker(), direct(cluster))
}

fn part(partition: i32, what: &str) -> ProducePartition {
    ProducePartition { topic: name("t"), partition, records: batch(&values(what, 3, 10)), expected_offset: None }
}

fn produce(partitions: Vec<ProducePartition>) -> ProduceRequest {
    ProduceRequest { acks: Acks::All, timeout: PATIENCE, partitions }
}

fn fetch(partitions: &[i32], max_wait: Duration) -> FetchRequest {
    let from =
        |partition: &i32| FetchFrom { topic: "t", partition: *partition, offset: 0, max_bytes: 1 << 20 }.partition();
    let partitions = partitions.iter().map(from).collect();
    FetchRequest { max_wait, min_bytes: 1, max_bytes: 1 << 20, isolation: Isolation::ReadCommitted, partitions }
}

fn read(answer: &FetchedPartition) -> Vec<String> {
    let found = records(&answer.outcome.as_ref().unwrap().batches);
    found.into_iter().map(|(_, value)| String::from_utf8(value).unwrap()).collect()
}

#[test]
fn the_ends_of_partitions_are_told_whoever_leads_them() {
    let cluster = Cluster::start(3);
    cluster.create("t", 6, &[]);
    for partition in 0..6 {
        cluster.append("t", partition, &batch(&values("v", usize::try_from(partition).unwrap() + 1, 10)));
    }
    let (asked, brokers) = ([(4, 5), (0, 1), (5, 6), (1, 2), (2, 3), (3, 4)], direct(&cluster));
    let forwarding = Forwarding::new(cluster.node(0).broker(), Arc::clone(&brokers) as _);
    let mut all: Vec<_> = asked.iter().map(|(partition, _)| (name("t"), *partition)).collect();
    all.push((name("absent"), 0));
    let mut expected: Vec<_> = asked.iter().map(|(_, end)| Some(Offset(*end))).collect();
    expected.push(None);
    assert_eq!(cluster.node(0).run(forwarding.ends(&all)), expected);
    assert_eq!(brokers.asked.lock().unwrap().len(), 2, "each of the others once");
    // A broker alone knows those that it leads.
    let own = cluster.node(0).run(cluster.node(0).broker().ends(&all));
    assert_eq!(own.iter().flatten().count(), 2, "{own:?}");
    drop((forwarding, brokers));
    cluster.stop_all();
}

#[test]
fn parts_of_a_request_go_to_their_leaders_and_come_back_in_order() {
    let cluster = Cluster::start(3);
    cluster.create("t", 6, &[]);
    let asked = forwarding(&cluster, 0);
    let node = cluster.node(0);
    let order = [4, 0, 3, 1, 5, 2];
    let mut parts: Vec<_> = order.iter().map(|partition| part(*partition, &format!("p{partition}"))).collect();
    parts.push(ProducePartition { topic: name("absent"), ..part(0, "x") });
    let answers = node.run(asked.produce(produce(parts)));
    let told: Vec<_> = answers.iter().map(|answer| answer.partition).collect();
    assert_eq!(told, [4, 0, 3, 1, 5, 2, 0]);
    assert!(answers[..6].iter().all(|answer| answer.outcome.is_ok()), "{answers:?}");
    assert_eq!(answers[6].outcome.as_ref().unwrap_err().kind, ErrorKind::UnknownTopic);

    let answers = node.run(asked.fetch(fetch(&order, Duration::ZERO)));
    for (answer, partition) in answers.iter().zip(order) {
        assert_eq!((answer.partition, read(answer)), (partition, values(&format!("p{partition}"), 3, 10)));
    }
    for partition in 0..6 {
        let (topic, isolation) = (name("t"), Isolation::ReadCommitted);
        let latest = asked.list_offset(&topic, partition, OffsetSpec::Latest, isolation, None);
        assert_eq!(node.run(latest).unwrap().unwrap().offset, Offset(3));
        let sealed = node.run(asked.seal(&name("t"), partition, PATIENCE)).unwrap();
        assert_eq!((sealed.sealed, sealed.shipped), (Offset(3), Offset(3)));
        assert_eq!(node.run(asked.delete_records(&name("t"), partition, Some(Offset(1)), PATIENCE)), Ok(Offset(1)));
        assert_eq!(node.run(asked.active_producers(&name("t"), partition)), Ok(Vec::new()));
    }
    drop(asked);
    cluster.stop_all();
}

#[test]
fn a_long_poll_of_several_leaders_ends_with_the_first_record() {
    let cluster = Cluster::start(3);
    cluster.create("t", 6, &[]);
    let node = cluster.node(0);
    for partition in 0..6 {
        let asked = forwarding(&cluster, 0);
        let mut others: Vec<i32> = (0..6).filter(|other| *other >= partition).collect();
        others.rotate_left(1);
        let polled = others.clone();
        let poll = node.spawn(async move { asked.fetch(fetch(&polled, PATIENCE)).await });
        cluster.append("t", partition, &batch(&values("new", 3, 10)));
        let answers = node.run(poll).unwrap();
        assert_eq!(answers.len(), others.len());
        let found: Vec<_> = answers.iter().filter(|answer| !read(answer).is_empty()).map(|one| one.partition).collect();
        assert_eq!(found, [partition]);
    }
    cluster.stop_all();
}

#[test]
fn bytes_are_waited_for_and_bounded_over_all_leaders() {
    let cluster = Cluster::start(3);
    cluster.create("t", 3, &[]);
    let node = cluster.node(0);
    let asked = forwarding(&cluster, 0);
    let big = |partition| ProducePartition { records: batch(&values("big", 1, 40_000)), ..part(partition, "") };
    let all = (0..3).map(big).collect();
    assert!(node.run(asked.produce(produce(all))).iter().all(|answer| answer.outcome.is_ok()));
    let sizes = |request| {
        let answers = node.run(asked.fetch(request));
        answers.iter().map(|answer| answer.outcome.as_ref().unwrap().batches.len()).collect::<Vec<_>>()
    };
    let fetch = fetch(&[0, 1, 2], PATIENCE);
    assert_eq!(sizes(FetchRequest { min_bytes: 120_000, ..fetch.clone() }), [1, 1, 1]);
    assert_eq!(sizes(FetchRequest { max_bytes: 100_000, ..fetch.clone() }), [1, 1, 0]);
    assert_eq!(sizes(FetchRequest { max_bytes: 1, ..fetch.clone() }), [1, 0, 0], "the first is whole");
    let never = FetchRequest { min_bytes: 200_000, max_wait: Duration::from_millis(200), ..fetch };
    assert_eq!(sizes(never), [1, 1, 1], "what there is when the time is over");
    drop(asked);
    cluster.stop_all();
}

#[test]
fn a_request_that_was_forwarded_goes_no_further() {
    let cluster = Cluster::start(3);
    cluster.create("t", 1, &[]);
    let leader = cluster.leader("t", 0);
    let (asked, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let (asked, other) = (grpc_port(i32::try_from(asked).unwrap()), cluster.node(other));
    let wrong = direct(&cluster).at(&Endpoint { host: "localhost".to_owned(), port: asked });
    let produced = other.run(wrong.produce(produce(vec![part(0, "x")]))).remove(0).outcome;
    assert_eq!(produced.unwrap_err().kind, ErrorKind::NotLeader);
    let fetched = other.run(wrong.fetch(fetch(&[0], PATIENCE))).remove(0).outcome;
    assert_eq!(fetched.unwrap_err().kind, ErrorKind::NotLeader);
    drop(wrong);
    cluster.stop_all();
}

#[test]
fn requests_wait_for_the_next_leader() {
    let mut cluster = Cluster::start(3);
    cluster.create("t", 3, &[]);
    for partition in 0..3 {
        cluster.append("t", partition, &batch(&values("a", 3, 10)));
    }
    cluster.kill(2);
    let asked = forwarding(&cluster, 0);
    let node = cluster.node(0);
    let read_all = || {
        let answers = node.run(asked.fetch(fetch(&[0, 1, 2], PATIENCE)));
        answers.iter().all(|answer| answer.outcome.is_ok()).then(|| answers.iter().map(read).collect::<Vec<_>>())
    };
    let expected = vec![values("a", 3, 10); 3];
    assert_eq!(eventually("a read of everything", read_all), expected);
    drop(asked);
    cluster.stop_all();
}

fn commit(group: &str) -> CommitOffsets {
    let offset =
        CommitOffset { topic: "t".to_owned(), partition: 0, offset: 7, leader_epoch: -1, metadata: String::new() };
    CommitOffsets {
        group: group.to_owned(),
        member: Membership { generation: -1, member_id: String::new(), instance_id: None },
        knows_epochs: false,
        retention: None,
        offsets: vec![offset],
    }
}

#[test]
fn groups_are_reached_through_any_broker() {
    let cluster = Cluster::start(3);
    cluster.create("t", 1, &[]);
    let node = cluster.node(0);
    let asked: Vec<_> = (0..3).map(|at| forwarding(&cluster, at)).collect();
    let groups: Vec<String> = (0..12).map(|n| format!("g{n:02}")).collect();
    for (at, group) in groups.iter().enumerate() {
        let broker = &asked[at % 3];
        let committed = eventually("a commit", || node.run(broker.commit_offsets(commit(group))).ok());
        assert_eq!(committed, [Ok(())]);
        for broker in &asked {
            let fetch = FetchOffsets { group: group.clone(), topics: None, member: None };
            assert_eq!(node.run(broker.fetch_offsets(fetch)).unwrap()[0].offset, 7);
        }
    }
    for broker in &asked {
        let listed = node.run(broker.list_groups()).unwrap();
        assert_eq!(listed.into_iter().map(|one| one.group).collect::<Vec<_>>(), groups);
        assert_eq!(node.run(broker.describe_group(&groups[3])).unwrap().group, groups[3]);
    }
    let coordinators: std::collections::BTreeSet<_> =
        groups.iter().map(|group| node.run(asked[0].find_coordinator(group)).unwrap()).collect();
    assert!(coordinators.len() > 1, "one broker coordinates all: nothing was forwarded");
    for (at, group) in groups.iter().enumerate() {
        assert_eq!(node.run(asked[(at + 1) % 3].delete_group(group)), Ok(()));
    }
    assert_eq!(node.run(asked[0].list_groups()), Ok(Vec::new()));
    drop(asked);
    cluster.stop_all();
}

#[test]
fn as_one_the_cluster_is_a_broker_that_leads_everything() {
    let cluster = Cluster::start(3);
    cluster.create("t", 6, &[]);
    let peers = direct(&cluster);
    let asked = Forwarding::as_one(cluster.node(1).broker(), Arc::<Direct>::clone(&peers) as _);
    let node = cluster.node(1);
    let seen = node.run(asked.describe_cluster());
    assert_eq!((seen.controller, seen.this_node, seen.nodes.len()), (Some(THE_ONE), THE_ONE, 1));
    assert_eq!((seen.nodes[0].id, &seen.nodes[0].kafka), (THE_ONE, &None));
    let topic = node.run(asked.describe_topic(&name("t"), false)).unwrap();
    assert_eq!(node.run(asked.list_topics()), std::slice::from_ref(&topic));
    for partition in &topic.partitions {
        assert_eq!(
            (partition.leader, &*partition.replicas, &*partition.in_sync),
            (Some(THE_ONE), &[THE_ONE][..], &[THE_ONE][..])
        );
        assert!(partition.leader_epoch.0 >= 0);
        assert_eq!(node.run(asked.leader_of(&name("t"), partition.partition)), None, "nobody else is named");
    }
    let group = eventually("a coordinator", || node.run(asked.find_coordinator("g")).ok());
    assert_eq!(group, THE_ONE);
    let answers = node.run(asked.produce(produce((0..6).map(|n| part(n, "a")).collect())));
    assert!(answers.iter().all(|answer| answer.outcome.is_ok()));
    assert!(!peers.asked.lock().unwrap().is_empty());
    let held: Vec<_> = node.run(asked.log_dirs(Some(&["t".to_owned()])));
    assert!(held.iter().any(|dir| dir.partitions.len() == 6), "{held:?}");
    drop((asked, peers));
    cluster.stop_all();
}

#[test]
fn as_one_its_number_stands_for_all_brokers() {
    let cluster = Cluster::start(2);
    let asked = Forwarding::as_one(cluster.node(0).broker(), direct(&cluster));
    let node = cluster.node(0);
    let one = ConfigResource::Broker(Some(THE_ONE));
    assert!(!node.run(asked.describe_configs(&one, None)).unwrap().is_empty());
    let change =
        ConfigChange { name: "log.retention.ms".to_owned(), op: AlterConfigOp::Set, value: Some("3600000".to_owned()) };
    node.run(asked.alter_configs(&one, &[change], false)).unwrap();
    let all = node.run(asked.describe_configs(&ConfigResource::Broker(None), None)).unwrap();
    assert_eq!(all[0].value.as_deref(), Some("3600000"));
    let wanted = |brokers: Vec<i32>| CreateTopic {
        name: "placed".to_owned(),
        partitions: None,
        replication_factor: None,
        assignments: vec![(0, brokers)],
        configs: Vec::new(),
    };
    let refused = node.run(asked.create_topic(wanted(vec![1]), false)).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::InvalidReplicaAssignment);
    assert_eq!(node.run(asked.create_topic(wanted(vec![THE_ONE]), false)).unwrap().partitions, 1);
    drop(asked);
    cluster.stop_all();
}
