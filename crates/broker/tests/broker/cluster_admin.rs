//! Several brokers change the same things at the same time, and die in the middle of it.

use std::thread;

use runnel_api::{Admin as _, AlterConfigOp, Cluster as _, ConfigChange, ConfigResource, Error};
use runnel_runtime::FailAction;

use crate::support::cluster::Cluster;
use crate::support::{Node, eventually};

fn set(node: &Node, resource: &ConfigResource, config: &str, value: &str) -> Result<(), Error> {
    let change = ConfigChange { name: config.to_owned(), op: AlterConfigOp::Set, value: Some(value.to_owned()) };
    node.run(node.broker().alter_configs(resource, &[change], false))
}

fn value(node: &Node, resource: &ConfigResource, config: &str) -> Option<String> {
    let found = node.run(node.broker().describe_configs(resource, Some(&[config.to_owned()]))).ok()?;
    found.into_iter().next()?.value
}

fn all_have(cluster: &Cluster, resource: &ConfigResource, wanted: &[(&str, &str)]) {
    for (at, node) in cluster.nodes() {
        for (config, wanted) in wanted {
            let what = format!("broker {at} has {config}");
            eventually(&what, || (value(node, resource, config).as_deref() == Some(*wanted)).then_some(()));
        }
    }
}

/// One broker's change of `resource` reaches the metadata store, as keys with `prefix`, after a later one of another.
fn cross(resource: &ConfigResource, prefix: &'static str, first: (&str, &str), second: (&str, &str)) {
    let cluster = Cluster::start(3);
    cluster.create("t", 1, &[]);
    let store = &cluster.machines[1].store;
    store.hold(prefix);
    thread::scope(|scope| {
        let late = scope.spawn(|| set(cluster.node(1), resource, first.0, first.1));
        eventually("the first is on its way", || (store.holds() == 1).then_some(()));
        set(cluster.node(2), resource, second.0, second.1).unwrap();
        store.release();
        late.join().unwrap().unwrap();
    });
    all_have(&cluster, resource, &[first, second]);
    cluster.stop_all();
}

#[test]
fn changes_of_a_topic_that_cross_are_both_in_force() {
    let topic = ConfigResource::Topic("t".to_owned());
    cross(&topic, "topic/", ("retention.ms", "3600000"), ("retention.bytes", "1000000"));
}

#[test]
fn changes_of_all_brokers_that_cross_are_both_in_force() {
    let brokers = ConfigResource::Broker(None);
    cross(&brokers, "settings", ("log.retention.ms", "3600000"), ("log.retention.bytes", "1000000"));
}

#[test]
fn a_change_whose_broker_died_is_completed_by_the_controller() {
    let mut cluster = Cluster::start(2);
    cluster.create("t", 1, &[]);
    let controller = eventually("a controller", || {
        cluster
            .nodes()
            .find_map(|(_, node)| usize::try_from(node.run(node.broker().describe_cluster()).controller?).ok())
    });
    let other = 1 - controller;
    let topic = ConfigResource::Topic("t".to_owned());
    cluster.machines[other].fail.arm("topic.changed", FailAction::Error);
    set(cluster.node(other), &topic, "retention.ms", "3600000").unwrap_err();
    cluster.kill(other);
    all_have(&cluster, &topic, &[("retention.ms", "3600000")]);
    eventually("nothing is noted any more", || cluster.keys("changing/").is_empty().then_some(()));
    cluster.stop_all();
}
