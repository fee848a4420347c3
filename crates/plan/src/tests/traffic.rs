//! Traffic is evened out, at no cost to anything else, and comes to rest.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// As by default; whatever the unit, it is enough of it.
const LIMITS: Limits =
    Limits { fences: 3, moves: 100, traffic_moves: 4, slack_percent: 25, gain_percent: 5, least_gain: 0 };

fn busy(partition: i32, leader: i32, traffic: u64) -> PartitionView {
    PartitionView { traffic, ..led(partition, leader) }
}

fn of_topic(topic: u128, one: PartitionView) -> PartitionView {
    PartitionView { tp: tp(topic, one.tp.partition), ..one }
}

fn plan(brokers: i32, partitions: &[PartitionView], limits: Limits) -> Vec<Step> {
    let brokers: Vec<_> = (0..brokers).map(broker).collect();
    decide(&brokers, &active(0..brokers.len().try_into().unwrap()), partitions, limits).steps
}

fn leader(one: &PartitionView) -> u64 {
    one.record.as_ref().unwrap().leader.unwrap()
}

/// What goes through each broker.
fn loads(brokers: i32, partitions: &[PartitionView]) -> Vec<u64> {
    let of = |id| partitions.iter().filter(|one| leader(one) == session(id)).map(|one| one.traffic).sum();
    (0..brokers).map(of).collect()
}

#[test]
fn what_is_busy_goes_where_there_are_fewer() {
    // Three busy ones and one quiet one, against three quiet ones of the same topic.
    let on_0 = (0..4).map(|n| busy(n, 0, if n < 3 { 100 } else { 1 }));
    let partitions: Vec<_> = on_0.chain((4..7).map(|n| busy(n, 1, 1))).collect();
    assert_eq!(plan(2, &partitions, LIMITS), [moved(0, 0, 1)]);
}

#[test]
fn what_is_busy_changes_places_with_what_is_quiet() {
    let partitions = [busy(0, 0, 100), busy(1, 0, 90), busy(2, 1, 10), busy(3, 1, 20)];
    assert_eq!(plan(2, &partitions, LIMITS), [moved(0, 0, 1), moved(3, 1, 0)]);
    let after = carried_out(&partitions, &plan(2, &partitions, LIMITS));
    assert_eq!((loads(2, &after), plan(2, &after, LIMITS)), (vec![110, 110], Vec::new()));
}

#[test]
fn topics_stay_as_even_as_they_are() {
    // What is busiest would meet another of its topic, wherever else it goes.
    let partitions = [busy(0, 0, 100), busy(1, 1, 60), of_topic(3, busy(0, 0, 90)), of_topic(2, busy(0, 1, 1))];
    let exchanged = [
        Step::Move { tp: tp(2, 0), from: session(1), to: session(0) },
        Step::Move { tp: tp(3, 0), from: session(0), to: session(1) },
    ];
    assert_eq!(plan(2, &partitions, LIMITS), exchanged);
    let partitions = [busy(0, 0, 100), busy(1, 1, 1), of_topic(2, busy(0, 0, 1)), of_topic(2, busy(1, 1, 1))];
    assert_eq!(plan(2, &partitions, LIMITS), [], "the busiest partition alone is too much wherever it is");
}

#[test]
fn what_gains_little_does_not_move() {
    let partitions = [busy(0, 0, 70), busy(1, 0, 52), busy(2, 1, 50), busy(3, 1, 50)];
    assert_eq!(plan(2, &partitions, LIMITS), [], "a tenth more than the average");
    // Far too much, of which nothing can be taken but crumbs.
    let partitions = [busy(0, 0, 1000), busy(1, 0, 20), busy(2, 1, 1), busy(3, 1, 1)];
    assert_eq!(plan(2, &partitions, LIMITS), []);
    let partitions = [busy(0, 0, 1000), busy(1, 0, 900), busy(2, 1, 10), busy(3, 1, 20)];
    assert_eq!(plan(2, &partitions, LIMITS).len(), 2);
    assert_eq!(plan(2, &partitions, Limits { least_gain: 891, ..LIMITS }), []);
}

#[test]
fn nothing_moves_while_the_traffic_is_not_known() {
    let partitions = [busy(0, 0, 100), busy(1, 0, 90), busy(2, 1, 10), busy(3, 1, 20)];
    assert_eq!(plan(2, &partitions, Limits { traffic_moves: 0, ..LIMITS }), []);
    let unsettled = partitions.clone().map(|one| PartitionView { settled: false, ..one });
    assert_eq!(plan(2, &unsettled, LIMITS), []);
    // What cannot go alone does not go, and what comes alone does not come.
    for at in [[0, 1], [2, 3]] {
        let mut partitions = partitions.clone();
        at.iter().for_each(|at| partitions[*at].settled = false);
        assert_eq!(plan(2, &partitions, LIMITS), []);
    }
}

#[test]
fn few_move_at_once() {
    let pairs = (0..10).flat_map(|n| [busy(2 * n, 0, 100), busy(2 * n + 1, 1, 1)]);
    let mut partitions: Vec<_> = pairs.collect();
    let steps = plan(2, &partitions, LIMITS);
    assert_eq!(steps.len(), 4);
    for step in &steps {
        let Step::Move { tp, .. } = step else { panic!("{step:?}") };
        world::apply(partitions.iter_mut().find(|one| one.tp == *tp).unwrap(), *step);
    }
    assert_eq!(plan(2, &partitions, LIMITS), [], "before they have arrived");
}

