//! Records on one disk alone: they wait for it, and an operator may go on without it.

use runnel_api::{
    Admin as _, AlterConfigOp, Cluster as _, ConfigChange, ConfigResource, DiskLoss, Error, ErrorKind, Offsets as _,
};
use runnel_record::{LeaderEpoch, Offset};
use runnel_runtime::{Disk as _, FailAction};

use crate::support::client::{FetchFrom, fetch, name};
use crate::support::cluster::Cluster;
use crate::support::store::Way;
use crate::support::{Node, batch, eventually, places, values};

fn batch_of(what: &str) -> bytes::Bytes {
    batch(&values(what, 3, 10))
}

fn expected(parts: &[&str]) -> Vec<String> {
    parts.iter().flat_map(|what| values(what, 3, 10)).collect()
}

fn accept(node: &Node, partition: Option<i32>, accept: bool) -> Result<Vec<DiskLoss>, Error> {
    let losses = node.run(node.broker().disk_losses(&name("t"), partition))?;
    if accept {
        node.run(node.broker().accept_disk_losses(&name("t"), &losses))?;
    }
    Ok(losses)
}

fn refusal(node: &Node, partition: Option<i32>) -> String {
    let error = accept(node, partition, true).unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidRequest, "{error}");
    error.message
}

/// Where an epoch ends, as the leader says.
fn end_of(cluster: &Cluster, epoch: i32) -> i64 {
    eventually("the end of an epoch", || {
        let node = cluster.node(cluster.leader("t", 0));
        let end = node.run(node.broker().epoch_end(&name("t"), 0, LeaderEpoch(epoch), None)).ok()?;
        Some(end?.end_offset.0)
    })
}

/// Two brokers; the first one has a partition with three records in the bucket, and three more on its disk.
fn one_of_two() -> Cluster {
    let cluster = Cluster::start(2);
    cluster.node(0).run(cluster.node(0).broker().drain(1, true)).unwrap();
    cluster.create("t", 1, &[("runnel.durability", "local")]);
    assert_eq!(cluster.leader("t", 0), 0);
    cluster.append("t", 0, &batch_of("a"));
    cluster.world.age();
    cluster.node(0).wait_shipped("t", 0, 3);
    cluster.append("t", 0, &batch_of("b"));
    cluster.node(0).run(cluster.node(0).broker().drain(1, false)).unwrap();
    cluster
}

#[test]
fn a_partition_goes_on_without_a_disk_that_is_lost() {
    let mut cluster = one_of_two();
    assert!(refusal(cluster.node(1), Some(0)).contains("`node-0`, which is alive"));
    assert!(refusal(cluster.node(1), None).contains("no partition of t waits"));
    cluster.kill(0);
    let loss = DiskLoss { partition: 0, from: Offset(3), known_end: Offset(3), brokers: ["node-0".to_owned()].into() };
    for wanted in [Some(0), None] {
        assert_eq!(accept(cluster.node(1), wanted, false).unwrap(), std::slice::from_ref(&loss), "it only says so");
    }
    assert_eq!(accept(cluster.node(1), None, true).unwrap(), [loss]);
    cluster.append("t", 0, &batch_of("c"));
    assert_eq!(cluster.read_values("t", 0), expected(&["a", "c"]));
    assert!(refusal(cluster.node(1), Some(0)).contains("`node-1`, which is alive"));

    // Clients that read further find out.
    assert_eq!(end_of(&cluster, 0), 3);
    let node = cluster.node(1);
    let mut request = FetchFrom { topic: "t", partition: 0, offset: 6, max_bytes: 1 << 20 }.request();
    request.partitions[0].last_fetched_epoch = Some(LeaderEpoch(0));
    let diverging = node.run(fetch(&node.broker(), request)).unwrap().diverging.unwrap();
    assert_eq!((diverging.epoch.0, diverging.end_offset.0), (0, 3));
    cluster.stop_all();
}

#[test]
fn what_was_written_off_does_not_come_back_with_its_disk() {
    let mut cluster = one_of_two();
    cluster.kill(0);
    accept(cluster.node(1), Some(0), true).unwrap();
    cluster.append("t", 0, &batch_of("c"));
    for round in ["d", "e"] {
        cluster.start_one(0);
        assert_eq!(cluster.read_values("t", 0)[..6], expected(&["a", "c"]));
        // Also where the disk is.
        cluster.node(0).run(cluster.node(0).broker().drain(1, true)).unwrap();
        eventually("it leads", || (cluster.leader("t", 0) == 0).then_some(()));
        cluster.append("t", 0, &batch_of(round));
        cluster.kill(0);
        cluster.node(1).run(cluster.node(1).broker().drain(1, false)).unwrap();
    }
    cluster.start_one(0);
    assert_eq!(cluster.read_values("t", 0), expected(&["a", "c", "d", "e"]));
    assert_eq!(end_of(&cluster, 0), 3);
    let machine = &cluster.machines[0];
    let kept = machine.disk.list(&machine.options.data_dir.join("written-off")).unwrap();
    assert_eq!(kept.len(), 1, "somebody may want to look what it was: {kept:?}");
    assert_eq!(cluster.keys("written-off/"), Vec::<String>::new());
    cluster.stop_all();
}

