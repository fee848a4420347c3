//! How good a placement is, and how fast it is found.

use super::*;

fn plan(brokers: &[BrokerView], partitions: &[PartitionView]) -> Vec<Step> {
    let sessions = active(brokers.iter().map(|broker| broker.id));
    decide(brokers, &sessions, partitions, Limits::default()).steps
}

fn target(step: &Step) -> u64 {
    match step {
        Step::Assign { to, .. } | Step::Move { to, .. } => *to,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_partitions_of_a_dead_broker_are_spread_and_nothing_else_moves() {
    let brokers = [broker(0), broker(2)];
    let partitions: Vec<_> = (0..9).map(|n| led(n, n % 3)).collect();
    let steps = plan(&brokers, &partitions);
    assert_eq!(steps.len(), 3);
    assert!(steps.iter().all(|step| matches!(step, Step::Assign { tp, .. } if tp.partition % 3 == 1)), "{steps:?}");
    let mut counts = counts(&brokers, &carried_out(&partitions, &steps));
    counts.sort_unstable();
    assert_eq!(counts, [4, 5]);
}

#[test]
fn a_broker_that_joins_takes_its_share_and_no_more() {
    let brokers = [broker(0), broker(1), broker(2)];
    let partitions: Vec<_> = (0..12).map(|n| led(n, n % 2)).collect();
    let steps = plan(&brokers, &partitions);
    assert_eq!(steps.len(), 4, "{steps:?}");
    assert!(steps.iter().all(|step| matches!(step, Step::Move { to, .. } if *to == session(2))));
    assert_eq!(counts(&brokers, &carried_out(&partitions, &steps)), [4, 4, 4]);
}

#[test]
fn a_topic_is_spread_over_brokers_and_zones() {
    let zoned = |id, zone: &str| BrokerView { zone: Some(zone.to_owned()), ..broker(id) };
    let brokers = [zoned(0, "a"), zoned(1, "a"), zoned(2, "b"), zoned(3, "b")];
    let partitions = [0, 1].map(|n| PartitionView { record: None, ..led(n, 0) });
    let steps = plan(&brokers, &partitions);
    let zone = |step| brokers.iter().find(|broker| broker.session == target(step)).unwrap().zone.clone();
    assert_ne!(zone(&steps[0]), zone(&steps[1]));

    // Two of one topic on one broker, where another has fewer in all.
    let other = |topic, n, leader| PartitionView { tp: tp(topic, n), ..led(n, leader) };
    let partitions = [led(0, 0), led(1, 0), other(2, 0, 0), other(3, 0, 1), other(4, 0, 1)];
    let [Step::Move { tp: found, .. }] = plan(&brokers[..2], &partitions)[..] else { panic!("nothing moves") };
    assert_eq!(found, tp(1, 0));
}

#[test]
fn what_goes_is_of_the_topic_that_is_crowded() {
    let of = |topic, n, leader| PartitionView { tp: tp(topic, n), ..led(n, leader) };
    let partitions = [of(1, 0, 0), of(1, 1, 1), of(9, 0, 0), of(9, 1, 0)];
    let [Step::Move { tp: found, .. }] = plan(&[broker(0), broker(1)], &partitions)[..] else { panic!("not one") };
    assert_eq!(found, tp(9, 0));
}

#[test]
fn what_was_asked_to_come_stays_before_another_has_to_go() {
    let partitions = [led(0, 1), led(1, 1), led(2, 1), moving(3, 0, 1)];
    let expected = [Step::Unmove { tp: tp(1, 3) }, moved(0, 1, 0)];
    assert_eq!(plan(&[broker(0), broker(1)], &partitions), expected);
}

#[test]
fn the_heavy_ones_are_placed_first() {
    let traffic = [10, 1, 1, 10];
    let partitions: Vec<_> =
        (0..).zip(traffic).map(|(n, traffic)| PartitionView { record: None, traffic, ..led(n, 0) }).collect();
    let mut sums = [0, 0];
    for (step, traffic) in plan(&[broker(0), broker(1)], &partitions).iter().zip(traffic) {
        sums[usize::from(target(step) == session(1))] += traffic;
    }
    assert_eq!(sums, [11, 11]);
}

#[test]
fn moves_are_as_few_as_that_takes() {
    for (counts, fewest) in [([9, 0, 0], 6), ([5, 3, 1], 2), ([4, 3, 3], 0), ([8, 1, 1], 4), ([0, 10, 1], 6)] {
        let leaders = (0..).zip(counts).flat_map(|(leader, count)| std::iter::repeat_n(leader, count));
        let partitions: Vec<_> =
            (0..).zip(leaders).map(|(n, leader)| PartitionView { tp: tp(1, n), ..led(n, leader) }).collect();
        assert_eq!(plan(&[broker(0), broker(1), broker(2)], &partitions).len(), fewest, "{counts:?}");
    }
}

/// Of a size at which anything that takes the square of it would be noticed.
#[test]
fn ten_thousand_partitions_find_their_place() {
    let brokers: Vec<_> = (0..10).map(broker).collect();
    let sessions = active(0..10);
    let limits = Limits { moves: usize::MAX, ..Limits::default() };
    for topics in [1, 1_000, 10_000] {
        let view = |n: i32, record| {
            let (n, traffic) = (u64::try_from(n).unwrap(), u64::try_from(n % 97).unwrap() * 1_000);
            PartitionView {
                tp: tp(u128::from(n % topics), i32::try_from(n / topics).unwrap()),
                record,
                traffic,
                settled: true,
            }
        };
        let new: Vec<_> = (0..10_000).map(|n| view(n, None)).collect();
        // One leads three times its share.
        let heap: Vec<_> = (0..10_000).map(|n| view(n, led(n, (n % 12 - 2).max(0)).record)).collect();
        for (partitions, steps) in [(new, 10_000), (heap, 1_500)] {
            let decision = decide(&brokers, &sessions, &partitions, limits);
            assert!(decision.steps.len() >= steps);
            let after = carried_out(&partitions, &decision.steps);
            assert_eq!(decide(&brokers, &sessions, &after, limits), Decision::default(), "{topics} topics");
            assert!(counts(&brokers, &after).iter().all(|count| *count == 1_000));
        }
    }
}
