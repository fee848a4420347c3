#![allow(clippy::unwrap_used)]
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn topic(n: u8) -> TopicId {
    TopicId(Uuid::from_bytes([n; 16]))
}

fn sizes(sizes: &[i32]) -> BTreeMap<TopicId, i32> {
    (0_u8..).zip(sizes).map(|(n, size)| (topic(n), *size)).collect()
}

/// Assigns to members that read these topics and hold that; numbers of topics stand for them.
fn assign(assignor: Assignor, members: &[(Vec<u8>, Partitions)], sizes: &BTreeMap<TopicId, i32>) -> Vec<Partitions> {
    let ids: Vec<_> = (0..members.len()).map(|n| format!("m{n:03}")).collect();
    let subscribers: Vec<_> = members
        .iter()
        .zip(&ids)
        .map(|((topics, held), id)| Subscriber {
            id,
            instance_id: None,
            topics: topics.iter().map(|n| topic(*n)).collect(),
            held,
        })
        .collect();
    assignor.assign(&subscribers, sizes)
}

fn fresh(members: &[&[u8]]) -> Vec<(Vec<u8>, Partitions)> {
    members.iter().map(|topics| (topics.to_vec(), Partitions::default())).collect()
}

fn of(assigned: &Partitions, n: u8) -> Vec<i32> {
    assigned.iter().filter(|(id, _)| *id == topic(n)).map(|(_, partition)| partition).collect()
}

#[test]
fn ranges_are_neighbours_and_topics_of_one_size_are_cut_alike() {
    let assigned = assign(Assignor::Range, &fresh(&[&[0, 1], &[0, 1], &[0]]), &sizes(&[7, 4]));
    assert_eq!([0, 1, 2].map(|m| of(&assigned[m], 0)), [vec![0, 1, 2], vec![3, 4], vec![5, 6]]);
    assert_eq!([0, 1, 2].map(|m| of(&assigned[m], 1)), [vec![0, 1], vec![2, 3], vec![]]);
}

#[test]
fn a_new_member_takes_no_more_than_its_share() {
    let sizes = sizes(&[6, 6]);
    let before = assign(Assignor::Uniform, &fresh(&[&[0, 1], &[0, 1]]), &sizes);
    assert_eq!(before.iter().map(Partitions::len).collect::<Vec<_>>(), [6, 6]);
    let mut members: Vec<_> = before.iter().map(|held| (vec![0, 1], held.clone())).collect();
    members.push((vec![0, 1], Partitions::default()));
    let after = assign(Assignor::Uniform, &members, &sizes);
    assert_eq!(after.iter().map(Partitions::len).collect::<Vec<_>>(), [4, 4, 4]);
    assert!(after[0].is_subset(&before[0]) && after[1].is_subset(&before[1]));
    assert_eq!(assign(Assignor::Uniform, &members, &sizes), after, "the same twice");
}

#[test]
fn who_reads_more_leaves_the_rest_to_others() {
    // Member 1 alone reads topic 1, so member 0 gets most of topic 0.
    let assigned = assign(Assignor::Uniform, &fresh(&[&[0], &[0, 1]]), &sizes(&[6, 4]));
    assert_eq!((assigned[0].len(), assigned[1].len()), (5, 5));
    assert_eq!(of(&assigned[1], 1).len(), 4);
    // Nobody reads topic 1.
    let assigned = assign(Assignor::Uniform, &fresh(&[&[0], &[]]), &sizes(&[3]));
    assert_eq!((assigned[0].len(), assigned[1].len()), (3, 0));
}

#[test]
fn what_is_gone_is_not_kept() {
    let held: Partitions = [(topic(0), 0), (topic(0), 9), (topic(7), 0)].into_iter().collect();
    let assigned = assign(Assignor::Uniform, &[(vec![0], held)], &sizes(&[2]));
    assert_eq!(assigned[0], [(topic(0), 0), (topic(0), 1)].into_iter().collect());
}

fn any_members() -> impl Strategy<Value = Vec<(Vec<u8>, Partitions)>> {
    let topics = prop::collection::btree_set(0_u8..5, 0..5).prop_map(|topics| topics.into_iter().collect());
    let held = prop::collection::vec((0_u8..6, 0_i32..10), 0..12)
        .prop_map(|held| held.into_iter().map(|(n, p)| (topic(n), p)).collect());
    prop::collection::vec((topics, held), 1..9)
}

proptest! {
    #[test]
    fn each_partition_goes_to_one_who_reads_it(members in any_members(), counts in prop::collection::vec(0_i32..9, 5), range: bool) {
        let (sizes, assignor) = (sizes(&counts), if range { Assignor::Range } else { Assignor::Uniform });
        let assigned = assign(assignor, &members, &sizes);
        for (id, count) in &sizes {
            let readers: Vec<_> = members.iter().map(|(topics, _)| topics.iter().any(|n| topic(*n) == *id)).collect();
            for partition in 0..*count {
                let owners: Vec<_> = (0..members.len()).filter(|m| assigned[*m].contains(*id, partition)).collect();
                prop_assert_eq!(owners.len(), usize::from(readers.contains(&true)));
                prop_assert!(owners.iter().all(|owner| readers[*owner]));
            }
        }
        let known = assigned.iter().flat_map(Partitions::iter).all(|(id, p)| sizes.get(&id).is_some_and(|n| p < *n));
        prop_assert!(known);
    }

    #[test]
    fn no_single_move_would_make_it_more_even(members in any_members(), counts in prop::collection::vec(0_i32..9, 5)) {
        let sizes = sizes(&counts);
        let assigned = assign(Assignor::Uniform, &members, &sizes);
        for from in &assigned {
            for (id, _) in from.iter() {
                for (to, (topics, _)) in assigned.iter().zip(&members) {
                    if topics.iter().any(|n| topic(*n) == id) {
                        prop_assert!(from.len() <= to.len() + 1);
                    }
                }
            }
        }
    }
}
