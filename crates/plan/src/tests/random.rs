//! Random lives of a cluster. A failure prints the shortest life that fails, and the next run of the test repeats it.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::world::World;
use super::*;

#[derive(Debug, Clone, Copy)]
enum Op {
    Start(usize),
    Kill(usize),
    Drain(usize, bool),
    Create(u128, u64),
    Traffic(usize, u64),
    Write(usize),
    Ship(usize),
    Resign(usize),
    HandOver(usize),
    Seal(bool),
    /// A decision, of which so many steps are carried out.
    Decide(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let (broker, partition, traffic) = (|| 0..6_usize, || 0..40_usize, || 0..1_000_u64);
    prop_oneof![
        4 => broker().prop_map(Op::Start),
        2 => broker().prop_map(Op::Kill),
        2 => (broker(), any::<bool>()).prop_map(|(broker, leaves)| Op::Drain(broker, leaves)),
        4 => (0..4_u128, traffic()).prop_map(|(topic, traffic)| Op::Create(topic, traffic)),
        1 => (partition(), traffic()).prop_map(|(one, traffic)| Op::Traffic(one, traffic)),
        3 => partition().prop_map(Op::Write),
        2 => partition().prop_map(Op::Ship),
        1 => partition().prop_map(Op::Resign),
        3 => partition().prop_map(Op::HandOver),
        2 => any::<bool>().prop_map(Op::Seal),
        6 => prop_oneof![Just(usize::MAX), 0..4_usize].prop_map(Op::Decide),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    let moves = prop_oneof![Just(usize::MAX), 0..5_usize];
    (0..4_usize, moves).prop_map(|(fences, moves)| Limits { fences, moves, ..Limits::default() })
}

/// A cluster of a few brokers that are up, and its partitions.
fn life(ops: &[Op], limits: Limits) -> World {
    let mut world = World::new(6);
    (0..3).for_each(|broker| world.start(broker));
    for op in ops {
        match *op {
            Op::Start(broker) => world.start(broker),
            Op::Kill(broker) => world.kill(broker),
            Op::Drain(broker, leaves) => world.drain(broker, leaves),
            Op::Create(topic, traffic) => world.create(topic, traffic),
            Op::Traffic(one, traffic) => world.set_traffic(one, traffic),
            Op::Write(one) => world.write(one),
            Op::Ship(one) => world.ship(one),
            Op::Resign(one) => world.resign(one),
            Op::HandOver(one) => drop(world.hand_over(one)),
            Op::Seal(forget) => world.seal(forget),
            Op::Decide(count) => {
                let decision = world.decide(limits);
                check(&world, &decision, limits);
                decision.steps.into_iter().take(count).for_each(|step| world.carry_out(step));
            }
        }
    }
    world
}

/// What holds of each decision.
fn check(world: &World, decision: &Decision, limits: Limits) {
    let record = |tp: TopicPartition| world.partitions.iter().find(|one| one.tp == tp).unwrap().record.as_ref();
    let disk_of = |session| world.alive().iter().find(|broker| broker.session == session).unwrap().disk;
    let (mut fences, mut assigns, mut moves) = (0, 0, 0);
    let mut seen = BTreeSet::new();
    for step in &decision.steps {
        match *step {
            Step::Fence { session } => {
                assert!(world.is_active(session) && !world.is_alive(session), "{step:?}");
                fences += 1;
            }
            Step::Assign { tp, epoch, to } => {
                assert!(seen.insert(tp) && world.is_alive(to) && world.is_active(to), "{step:?}");
                let record = record(tp);
                let needs_a_disk = record.is_some_and(|led| !led.local.is_empty());
                assert!(needs_a_disk || world.is_able(to), "{step:?}: it leaves");
                assert_eq!(epoch.0, record.map_or(0, |led| led.epoch.0 + 1), "{step:?}");
                if let Some(led) = record {
                    assert!(!led.leader.is_some_and(|leader| world.is_active(leader)), "{step:?}: it may write");
                    assert!(led.local.iter().all(|disk| *disk == disk_of(to)), "{step:?}: {:?}", led.local);
                }
                assigns += 1;
            }
            Step::Move { tp, from, to } => {
                assert!(seen.insert(tp) && world.is_able(to) && to != from, "{step:?}");
                let led = record(tp).unwrap();
                assert!(led.leader == Some(from) && world.is_alive(from), "{step:?}");
                assert!(!led.move_to.is_some_and(|to| to != from && world.is_able(to)), "{step:?}: asked again");
                moves += usize::from(world.is_able(from));
            }
            Step::Unmove { tp } => {
                let led = record(tp).unwrap();
                assert!(seen.insert(tp) && led.move_to.is_some(), "{step:?}");
                assert!(led.leader.is_some_and(|leader| world.is_alive(leader)), "{step:?}");
            }
        }
    }
    let silent =
        world.sessions().iter().filter(|one| world.is_active(one.session) && !world.is_alive(one.session)).count();
    assert_eq!(fences, silent.min(limits.fences.max(1)));
    if moves > 0 {
        assert!(assigns == 0, "evened out while something is not led");
        let mut after = world.partitions.clone();
        for step in &decision.steps {
            if let Step::Move { tp, .. } | Step::Unmove { tp } = step {
                world::apply(after.iter_mut().find(|one| one.tp == *tp).unwrap(), *step);
            }
        }
        let under_way = |one: &&PartitionView| {
            let led = one.record.as_ref();
            led.is_some_and(|led| led.leader.is_some_and(|leader| world.is_active(leader)) && led.move_to.is_some())
        };
        let under_way = after.iter().filter(under_way).count();
        assert!(under_way <= limits.moves, "{under_way} moves under way");
    }
}

/// Decides until there is nothing to do; between decisions, leaders hand over or do not.
fn come_to_rest(world: &mut World, limits: Limits, hand_over: bool) -> Decision {
    // A move for each partition to even out numbers, as many for topics and for traffic, and one at a time.
    for _ in 0..20 + 10 * world.partitions.len() {
        let decision = world.decide(limits);
        check(world, &decision, limits);
        decision.steps.iter().for_each(|step| world.carry_out(*step));
        let moved = hand_over && (0..world.partitions.len()).filter(|one| world.hand_over(*one)).count() > 0;
        if decision.steps.is_empty() && !moved {
            return decision;
        }
    }
    panic!("it never ends: {world:?}");
}

fn leader(world: &World, one: &PartitionView) -> Option<u64> {
    one.record.as_ref().and_then(|led| led.leader).filter(|leader| world.is_alive(*leader) && world.is_active(*leader))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_happened_it_comes_to_rest(ops in prop::collection::vec(op(), 1..120), limits in limits()) {
        let mut world = life(&ops, limits);
        // Moves that are never made do not keep it busy.
        come_to_rest(&mut world, limits, false);
        let decision = come_to_rest(&mut world, Limits { moves: limits.moves.max(1), ..limits }, true);

        let able = world.able();
        prop_assume!(!able.is_empty());
        let mut waiting: BTreeSet<_> = decision.waiting.iter().map(|waiting| waiting.tp).collect();
        for one in &world.partitions {
            let led = leader(&world, one);
            // Led by somebody who may, or rightly not at all.
            if led.is_none() {
                prop_assert!(waiting.remove(&one.tp), "{:?}", one);
                let local = &one.record.as_ref().unwrap().local;
                let all = |disk| local.iter().all(|other| *other == disk);
                let may_write = |broker: &BrokerView| world.is_active(broker.session);
                prop_assert!(!world.alive().iter().filter(|broker| may_write(broker)).any(|broker| all(broker.disk)));
            } else {
                prop_assert!(led.is_some_and(|leader| world.is_able(leader)), "{:?}", one);
                prop_assert_eq!(one.record.as_ref().unwrap().move_to, None);
            }
        }
        prop_assert!(waiting.is_empty(), "{:?}", waiting);
        let leaders: Vec<_> = world.partitions.iter().map(|one| leader(&world, one)).collect();
        let leads = |broker: &BrokerView| leaders.iter().filter(|leader| **leader == Some(broker.session)).count();
        let counts: Vec<_> = able.iter().map(leads).collect();
        prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{:?}", counts);
    }

    /// What is given in another order is decided the same.
    #[test]
    fn order_does_not_matter(ops in prop::collection::vec(op(), 1..60), limits in limits()) {
        let world = life(&ops, limits);
        let (mut brokers, mut sessions, mut partitions) = (world.alive(), world.sessions(), world.partitions.clone());
        brokers.reverse();
        sessions.reverse();
        partitions.reverse();
        prop_assert_eq!(decide(&brokers, &sessions, &partitions, limits), world.decide(limits));
    }

    /// Even where all moves are made at once, they are as few as numbers alone ask for.
    #[test]
    fn no_move_is_made_in_vain(leaders in prop::collection::vec(0..4_i32, 0..60)) {
        let brokers: Vec<_> = (0..4).map(broker).collect();
        let views = (0..).zip(&leaders).map(|(n, leader)| PartitionView { tp: tp(n, 0), ..led(0, *leader) });
        let partitions: Vec<_> = views.collect();
        let mut before = counts(&brokers, &partitions);
        before.sort_unstable_by_key(|count| std::cmp::Reverse(*count));
        let share = |at: usize| leaders.len() / 4 + usize::from(at < leaders.len() % 4);
        let fewest: usize = before.iter().enumerate().map(|(at, count)| count.saturating_sub(share(at))).sum();
        let decision = decide(&brokers, &active(0..4), &partitions, Limits::default());
        prop_assert_eq!(decision.steps.len(), fewest);
    }
}
