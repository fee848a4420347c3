#![allow(clippy::unwrap_used, clippy::panic)]

mod cases;
mod placement;
mod random;
mod traffic;
mod world;

use std::collections::BTreeMap;

use runnel_format::meta::SessionState;
use runnel_record::{LeaderEpoch, TopicId, TopicPartition};
use uuid::Uuid;

use crate::*;

/// The disk of a broker.
fn disk(id: i32) -> Uuid {
    Uuid::from_u128(1_000 + u128::try_from(id).unwrap())
}

/// The first session of a broker.
fn session(id: i32) -> u64 {
    100 + u64::try_from(id).unwrap()
}

/// A broker in its first session.
fn broker(id: i32) -> BrokerView {
    BrokerView { id, session: session(id), disk: disk(id), zone: None, draining: false }
}

fn draining(id: i32) -> BrokerView {
    BrokerView { draining: true, ..broker(id) }
}

/// The record of the first session of a broker.
fn stored(id: i32, state: SessionState) -> SessionView {
    SessionView { session: session(id), disk: disk(id), state }
}

/// The records of the first sessions of brokers that may write.
fn active(ids: impl IntoIterator<Item = i32>) -> Vec<SessionView> {
    ids.into_iter().map(|id| stored(id, SessionState::Active)).collect()
}

fn tp(topic: u128, partition: i32) -> TopicPartition {
    TopicPartition { topic: TopicId(Uuid::from_u128(topic)), partition }
}

/// A partition of topic 1, led by the first session of a broker.
fn led(partition: i32, leader: i32) -> PartitionView {
    let record = Led { epoch: LeaderEpoch(4), leader: Some(session(leader)), move_to: None, local: Vec::new() };
    PartitionView { tp: tp(1, partition), record: Some(record), traffic: 10, settled: true }
}

/// As [`led`], asked to move.
fn moving(partition: i32, leader: i32, to: i32) -> PartitionView {
    let mut view = led(partition, leader);
    view.record.as_mut().unwrap().move_to = Some(session(to));
    view
}

/// As [`led`], with disks that alone hold a part of it.
fn on_disks(partition: i32, leader: i32, disks: &[i32]) -> PartitionView {
    let mut view = led(partition, leader);
    view.record.as_mut().unwrap().local = disks.iter().map(|id| disk(*id)).collect();
    view
}

fn assign(partition: i32, to: i32) -> Step {
    Step::Assign { tp: tp(1, partition), epoch: LeaderEpoch(5), to: session(to) }
}

fn moved(partition: i32, from: i32, to: i32) -> Step {
    Step::Move { tp: tp(1, partition), from: session(from), to: session(to) }
}

/// Partitions as they are once steps are carried out and what was asked to move has moved.
fn carried_out(partitions: &[PartitionView], steps: &[Step]) -> Vec<PartitionView> {
    let mut after: BTreeMap<_, _> = partitions.iter().map(|one| (one.tp, one.clone())).collect();
    for step in steps {
        match step {
            Step::Fence { .. } => {}
            Step::Assign { tp, .. } | Step::Move { tp, .. } | Step::Unmove { tp } => {
                world::apply(after.get_mut(tp).unwrap(), *step);
            }
        }
    }
    after.values_mut().for_each(world::arrive);
    after.into_values().collect()
}

/// How many partitions each broker leads, or is about to.
fn counts(brokers: &[BrokerView], partitions: &[PartitionView]) -> Vec<usize> {
    let leads = |broker: &BrokerView, one: &PartitionView| {
        one.record.as_ref().is_some_and(|led| led.move_to.or(led.leader) == Some(broker.session))
    };
    brokers.iter().map(|broker| partitions.iter().filter(|one| leads(broker, one)).count()).collect()
}
