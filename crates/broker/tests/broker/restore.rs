//! A cluster whose metadata store is gone comes back from its bucket.

use std::sync::Arc;

use bytes::Bytes;
use runnel_api::{
    Admin as _, AlterConfigOp, ConfigChange, ConfigResource, Durability, ErrorKind, NewPartitions, ProducerIdentity,
};
use runnel_blob::testing::{Fault, Op};
use runnel_blob::{CasOutcome, Key};
use runnel_broker::RestoreError;
use runnel_format::meta::{ClusterRecord, PartitionRecord, TopicRecord};
use runnel_format::wal::SLOT_HEADER_LEN;
use runnel_metastore::MetaStore as _;
use runnel_record::{Offset, ProducerId};
use runnel_runtime::{FailAction, FailPoints};

use crate::support::cluster::{Cluster, run};
use crate::support::{batch, eventually, idempotent, tp, values};

/// Epochs of an era begin at least so far above those of the one before.
const JUMP: i32 = 1 << 16;

fn batch_of(what: &str) -> Bytes {
    batch(&values(what, 3, 10))
}

fn expected(parts: &[&str]) -> Vec<String> {
    parts.iter().flat_map(|what| values(what, 3, 10)).collect()
}

fn none() -> FailPoints {
    FailPoints::default()
}

fn start_all(cluster: &mut Cluster) {
    (0..cluster.machines.len()).for_each(|at| cluster.start_one(at));
}

fn era(cluster: &Cluster) -> u32 {
    let found = run(cluster.world.bucket.read_register(&Key::ClusterId)).unwrap().unwrap();
    ClusterRecord::decode(&found.payload).unwrap().era
}

#[test]
fn everything_acknowledged_in_the_bucket_comes_back() {
    let mut cluster = Cluster::start(2);
    let id = cluster.create("t", 4, &[("retention.ms", "123456789")]);
    cluster.create("l", 1, &[("runnel.durability", "local")]);
    let producer = ProducerIdentity { id: ProducerId(7), epoch: 0 };
    let (first, second) = (idempotent(&values("a", 3, 10), producer, 0), idempotent(&values("b", 3, 10), producer, 3));
    for partition in 0..4 {
        cluster.append("t", partition, &first);
    }
    // Two partitions are in segments, all have more in lanes.
    cluster.world.age();
    for partition in 0..2 {
        cluster.node(cluster.leader("t", partition)).wait_shipped("t", partition, 3);
    }
    let bases: Vec<_> = (0..4).map(|partition| cluster.append("t", partition, &second).base_offset).collect();
    cluster.append("l", 0, &batch_of("l"));
    cluster.kill(0);
    cluster.kill(1);
    cluster.lose_store();
    let refused = cluster.try_start_one(0).unwrap_err().to_string();
    assert!(refused.contains("`runnel cluster restore` makes it anew"), "{refused}");

    let plan = run(cluster.restorer(false, &none()).plan(&|_| ())).unwrap();
    assert_eq!((plan.era, plan.next_era, plan.resumes, plan.open_lanes), (0, 1, false, 2));
    let told: Vec<_> =
        plan.topics.iter().map(|topic| (topic.name.as_str(), topic.partitions, topic.is_local)).collect();
    assert_eq!(told, [("l", 1, true), ("t", 4, false)]);
    assert_eq!(run(cluster.restorer(false, &none()).plan(&|_| ())).unwrap(), plan, "a plan changes nothing");
    let restored = cluster.restore(false, &none()).unwrap();
    assert_eq!((restored.era, restored.topics, restored.partitions), (1, 2, 5));
    assert_eq!(restored.may_miss, [("l".to_owned(), 0)]);
    assert!(restored.unshipped >= 12, "{restored:?}");

    start_all(&mut cluster);
    assert_eq!(cluster.node(0).topic_id("t"), Ok(id));
    for (partition, base) in (0..4).zip(bases) {
        assert_eq!(
            cluster.append("t", partition, &second).base_offset,
            base,
            "a producer is known, and its last batch"
        );
        let third = idempotent(&values("c", 3, 10), producer, 6);
        cluster.append("t", partition, &third);
        assert_eq!(cluster.read_values("t", partition), expected(&["a", "b", "c"]));
        let root = cluster.world.root(cluster.node(0), "t", tp(id, partition)).0;
        assert!(root.epoch.0 > JUMP, "{}", root.epoch);
    }
    let kept = run(cluster.world.bucket.read_register(&Key::Topic(id))).unwrap().unwrap();
    assert_eq!(TopicRecord::decode(&kept.payload).unwrap().configs["retention.ms"], "123456789");
    eventually("what was left by sessions of before is shipped", || (cluster.keys("s/").len() == 2).then_some(()));
    // New partitions of an old topic are empty, and not lost.
    let more = NewPartitions { topic: "t".to_owned(), count: 5, assignments: None };
    cluster.node(0).run(cluster.node(0).broker().create_partitions(&more, false)).unwrap();
    cluster.append("t", 4, &batch_of("d"));
    assert_eq!(cluster.read_values("t", 4), expected(&["d"]));
    cluster.stop_all();
}

