//! The controller hears what goes through partitions, and moves them for that.

use std::time::Duration;

use runnel_api::{Cluster as _, Traffic as _, Weigh as _};
use runnel_broker::{BalanceOptions, Pace};
use runnel_peer::ask_traffic;

use crate::support::client::name;
use crate::support::cluster::Cluster;
use crate::support::direct::direct;
use crate::support::{batch, eventually, values};

/// In each second of the clock: a topic, two of its partitions, and what is appended to both.
type Load = (&'static str, [i32; 2], usize);

const SECOND_MS: i64 = 1_000;

fn start() -> Cluster {
    let mut cluster = Cluster::without_brokers(2);
    let pace = Pace { memory: Duration::from_secs(10), settled: Duration::from_secs(20) };
    cluster.balance = BalanceOptions { pace, least_gain: 100 };
    (0..2).for_each(|at| cluster.start_one(at));
    cluster
}

/// Lets a second pass.
fn pass_second(cluster: &Cluster, load: &[Load]) {
    for (topic, partitions, bytes) in load {
        for partition in partitions {
            cluster.append(topic, *partition, &batch(&values("v", 1, *bytes)));
        }
    }
    cluster.world.clock.advance(SECOND_MS);
    let peers = direct(cluster);
    for (_, node) in cluster.nodes() {
        node.run(ask_traffic(&*node.broker(), &*peers));
    }
}

/// Two partitions of a topic that broker 0 leads.
fn two_of_one(cluster: &Cluster, topic: &str) -> [i32; 2] {
    let led: Vec<i32> = (0..4).filter(|partition| cluster.leader(topic, *partition) == 0).collect();
    led.try_into().unwrap()
}

fn epochs(cluster: &Cluster, topic: &str) -> Vec<i32> {
    let node = cluster.node(0);
    let found = node.run(node.broker().describe_topic(&name(topic), false)).unwrap();
    found.partitions.iter().map(|one| one.leader_epoch.0).collect()
}

#[test]
fn busy_partitions_end_up_on_different_brokers_and_stay_there() {
    let cluster = start();
    cluster.create("t", 4, &[]);
    cluster.create("u", 4, &[]);
    let apart = |of: &str, [one, other]: [i32; 2], load: &[Load]| {
        eventually("a move for traffic", || {
            pass_second(&cluster, load);
            (cluster.leader(of, one) != cluster.leader(of, other)).then_some(())
        });
    };
    let busy = two_of_one(&cluster, "t");
    let load: Load = ("t", busy, 8_000);
    apart("t", busy, &[load]);
    // Another came for the one that went, and each of them moved once.
    let is_led_by_0 = |partition: &i32| cluster.leader("t", *partition) == 0;
    eventually("the exchange", || ((0..4).filter(is_led_by_0).count() == 2).then_some(()));
    let settled = epochs(&cluster, "t");
    assert_eq!(settled.iter().sum::<i32>(), 2, "{settled:?}");

    // Where there is a reason to move something, the controller knows of this as well, and leaves it.
    let busy = two_of_one(&cluster, "u");
    apart("u", busy, &[load, ("u", busy, 4_000)]);
    assert_eq!(epochs(&cluster, "t"), settled);
    cluster.stop_all();
}

#[test]
fn only_the_controller_asks_and_a_broker_tells_of_what_it_leads() {
    let cluster = start();
    cluster.create("t", 4, &[]);
    let controller = |at: usize| {
        let node = cluster.node(at);
        node.run(node.broker().describe_cluster()).controller == i32::try_from(at).ok()
    };
    let at = (0..2).find(|at| controller(*at)).unwrap();
    assert_eq!(cluster.node(1 - at).broker().weighed(), []);
    let asked: Vec<i32> = cluster.node(at).broker().weighed().iter().map(|node| node.id).collect();
    assert_eq!(asked.len(), 2, "{asked:?}");

    let records = batch(&values("v", 1, 1_000));
    let sent = cluster.node(cluster.leader("t", 3)).append("t", 3, records.clone());
    let read = cluster.read("t", 3);
    assert_eq!((sent, read.len()), (0, 1));
    let told = eventually("all partitions are open", || {
        let told = cluster.nodes().map(|(_, node)| node.run(node.broker().traffic()).unwrap());
        Some(told.collect::<Vec<_>>()).filter(|told| told.iter().all(|flows| flows.len() == 2))
    });
    let busy: Vec<_> = told.iter().flatten().filter(|flow| flow.bytes > 0).collect();
    let [flow] = busy[..] else { panic!("{told:?}") };
    assert_eq!((flow.tp.partition, flow.bytes), (3, 2 * records.len() as u64), "appended and read once");
    cluster.stop_all();
}
