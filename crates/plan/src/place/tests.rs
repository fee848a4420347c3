use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn broker(id: i32) -> BrokerView {
    BrokerView { id, zone: None, draining: false }
}

fn partition(topic: u128, partition: i32, leader: Option<i32>, traffic: u64) -> PartitionView {
    PartitionView { tp: TopicPartition { topic: TopicId(Uuid::from_u128(topic)), partition }, leader, traffic }
}

/// What is led by whom once the plan is carried out.
fn carried_out(partitions: &[PartitionView], plan: &[Assignment]) -> Vec<PartitionView> {
    let new = |one: &PartitionView| plan.iter().find(|assignment| assignment.tp == one.tp).map(|found| found.to);
    partitions.iter().map(|one| PartitionView { leader: new(one).or(one.leader), ..*one }).collect()
}

fn counts(brokers: &[BrokerView], partitions: &[PartitionView]) -> Vec<usize> {
    brokers.iter().map(|broker| partitions.iter().filter(|one| one.leader == Some(broker.id)).count()).collect()
}

#[test]
fn the_partitions_of_a_dead_broker_are_spread_and_nothing_else_moves() {
    let brokers = [broker(0), broker(2)];
    let partitions: Vec<_> = (0..9).map(|n| partition(1, n, Some(n % 3), 10)).collect();
    let plan = place(&brokers, &partitions, Limits::default());
    assert_eq!(plan.len(), 3);
    assert!(plan.iter().all(|one| one.from.is_none() && one.tp.partition % 3 == 1), "{plan:?}");
    let mut counts = counts(&brokers, &carried_out(&partitions, &plan));
    counts.sort_unstable();
    assert_eq!(counts, [4, 5]);
}

#[test]
fn a_broker_that_joins_takes_its_share_and_no_more() {
    let brokers = [broker(0), broker(1), broker(2)];
    let partitions: Vec<_> = (0..12).map(|n| partition(1, n, Some(n % 2), 10)).collect();
    let plan = place(&brokers, &partitions, Limits::default());
    assert_eq!(plan.len(), 4, "{plan:?}");
    assert!(plan.iter().all(|one| one.to == 2 && one.from.is_some()));
    assert_eq!(counts(&brokers, &carried_out(&partitions, &plan)), [4, 4, 4]);
}

#[test]
fn a_broker_that_leaves_hands_everything_over() {
    let brokers = [broker(0), BrokerView { draining: true, ..broker(1) }];
    let partitions: Vec<_> = (0..6).map(|n| partition(1, n, Some(n % 2), 0)).collect();
    let plan = place(&brokers, &partitions, Limits { moves: 0, ..Limits::default() });
    assert_eq!(plan.len(), 3);
    assert!(plan.iter().all(|one| one.from == Some(1) && one.to == 0), "{plan:?}");
}

#[test]
fn nobody_to_lead_is_no_plan() {
    let all = [partition(1, 0, Some(7), 0)];
    assert_eq!(place(&[], &all, Limits::default()), []);
    assert_eq!(place(&[BrokerView { draining: true, ..broker(7) }], &all, Limits::default()), []);
}

#[test]
fn traffic_counts_where_numbers_are_even() {
    let brokers = [broker(0), broker(1)];
    // Three busy ones and one quiet one, against three quiet ones of the same topic.
    let on_0 = (0..4).map(|n| partition(1, n, Some(0), if n < 3 { 100 } else { 1 }));
    let partitions: Vec<_> = on_0.chain((4..7).map(|n| partition(1, n, Some(1), 1))).collect();
    let plan = place(&brokers, &partitions, Limits::default());
    assert_eq!(plan.len(), 1, "{plan:?}");
    assert_eq!((plan[0].from, plan[0].to), (Some(0), 1));
    assert!(plan[0].tp.partition < 3, "a busy one");
}

#[test]
fn a_topic_is_spread_over_zones() {
    let zoned = |id, zone: &str| BrokerView { zone: Some(zone.to_owned()), ..broker(id) };
    let brokers = [zoned(0, "a"), zoned(1, "a"), zoned(2, "b"), zoned(3, "b")];
    let partitions = [partition(1, 0, None, 0), partition(1, 1, None, 0)];
    let plan = place(&brokers, &partitions, Limits::default());
    let zone = |id: i32| brokers.iter().find(|broker| broker.id == id).and_then(|broker| broker.zone.clone());
    assert_ne!(zone(plan[0].to), zone(plan[1].to));
}

fn cluster() -> impl Strategy<Value = (Vec<BrokerView>, Vec<PartitionView>)> {
    let brokers = proptest::collection::vec((proptest::option::of(0..3_u8), proptest::bool::weighted(0.2)), 1..7);
    let partitions = proptest::collection::vec((0..4_u128, proptest::option::of(0..8_i32), 0..1_000_u64), 0..60);
    (brokers, partitions).prop_map(|(brokers, partitions)| {
        let brokers = (0..).zip(brokers).map(|(id, (zone, draining))| BrokerView {
            id,
            zone: zone.map(|zone| zone.to_string()),
            draining,
        });
        let partitions =
            (0..).zip(partitions).map(|(n, (topic, leader, traffic))| partition(topic, n, leader, traffic));
        (brokers.collect(), partitions.collect())
    })
}

proptest! {
    #[test]
    fn plans_are_whole_even_small_and_final((brokers, partitions) in cluster()) {
        let limits = Limits { moves: usize::MAX, ..Limits::default() };
        let able: Vec<BrokerView> = brokers.iter().filter(|broker| !broker.draining).cloned().collect();
        let plan = place(&brokers, &partitions, limits);
        prop_assume!(!able.is_empty());
        let after = carried_out(&partitions, &plan);

        // Whole: everything is led by somebody who may.
        prop_assert!(after.iter().all(|one| able.iter().any(|broker| Some(broker.id) == one.leader)));
        // Even, in number.
        let counts = counts(&able, &after);
        prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{:?}", counts);
        // Final: made again, it is empty.
        prop_assert_eq!(place(&brokers, &after, limits), []);
        // Each partition once, and nothing moves to where it is.
        let mut seen: Vec<_> = plan.iter().map(|one| one.tp).collect();
        seen.dedup();
        prop_assert_eq!(seen.len(), plan.len());
        prop_assert!(plan.iter().all(|one| one.from != Some(one.to)));
    }

    /// With a limit there are no more moves than that besides those that must be.
    #[test]
    fn limits_hold((brokers, partitions) in cluster(), moves in 0..5_usize) {
        let able = |leader: i32| brokers.iter().any(|broker| broker.id == leader && !broker.draining);
        let plan = place(&brokers, &partitions, Limits { moves, ..Limits::default() });
        let free = plan.iter().filter(|one| one.from.is_some_and(able)).count();
        prop_assert!(free <= moves, "{free} moves");
    }
}