#[test]
fn a_restore_that_is_cut_off_anywhere_is_run_again() {
    let mut cluster = Cluster::start(1);
    cluster.create("t", 3, &[]);
    let mut written: Vec<String> = Vec::new();
    let points = [
        "restore.begun",
        "restore.era_raised",
        "wal.object.seal.placed",
        "restore.lane_ended",
        "restore.lanes_ended",
        "ship.after_root_cas",
        "restore.root_fenced",
        "restore.roots_fenced",
        "restore.recorded",
        "restore.completed",
    ];
    let mut at_era = 0;
    for (round, point) in (1..).zip(points) {
        written.push(format!("{round}-"));
        for partition in 0..3 {
            cluster.append("t", partition, &batch_of(&format!("{round}-")));
        }
        cluster.kill(0);
        cluster.lose_store();
        let fail = none();
        fail.arm(point, FailAction::Error);
        let cut = cluster.restore(false, &fail).unwrap_err();
        assert!(!fail.is_armed(point), "{point}: {cut}");
        if point == "restore.completed" {
            let again = cluster.restore(false, &none()).unwrap_err();
            assert!(matches!(again, RestoreError::InUse { .. }), "{again}");
        } else {
            let refused = cluster.try_start_one(0).unwrap_err().to_string();
            assert!(refused.contains("run it again") || refused.contains("set storage.url"), "{point}: {refused}");
            let plan = run(cluster.restorer(false, &none()).plan(&|_| ())).unwrap();
            // Once it is raised, nobody can tell by whom.
            let next = at_era + if point == "restore.begun" { 1 } else { 2 };
            assert!(plan.resumes && plan.next_era == next, "{point}: {plan:?}");
            assert_eq!(cluster.restore(false, &none()).unwrap().era, next, "{point}");
        }
        at_era += if ["restore.begun", "restore.completed"].contains(&point) { 1 } else { 2 };
        assert_eq!(era(&cluster), at_era, "{point}");
        cluster.start_one(0);
        for partition in 0..3 {
            let expected = expected(&written.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(cluster.read_values("t", partition), expected, "{point}");
        }
    }
    cluster.stop_all();
}

#[test]
fn a_store_in_use_is_left_alone_unless_told_and_thrown_away_to_the_end() {
    let mut cluster = Cluster::start(2);
    cluster.create("t", 3, &[]);
    cluster.append("t", 0, &batch_of("a"));
    let error = cluster.restore(false, &none()).unwrap_err();
    assert!(matches!(&error, RestoreError::InUse { alive, .. } if alive.len() == 2), "{error}");
    cluster.append("t", 0, &batch_of("b"));
    // Cut off while the old metadata is half deleted, and again at its end.
    for point in ["restore.discarding", "restore.discarded"] {
        let fail = none();
        fail.arm(point, FailAction::Error);
        cluster.restore(true, &fail).unwrap_err();
        assert!(!fail.is_armed(point), "{point}");
    }
    // From the first moment on it goes on as one that has begun.
    assert_eq!(cluster.restore(false, &none()).unwrap().era, 1);
    for at in 0..2 {
        eventually("a broker that was alive ends", || cluster.node(at).has_failed().then_some(()));
        cluster.kill(at);
    }
    start_all(&mut cluster);
    assert_eq!(cluster.read_values("t", 0), expected(&["a", "b"]));
    cluster.append("t", 0, &batch_of("c"));
    cluster.stop_all();
}

/// Brokers of before go on with a metadata store that nobody else has any more.
#[test]
fn survivors_of_before_write_nothing() {
    let mut cluster = Cluster::start(2);
    cluster.create("t", 2, &[]);
    cluster.create("l", 2, &[("runnel.durability", "local")]);
    for partition in 0..2 {
        cluster.append("t", partition, &batch_of("a"));
        cluster.append("l", partition, &batch_of("a"));
    }
    let of_survivor: Vec<i32> = (0..2).filter(|partition| cluster.leader("t", *partition) == 1).collect();
    cluster.kill(0);
    cluster.lose_store();
    cluster.restore(false, &none()).unwrap();
    for partition in of_survivor {
        let error = cluster.node(1).produce("t", partition, batch_of("lost")).unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotLeader, "{error}");
    }
    eventually("it notices, whatever its store says", || cluster.node(1).has_failed().then_some(()));
    cluster.start_one(0);
    // It looks at both stores, and believes neither.
    cluster.kill(1);
    let refused = cluster.try_start_one(1).unwrap_err().to_string();
    assert!(refused.contains("(era 1,") && refused.contains("(era 0,"), "{refused}");
    for partition in 0..2 {
        assert_eq!(cluster.read_values("t", partition), expected(&["a"]));
    }
    cluster.stop_all();
}