/// What took the place of what was lost is in the bucket's lane, and is read from there.
#[test]
fn what_was_written_off_is_not_read_in_place_of_what_took_its_place() {
    let mut cluster = one_of_two();
    cluster.kill(0);
    let node = cluster.node(1);
    let resource = ConfigResource::Topic("t".to_owned());
    let name = "runnel.durability".to_owned();
    let set = ConfigChange { name, op: AlterConfigOp::Set, value: Some("object".to_owned()) };
    node.run(node.broker().alter_configs(&resource, &[set], false)).unwrap();
    accept(node, Some(0), true).unwrap();
    cluster.append("t", 0, &batch_of("c"));
    cluster.start_one(0);
    cluster.kill(1);
    assert_eq!(cluster.read_values("t", 0), expected(&["a", "c"]));
    cluster.stop_all();
}

#[test]
fn a_loss_that_was_cut_short_is_accepted_again_or_not_at_all() {
    for point in ["loss.root_taken", "loss.recorded"] {
        let mut cluster = one_of_two();
        cluster.kill(0);
        cluster.machines[1].fail.arm(point, FailAction::Error);
        accept(cluster.node(1), Some(0), true).unwrap_err();
        if point == "loss.root_taken" {
            // Nothing was recorded, and the disk is there after all.
            cluster.start_one(0);
            cluster.append("t", 0, &batch_of("c"));
            assert_eq!(cluster.read_values("t", 0), expected(&["a", "b", "c"]));
            cluster.kill(0);
            accept(cluster.node(1), Some(0), true).unwrap();
        }
        cluster.append("t", 0, &batch_of("d"));
        let read = cluster.read_values("t", 0);
        assert!(read.starts_with(&expected(&["a"])) && read.ends_with(&expected(&["d"])), "{point}: {read:?}");
        cluster.stop_all();
    }
}

/// Between what is told and the operator's word another broker dies.
#[test]
fn no_more_is_given_up_than_was_told() {
    let mut cluster = Cluster::start(3);
    cluster.create("t", 3, &[("runnel.durability", "local")]);
    for partition in 0..3 {
        cluster.append("t", partition, &batch_of("a"));
    }
    let of = |cluster: &Cluster, at| (0..3).find(|partition| cluster.leader("t", *partition) == at).unwrap();
    let (first, second) = (of(&cluster, 1), of(&cluster, 2));
    cluster.kill(1);
    let told = eventually("the first is known to be gone", || accept(cluster.node(0), None, false).ok());
    assert_eq!(told.len(), 1);
    cluster.kill(2);
    let node = cluster.node(0);
    let more = DiskLoss { brokers: ["node-1", "node-2"].map(str::to_owned).into(), ..told[0].clone() };
    let refused = node.run(node.broker().accept_disk_losses(&name("t"), &[more])).unwrap_err();
    assert!(refused.message.contains("look again"), "{refused}");
    node.run(node.broker().accept_disk_losses(&name("t"), &told)).unwrap();
    cluster.append("t", first, &batch_of("b"));
    assert_eq!(cluster.read_values("t", first), expected(&["b"]));
    cluster.start_one(2);
    cluster.append("t", second, &batch_of("b"));
    assert_eq!(cluster.read_values("t", second), expected(&["a", "b"]));
    cluster.stop_all();
}

/// A partition may go on elsewhere while others of the disk still wait, and those find everything.
#[test]
fn what_was_not_given_up_still_waits_for_its_disk() {
    let mut cluster = Cluster::start(2);
    cluster.node(0).run(cluster.node(0).broker().drain(1, true)).unwrap();
    cluster.create("t", 2, &[("runnel.durability", "local")]);
    for partition in 0..2 {
        cluster.append("t", partition, &batch_of("a"));
    }
    cluster.kill(0);
    cluster.node(1).run(cluster.node(1).broker().drain(1, false)).unwrap();
    assert_eq!(accept(cluster.node(1), None, false).unwrap().len(), 2);
    accept(cluster.node(1), Some(1), true).unwrap();
    cluster.append("t", 1, &batch_of("b"));
    assert_eq!(cluster.read_values("t", 1), expected(&["b"]));
    cluster.start_one(0);
    cluster.append("t", 0, &batch_of("b"));
    assert_eq!(cluster.read_values("t", 0), expected(&["a", "b"]));
    assert_eq!(cluster.read_values("t", 1), expected(&["b"]));
    cluster.stop_all();
}

#[test]
fn a_broker_that_is_drained_ships_what_its_disk_holds_and_hands_it_over() {
    let mut cluster = one_of_two();
    cluster.kill(0);
    cluster.node(1).run(cluster.node(1).broker().drain(0, true)).unwrap();
    cluster.start_one(0);
    eventually("the other one leads", || (cluster.leader("t", 0) == 1).then_some(()));
    cluster.append("t", 0, &batch_of("c"));
    assert_eq!(cluster.read_values("t", 0), expected(&["a", "b", "c"]));
    cluster.stop_all();
}