/// Brokers that have as many partitions each, with a few that are busy.
fn partitions() -> impl Strategy<Value = (i32, Vec<PartitionView>)> {
    let traffic = prop_oneof![3 => 0..100_u64, 1 => 100..10_000_u64];
    (2..5_i32, prop::collection::vec((0..3_u128, traffic), 0..40)).prop_map(|(brokers, found)| {
        let one = |(n, (topic, traffic)): (i32, (u128, u64))| of_topic(topic, busy(n, n % brokers, traffic));
        (brokers, (0..).zip(found).map(one).collect())
    })
}

/// A measure of how uneven numbers, topics and traffic are, in the order of their weight.
fn unevenness(brokers: i32, partitions: &[PartitionView]) -> [u64; 3] {
    let square = |values: Vec<u64>| values.iter().map(|value| value * value).sum::<u64>();
    let count = |topic: Option<u128>| {
        let counted = partitions.iter().filter(|one| topic.is_none_or(|topic| one.tp.topic == tp(topic, 0).topic));
        let ones: Vec<_> = counted.map(|one| PartitionView { traffic: 1, ..one.clone() }).collect();
        square(loads(brokers, &ones))
    };
    [count(None), (0..3).map(|topic| count(Some(topic))).sum(), square(loads(brokers, partitions))]
}

/// Whether what the busiest broker has too much is a matter of one move or of two that change places.
fn can_be_better(brokers: i32, partitions: &[PartitionView]) -> bool {
    let now = loads(brokers, partitions);
    let (most, average) = (*now.iter().max().unwrap(), now.iter().sum::<u64>() / now.len() as u64);
    let busiest = now.iter().position(|load| *load == most).unwrap();
    let from = session(i32::try_from(busiest).unwrap());
    let [numbers, topics, _] = unevenness(brokers, partitions);
    let is_better = |goes: usize, to: u64, comes: Option<usize>| {
        let mut after = partitions.to_vec();
        let led = |one: &mut PartitionView, by| one.record.as_mut().unwrap().leader = Some(by);
        led(&mut after[goes], to);
        comes.into_iter().for_each(|comes| led(&mut after[comes], from));
        let [numbers_after, topics_after, _] = unevenness(brokers, &after);
        let found = loads(brokers, &after);
        let other = usize::try_from(to - session(0)).unwrap();
        let gain = most.saturating_sub(found[busiest].max(found[other]));
        numbers_after <= numbers && topics_after <= topics && gain >= (average * 5 / 100).max(1)
    };
    let here = (0..partitions.len()).filter(|one| leader(&partitions[*one]) == from);
    let elsewhere = || (0..partitions.len()).filter(|one| leader(&partitions[*one]) != from);
    let mut able = here.filter(|goes| {
        let alone = (0..brokers).map(session).any(|to| to != from && is_better(*goes, to, None));
        let mut quiet = elsewhere().filter(|comes| partitions[*comes].traffic * 2 <= partitions[*goes].traffic);
        alone || quiet.any(|comes| is_better(*goes, leader(&partitions[comes]), Some(comes)))
    });
    most > average + average * 25 / 100 && able.next().is_some()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn it_comes_to_rest_where_nothing_is_better((brokers, mut partitions) in partitions()) {
        let mut moves = 0;
        loop {
            let steps = plan(brokers, &partitions, LIMITS);
            if steps.is_empty() {
                break;
            }
            moves += steps.len();
            prop_assert!(moves <= 2 * partitions.len(), "{moves} moves of {} partitions", partitions.len());
            let before = unevenness(brokers, &partitions);
            partitions = carried_out(&partitions, &steps);
            prop_assert!(unevenness(brokers, &partitions) < before);
        }
        prop_assert!(!can_be_better(brokers, &partitions), "{:?}", loads(brokers, &partitions));
    }

    /// What is measured is never twice the same; a placement that was left is not taken again for that.
    #[test]
    fn a_trembling_moves_nothing_back_and_forth(
        (brokers, partitions) in partitions(),
        trembling in prop::collection::vec(0..20_u64, 400),
    ) {
        const REST: usize = 5;
        let mut placed = partitions.clone();
        let mut moved_at: BTreeMap<TopicPartition, usize> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for round in 0..60 {
            let by = trembling.iter().cycle().skip(round * 37);
            let trembled = placed.iter().zip(&partitions).zip(by).map(|((one, base), by)| {
                let settled = moved_at.get(&one.tp).is_none_or(|at| at + REST <= round);
                // A hundredth more or less.
                PartitionView { traffic: base.traffic * (990 + by), settled, ..one.clone() }
            });
            let trembled: Vec<_> = trembled.collect();
            let steps = plan(brokers, &trembled, LIMITS);
            if steps.is_empty() {
                continue;
            }
            let arrived = carried_out(&trembled, &steps);
            let stepped = steps.iter().map(|step| match step {
                Step::Move { tp, .. } => *tp,
                other => panic!("{other:?}"),
            });
            let [numbers, topics, _] = unevenness(brokers, &trembled);
            let is_for_traffic = unevenness(brokers, &arrived)[..2] == [numbers, topics];
            for tp in stepped {
                let before = moved_at.insert(tp, round);
                let has_rested = before.is_none_or(|at| at + REST <= round);
                prop_assert!(has_rested || !is_for_traffic, "{tp} moves again");
            }
            let leaders: BTreeMap<_, _> = arrived.iter().map(|one| (one.tp, leader(one))).collect();
            prop_assert!(seen.insert(leaders.clone()), "a placement comes again in round {round}");
            for one in &mut placed {
                one.record.as_mut().unwrap().leader = Some(leaders[&one.tp]);
            }
        }
    }
}