/// What is on its disk alone it can neither ship nor add to. It is there when the broker leads the partition again.
#[test]
fn a_leader_of_before_ships_nothing_and_its_disk_is_adopted() {
    let mut cluster = Cluster::start(1);
    let id = cluster.create("l", 1, &[("runnel.durability", "local")]);
    cluster.append("l", 0, &batch_of("a"));
    cluster.lose_store();
    cluster.restore(false, &none()).unwrap();
    cluster.world.age();
    eventually("it notices", || cluster.node(0).has_failed().then_some(()));
    let (root, segments) = cluster.world.root(cluster.node(0), "l", tp(id, 0));
    assert_eq!((root.end, segments.len()), (Offset(0), 0));
    cluster.kill(0);
    cluster.follow_store(0);
    cluster.start_one(0);
    cluster.append("l", 0, &batch_of("b"));
    assert_eq!(cluster.read_values("l", 0), expected(&["a", "b"]));
    cluster.stop_all();
}

/// Its lane is made after the restore has looked for lanes.
#[test]
fn a_broker_of_before_that_was_starting_gets_no_lane() {
    let mut cluster = Cluster::start(2);
    cluster.create("t", 1, &[]);
    cluster.kill(1);
    cluster.machines[1].faults.always(Op::Create, "wal/", Fault::FailBefore);
    cluster.start_one(1);
    cluster.kill(0);
    cluster.lose_store();
    assert_eq!(cluster.restore(false, &none()).unwrap().era, 1);
    cluster.machines[1].faults.clear();
    // A topic that the restore has not seen: nobody has taken over its root.
    drop(cluster.node(1).try_create("n", 1, &[]));
    eventually("it learns of the restore", || {
        let acknowledged = cluster.node(1).produce("n", 0, batch_of("lost"));
        assert!(acknowledged.is_err(), "{acknowledged:?}");
        cluster.node(1).has_failed().then_some(())
    });
    cluster.kill(1);
    cluster.stop_all();
}

#[test]
fn an_era_that_is_raised_ends_brokers_that_hear_of_nothing_else() {
    let cluster = Cluster::start(1);
    cluster.create("l", 1, &[("runnel.durability", "local")]);
    let found = run(cluster.world.bucket.read_register(&Key::ClusterId)).unwrap().unwrap();
    let record = ClusterRecord::decode(&found.payload).unwrap();
    let raised = ClusterRecord { era: record.era + 1, ..record }.encode();
    let outcome = run(cluster.world.bucket.replace_register(&Key::ClusterId, &found.version, raised)).unwrap();
    assert!(matches!(outcome, CasOutcome::Done(_)));
    eventually("it ends", || cluster.node(0).has_failed().then_some(()));
    cluster.stop_all();
}