#[test]
fn what_went_on_elsewhere_takes_up_no_room_on_a_disk() {
    let mut cluster = Cluster::without_brokers(2);
    for machine in &mut cluster.machines {
        // A file of an earlier session is all that the log may hold.
        (machine.options.wal.file_bytes, machine.options.wal.max_unshipped) = (64 << 10, 64 << 10);
    }
    (0..2).for_each(|at| cluster.start_one(at));
    let drain = |cluster: &Cluster, at, drained| {
        let node = cluster.node(1);
        node.run(node.broker().drain(at, drained)).unwrap();
    };
    drain(&cluster, 1, true);
    cluster.create("t", 4, &[("runnel.durability", "local")]);
    for partition in 0..4 {
        assert_eq!(cluster.leader("t", partition), 0);
        cluster.append("t", partition, &batch_of("a"));
    }
    drain(&cluster, 1, false);
    drain(&cluster, 0, true);
    let led = |cluster: &Cluster, at| (0..4).filter(|partition| cluster.leader("t", *partition) == at).count();
    eventually("all are elsewhere", || (led(&cluster, 1) == 4).then_some(()));
    cluster.kill(0);
    cluster.start_one(0);
    drain(&cluster, 0, false);
    eventually("half of them are back", || (led(&cluster, 0) == 2).then_some(()));
    for partition in 0..4 {
        cluster.append("t", partition, &batch_of("b"));
        assert_eq!(cluster.read_values("t", partition), expected(&["a", "b"]));
    }
    cluster.stop_all();
}

#[test]
fn damage_on_a_disk_is_nothing_to_partitions_that_need_nothing_of_it() {
    let mut cluster = one_of_two();
    for what in ["c", "d", "e"] {
        cluster.append("t", 0, &batch_of(what));
    }
    // Everything is shipped, and the other one leads.
    cluster.node(0).run(cluster.node(0).broker().drain(0, true)).unwrap();
    eventually("the other one leads", || (cluster.leader("t", 0) == 1).then_some(()));
    let id = cluster.node(1).topic_id("t").unwrap();
    cluster.kill(0);
    let machine = &cluster.machines[0];
    for (path, at) in places(&machine.disk, &machine.options.data_dir, id.0.as_bytes()).into_iter().skip(1) {
        // So that nothing tells what was behind the first batch, nor where that ended.
        machine.disk.flip_bit(&path, at, 0).unwrap();
    }
    cluster.start_one(0);
    cluster.node(1).run(cluster.node(1).broker().drain(0, false)).unwrap();
    cluster.node(1).run(cluster.node(1).broker().drain(1, true)).unwrap();
    eventually("it leads", || (cluster.leader("t", 0) == 0).then_some(()));
    cluster.append("t", 0, &batch_of("f"));
    assert_eq!(cluster.read_values("t", 0), expected(&["a", "b", "c", "d", "e", "f"]));
    cluster.stop_all();
}

/// The readable part of what it holds goes with the rest.
#[test]
fn a_damaged_disk_is_given_up_once_its_broker_is_stopped() {
    let mut cluster = one_of_two();
    for what in ["c", "d", "e"] {
        cluster.append("t", 0, &batch_of(what));
    }
    let id = cluster.node(0).topic_id("t").unwrap();
    cluster.kill(0);
    let machine = &cluster.machines[0];
    let places = places(&machine.disk, &machine.options.data_dir, id.0.as_bytes());
    for (path, at) in places.into_iter().skip(1) {
        machine.disk.flip_bit(&path, at, 0).unwrap();
    }
    cluster.start_one(0);
    let blocked = |cluster: &Cluster| cluster.node(0).produce("t", 0, batch_of("f")).err();
    let error = eventually("it is blocked", || blocked(&cluster).filter(|error| error.kind == ErrorKind::Corrupt));
    assert!(error.message.contains("--lost-disk"), "{error}");
    assert!(refusal(cluster.node(1), Some(0)).contains("`node-0`, which is alive"));
    cluster.kill(0);
    let losses = accept(cluster.node(1), Some(0), true).unwrap();
    assert_eq!((losses.len(), losses[0].from), (1, Offset(3)));
    cluster.append("t", 0, &batch_of("f"));
    cluster.start_one(0);
    assert_eq!(cluster.read_values("t", 0), expected(&["a", "f"]));
    cluster.stop_all();
}

/// Others may have gone on without its disk by then.
#[test]
fn a_broker_that_is_cut_off_acknowledges_nothing_on_its_disk_past_its_lease() {
    let cluster = one_of_two();
    let machine = &cluster.machines[0];
    machine.store.set(Way::Cut);
    machine.faults.outage(true);
    let error = eventually("its lease ends", || cluster.node(0).produce("t", 0, batch_of("c")).err());
    assert_eq!(error.kind, ErrorKind::NotLeader, "{error}");
    machine.faults.outage(false);
    machine.store.set(Way::Open);
    cluster.append("t", 0, &batch_of("d"));
    cluster.stop_all();
}
