//! The level of a cluster: who may work on it, and how it is raised.

use runnel_api::{Cluster as _, ErrorKind, Upgrade};
use runnel_blob::{Bucket, Key};
use runnel_broker::{Failure, StartError};
use runnel_format::meta::ClusterRecord;
use runnel_format::{Levels, Misfit};
use runnel_metastore::{MetaStore as _, Op};
use runnel_runtime::{FailAction, FailPoints};

use crate::support::cluster::{Cluster, run};
use crate::support::{World, batch, eventually, values};

const SUPPORTED: Levels = Levels::SUPPORTED;
const NEXT: u32 = SUPPORTED.highest + 1;

fn in_bucket(bucket: &Bucket) -> ClusterRecord {
    let found = run(bucket.read_register(&Key::ClusterId)).unwrap().unwrap();
    ClusterRecord::decode(&found.payload).unwrap()
}

/// As a release does that knows of `level`.
fn set_in_bucket(bucket: &Bucket, level: u32) {
    let found = run(bucket.read_register(&Key::ClusterId)).unwrap().unwrap();
    let record = ClusterRecord { level, ..ClusterRecord::decode(&found.payload).unwrap() };
    run(bucket.replace_register(&Key::ClusterId, &found.version, record.encode())).unwrap();
}

fn in_store(cluster: &Cluster) -> ClusterRecord {
    ClusterRecord::decode(&run(cluster.meta.get("cluster")).unwrap().unwrap().value).unwrap()
}

fn put_in_store(cluster: &Cluster, record: &ClusterRecord) {
    let put = Op::Put("cluster".to_owned(), record.encode(), None);
    assert!(run(cluster.meta.txn(Vec::new(), vec![put])).unwrap().is_committed());
}

fn set_level(cluster: &Cluster, level: u32) {
    set_in_bucket(&cluster.world.bucket, level);
    put_in_store(cluster, &ClusterRecord { level, ..in_store(cluster) });
}

/// Two brokers with a topic, on a cluster that a release made which knew of the first level alone.
fn old_cluster() -> Cluster {
    let mut cluster = Cluster::start(2);
    cluster.create("t", 2, &[]);
    for at in 0..2 {
        cluster.stop(at);
    }
    set_level(&cluster, 1);
    (0..2).for_each(|at| cluster.start_one(at));
    cluster
}

fn raise(cluster: &Cluster, dry_run: bool) -> Result<Upgrade, runnel_api::Error> {
    cluster.node(0).run(cluster.node(0).broker().upgrade(dry_run))
}

fn level_seen_by(cluster: &Cluster, at: usize) -> Option<u32> {
    cluster.node(at).run(cluster.node(at).broker().cluster_status()).level
}

#[test]
fn a_new_cluster_is_at_the_highest_level() {
    let cluster = Cluster::start(1);
    assert_eq!(
        (in_bucket(&cluster.world.bucket).level, in_store(&cluster).level),
        (SUPPORTED.highest, SUPPORTED.highest)
    );
    cluster.stop_all();
}

#[test]
fn the_level_is_raised_when_it_is_asked_for() {
    let mut cluster = old_cluster();
    let told = Upgrade { from: 1, to: SUPPORTED.highest, held_back_by: [].into() };
    assert_eq!(raise(&cluster, true).unwrap(), told);
    assert_eq!((in_bucket(&cluster.world.bucket).level, in_store(&cluster).level), (1, 1), "only told");
    assert_eq!(raise(&cluster, false).unwrap(), told);
    for at in 0..2 {
        eventually("it is seen", || (level_seen_by(&cluster, at) == Some(SUPPORTED.highest)).then_some(()));
    }
    assert_eq!(raise(&cluster, false).unwrap(), Upgrade { from: SUPPORTED.highest, ..told });
    cluster.append("t", 0, &batch(&values("a", 3, 10)));
    // It is there for who comes, and after a restore.
    cluster.stop(1);
    cluster.start_one(1);
    for at in 0..2 {
        cluster.stop(at);
    }
    cluster.lose_store();
    cluster.restore(false, &FailPoints::default()).unwrap();
    assert_eq!(in_store(&cluster).level, SUPPORTED.highest);
    (0..2).for_each(|at| cluster.start_one(at));
    assert_eq!(cluster.read_values("t", 0), values("a", 3, 10));
    cluster.stop_all();
}

#[test]
fn a_broker_that_does_not_say_what_it_supports_holds_the_level_back() {
    let cluster = old_cluster();
    let told = cluster.keys("build/");
    assert_eq!(told.len(), 2);
    run(cluster.meta.txn(Vec::new(), vec![Op::Delete(told[1].clone())])).unwrap();
    let held = Upgrade { from: 1, to: 1, held_back_by: [1].into() };
    assert_eq!(raise(&cluster, false).unwrap(), held);
    assert_eq!(in_bucket(&cluster.world.bucket).level, 1);
    cluster.stop_all();
}