#[test]
fn what_the_bucket_has_lost_is_named_and_not_restored_around() {
    let mut cluster = Cluster::start(1);
    let id = cluster.create("t", 1, &[]);
    cluster.append("t", 0, &batch_of("a"));
    cluster.kill(0);
    cluster.lose_store();
    let bucket = cluster.world.bucket.clone();
    let listed = run(bucket.list("wal/")).unwrap();
    let slot = listed.iter().filter(|object| object.bytes > SLOT_HEADER_LEN as u64);
    let slot = slot.filter_map(|object| Key::parse_lane_object(&object.path)).next().unwrap();
    let root = Key::Root(tp(id, 0));
    type Told = fn(&RestoreError) -> bool;
    let cases: [(Key, Told); 3] = [
        (slot, |error| matches!(error, RestoreError::LaneDamaged { .. })),
        (Key::Topic(id), |error| matches!(error, RestoreError::TopicsMissing(_))),
        (root, |error| matches!(error, RestoreError::RootsMissing(_))),
    ];
    for (key, told) in cases {
        let kept = run(bucket.get(&key)).unwrap().unwrap();
        if matches!(key, Key::Slot { .. }) {
            // One that is gone is where a lane ends whose writer has not been ended.
            let mut rotten = kept.to_vec();
            rotten[30] ^= 1;
            run(bucket.put(&key, vec![rotten.into()])).unwrap();
        } else {
            run(bucket.delete(&key)).unwrap();
        }
        let error = cluster.restore(false, &none()).unwrap_err();
        assert!(told(&error), "{error}");
        assert!(cluster.try_start_one(0).is_err());
        run(bucket.put(&key, vec![kept])).unwrap();
    }
    cluster.restore(false, &none()).unwrap();
    cluster.start_one(0);
    assert_eq!(cluster.read_values("t", 0), expected(&["a"]));
    cluster.stop_all();
}

/// Others have led since, and the disk is that of the one who leads next.
#[test]
fn what_a_disk_of_before_holds_is_not_read_in_place_of_what_came_after() {
    let mut cluster = Cluster::start(2);
    cluster.create("l", 1, &[("runnel.durability", "local")]);
    cluster.append("l", 0, &batch_of("old"));
    let (first, second) = (cluster.leader("l", 0), 1 - cluster.leader("l", 0));
    (0..2).for_each(|at| cluster.kill(at));
    cluster.lose_store();
    cluster.restore(false, &none()).unwrap();
    cluster.start_one(second);
    let to_object =
        ConfigChange { name: "runnel.durability".to_owned(), op: AlterConfigOp::Set, value: Some("object".to_owned()) };
    let node = cluster.node(second);
    node.run(node.broker().alter_configs(&ConfigResource::Topic("l".to_owned()), &[to_object], false)).unwrap();
    eventually("it is in the bucket what it acknowledges", || {
        let produced = cluster.node(second).produce("l", 0, batch_of("new"));
        produced.ok().filter(|produced| produced.durability == Durability::Object)
    });
    let written = cluster.read_values("l", 0);
    let disks = || {
        run(cluster.meta.range("p/")).unwrap().iter().all(|(_, found)| {
            let tail = PartitionRecord::decode(&found.value).unwrap().tail;
            tail.iter().all(|part| part.durability == runnel_format::meta::Durability::Object)
        })
    };
    eventually("no record names a disk", || disks().then_some(()));
    // What the lane in the bucket holds stays there, so that the next leader needs it.
    cluster.machines[second].faults.always(Op::Create, "topics/", Fault::FailBefore);
    cluster.append("l", 0, &batch_of("newest"));
    cluster.kill(second);
    cluster.start_one(first);
    let expected: Vec<String> = written.into_iter().chain(expected(&["newest"])).collect();
    assert_eq!(cluster.read_values("l", 0), expected);
    cluster.world.age();
    let end = i64::try_from(expected.len()).unwrap();
    cluster.node(first).wait_shipped("l", 0, end);
    assert_eq!(cluster.read_values("l", 0), expected, "from the bucket");
    cluster.stop_all();
}

/// One that was cut off, one into another store, and the first one run again.
#[test]
fn the_era_of_another_restore_is_not_taken_for_ones_own() {
    let mut cluster = Cluster::start(1);
    cluster.create("t", 1, &[]);
    cluster.append("t", 0, &batch_of("a"));
    cluster.kill(0);
    cluster.lose_store();
    let fail = none();
    fail.arm("restore.begun", FailAction::Error);
    cluster.restore(false, &fail).unwrap_err();
    let first = Arc::clone(&cluster.meta);

    cluster.lose_store();
    assert_eq!(cluster.restore(false, &none()).unwrap().era, 1);
    cluster.start_one(0);
    cluster.append("t", 0, &batch_of("b"));
    cluster.meta = first;
    assert_eq!(cluster.restore(false, &none()).unwrap().era, 2);
    eventually("the brokers of the other one end", || cluster.node(0).has_failed().then_some(()));
    cluster.kill(0);
    let refused = cluster.try_start_one(0).unwrap_err().to_string();
    assert!(refused.contains("(era 1,") && refused.contains("(era 2,"), "{refused}");
    cluster.follow_store(0);
    cluster.start_one(0);
    assert_eq!(cluster.read_values("t", 0), expected(&["a", "b"]));
    cluster.append("t", 0, &batch_of("c"));
    cluster.stop_all();
}
