//! The disk of a broker that is gone, on another machine.

use runnel_api::Cluster as _;
use runnel_broker::StartError;
use runnel_runtime::{FailAction, FailPoints};

use crate::support::cluster::Cluster;
use crate::support::{batch, values};

fn batch_of(what: &str) -> bytes::Bytes {
    batch(&values(what, 3, 10))
}

fn expected(parts: &[&str]) -> Vec<String> {
    parts.iter().flat_map(|what| values(what, 3, 10)).collect()
}

/// Two brokers; the second one has a partition, with records that are on its disk alone.
fn one_of_two() -> Cluster {
    let cluster = Cluster::start(2);
    cluster.node(0).run(cluster.node(0).broker().drain(0, true)).unwrap();
    cluster.create("t", 2, &[("runnel.durability", "local")]);
    for partition in 0..2 {
        assert_eq!(cluster.leader("t", partition), 1);
        cluster.append("t", partition, &batch_of("a"));
    }
    cluster
}

/// The second one dies, and the first one may lead: before, it would have got its share.
fn kill_second(cluster: &mut Cluster) {
    cluster.kill(1);
    cluster.node(0).run(cluster.node(0).broker().drain(0, false)).unwrap();
}

fn refusal(cluster: &Cluster, at: usize) -> String {
    cluster.adopt(at, &FailPoints::default()).unwrap_err().to_string()
}

#[test]
fn an_adoption_that_does_not_come_on_says_what_it_waits_for() {
    let mut cluster = one_of_two();
    kill_second(&mut cluster);
    let fail = FailPoints::default();
    fail.arm("open.root_taken", FailAction::ErrorAlways);
    let mut said = Vec::new();
    let adopted = cluster.adopt_telling(1, &fail, |progress| {
        if let Some(what) = progress.waits_for {
            // Whatever keeps it from opening is over.
            fail.disarm("open.root_taken");
            said.push(what);
        }
    });
    assert_eq!(adopted.unwrap().left.len(), 0);
    assert!(said[0].starts_with("t-") && said[0].contains("fail point `open.root_taken` was hit"), "{said:?}");
    cluster.stop_all();
}

#[test]
fn what_is_only_on_the_disk_of_a_dead_broker_is_shipped_from_elsewhere() {
    let mut cluster = one_of_two();
    assert!(
        matches!(cluster.adopt(1, &FailPoints::default()), Err(StartError::Refused(why)) if why.contains("is alive"))
    );
    kill_second(&mut cluster);
    let adopted = cluster.adopt(1, &FailPoints::default()).unwrap();
    assert_eq!((adopted.broker.as_str(), adopted.shipped.len(), adopted.left.len()), ("node-1", 2, 0));
    assert_eq!(adopted.shipped, ["t-0", "t-1"]);
    for partition in 0..2 {
        assert_eq!(cluster.leader("t", partition), 0);
        cluster.append("t", partition, &batch_of("b"));
        assert_eq!(cluster.read_values("t", partition), expected(&["a", "b"]));
    }
    let again = cluster.adopt(1, &FailPoints::default()).unwrap();
    assert_eq!((again.shipped.len(), again.left.len()), (0, 0), "there is nothing more to do");
    // The broker comes back all the same, and finds nothing to do.
    cluster.start_one(1);
    for partition in 0..2 {
        assert_eq!(cluster.read_values("t", partition), expected(&["a", "b"]));
    }
    cluster.stop_all();
}

#[test]
fn a_directory_that_is_none_and_a_cluster_that_is_another_are_refused() {
    let mut cluster = one_of_two();
    kill_second(&mut cluster);
    cluster.add_machine(7);
    assert!(refusal(&cluster, 2).contains("is not the data directory of a broker"));
    cluster.stop_all();
}