/// A broker that raises the level dies after each of its two steps, in turn.
#[test]
fn what_was_raised_in_the_bucket_alone_is_completed() {
    let by_asking_again = |cluster: &mut Cluster| {
        let done = raise(cluster, false).unwrap();
        assert_eq!((done.from, done.to), (SUPPORTED.highest, SUPPORTED.highest));
    };
    let by_a_start = |cluster: &mut Cluster| {
        cluster.stop(1);
        cluster.start_one(1);
    };
    let ways: [&dyn Fn(&mut Cluster); 2] = [&by_asking_again, &by_a_start];
    for complete in ways {
        let mut cluster = old_cluster();
        cluster.machines[0].fail.arm("level.raised_in_bucket", FailAction::Error);
        assert_eq!(raise(&cluster, false).unwrap_err().kind, ErrorKind::StorageError);
        assert_eq!((in_bucket(&cluster.world.bucket).level, in_store(&cluster).level), (SUPPORTED.highest, 1));
        complete(&mut cluster);
        assert_eq!(in_store(&cluster).level, SUPPORTED.highest);
        cluster.stop_all();
    }
}

#[test]
fn a_broker_leaves_a_cluster_that_was_raised_above_it() {
    for told_by_store in [true, false] {
        let mut cluster = Cluster::start(2);
        cluster.create("t", 2, &[]);
        cluster.append("t", 0, &batch(&values("a", 3, 10)));
        set_in_bucket(&cluster.world.bucket, NEXT);
        if told_by_store {
            put_in_store(&cluster, &ClusterRecord { level: NEXT, ..in_store(&cluster) });
        }
        let misfit = Misfit::Newer { level: NEXT, supported: SUPPORTED };
        for at in 0..2 {
            let node = cluster.node(at);
            assert_eq!(
                node.run(node.broker().failed()),
                Failure::Outgrown(misfit),
                "told by the store: {told_by_store}"
            );
        }
        // In good order: nothing is left for the release that comes.
        assert_eq!(cluster.stop(0).unshipped_partitions + cluster.stop(1).unshipped_partitions, 0);
        let refused = cluster.try_start_one(0).unwrap_err();
        assert!(matches!(refused, StartError::Level(found) if found == misfit), "{refused}");
    }
}

#[test]
fn a_cluster_of_a_newer_release_is_left_alone() {
    let mut cluster = Cluster::start(1);
    cluster.stop(0);
    set_level(&cluster, NEXT);
    let keys = || run(cluster.meta.range("")).unwrap();
    let before = keys();
    let refused = cluster.restore(true, &FailPoints::default()).unwrap_err();
    assert!(refused.to_string().contains(&format!("the cluster is at level {NEXT}")), "{refused}");
    assert_eq!(keys(), before);
    let refused = cluster.try_start_one(0).unwrap_err();
    assert!(refused.to_string().ends_with("Nothing was changed"), "{refused}");
    assert_eq!(run(cluster.meta.range("")).unwrap(), before);
}

#[test]
fn a_single_node_raises_the_level_and_refuses_that_of_a_newer_release() {
    let mut world = World::new();
    let node = world.start();
    node.create("t", 1, &[]);
    node.append("t", 0, batch(&values("a", 3, 10)));
    world.kill(node);
    set_in_bucket(&world.bucket, 1);
    let node = world.start();
    let level = |node: &crate::support::Node| node.run(node.broker().cluster_status()).level;
    assert_eq!(level(&node), Some(1));
    let told = Upgrade { from: 1, to: SUPPORTED.highest, held_back_by: [].into() };
    assert_eq!(node.run(node.broker().upgrade(false)).unwrap(), told);
    assert_eq!(level(&node), Some(SUPPORTED.highest));
    world.kill(node);
    set_in_bucket(&world.bucket, NEXT);
    let refused = world.try_start().err().unwrap();
    assert!(matches!(refused, StartError::Level(Misfit::Newer { level: NEXT, .. })), "{refused}");
    set_in_bucket(&world.bucket, SUPPORTED.highest);
    let node = world.start();
    assert_eq!(node.read_values("t", 0), values("a", 3, 10));
}

/// It came up while the bucket was away, and finds out later.
#[test]
fn a_single_node_gives_up_when_the_bucket_turns_out_to_be_newer() {
    let mut world = World::new();
    let node = world.start();
    node.create("t", 1, &[]);
    world.kill(node);
    set_in_bucket(&world.bucket, NEXT);
    world.faults.outage(true);
    let node = world.start();
    world.faults.outage(false);
    let misfit = Misfit::Newer { level: NEXT, supported: SUPPORTED };
    assert_eq!(node.run(node.broker().failed()), Failure::Outgrown(misfit));
}
