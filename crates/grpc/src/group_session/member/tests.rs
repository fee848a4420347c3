#![allow(clippy::unwrap_used)]

use std::time::Duration;

use uuid::Uuid;

use super::*;

const TOPIC: TopicId = TopicId(Uuid::from_bytes([7; 16]));

fn parts(numbers: &[i32]) -> Partitions {
    numbers.iter().map(|number| (TOPIC, *number)).collect()
}

fn answer(member: &mut Member, epoch: i32, granted: &[i32]) -> Vec<Step> {
    let assignment = Some(parts(granted));
    member.answered(ConsumerBeat { member_id: "m".to_owned(), epoch, interval: Duration::from_secs(5), assignment })
}

fn begun(member: &mut Member, found: &[i32]) -> Partitions {
    member.begun(found.iter().map(|number| (TOPIC, *number, "t".to_owned())))
}

/// A member in epoch 1 that holds these.
fn holding(numbers: &[i32]) -> Member {
    let mut member = Member::default();
    answer(&mut member, 1, numbers);
    begun(&mut member, numbers);
    member
}

#[test]
fn what_is_granted_is_held_once_its_beginning_is_known() {
    let mut member = Member::default();
    assert_eq!(answer(&mut member, 1, &[0, 1]), [Step::Joined, Step::Begin(parts(&[0, 1]))]);
    assert!(member.held().is_empty());
    assert_eq!(answer(&mut member, 1, &[0, 1]), [], "it is being looked up");
    assert_eq!(begun(&mut member, &[0]), parts(&[0]));
    assert!(member.holds("t", 0) && !member.holds("t", 1) && !member.holds("u", 0));
    assert_eq!(answer(&mut member, 1, &[0, 1]), [Step::Begin(parts(&[1]))], "what was not found is tried again");
}

#[test]
fn what_is_taken_back_while_it_is_looked_up_is_never_held() {
    let mut member = Member::default();
    answer(&mut member, 1, &[0, 1]);
    assert_eq!(answer(&mut member, 2, &[1]), []);
    assert_eq!(begun(&mut member, &[0, 1]), parts(&[1]));
    assert_eq!(*member.held(), parts(&[1]));
}

#[test]
fn what_is_revoked_is_held_until_the_client_lets_go() {
    let mut member = holding(&[0, 1, 2]);
    assert_eq!(answer(&mut member, 1, &[0]), [Step::Revoke(parts(&[1, 2]), 1)]);
    assert_eq!(answer(&mut member, 1, &[0]), [], "it was asked already");
    assert_eq!(*member.held(), parts(&[0, 1, 2]));
    assert!(member.holds("t", 2), "the client may still commit");
    assert_eq!(member.released(1), Some(true));
    assert_eq!(*member.held(), parts(&[0]));
    assert_eq!(answer(&mut member, 2, &[0, 3]), [Step::Begin(parts(&[3]))]);
}

#[test]
fn an_answer_to_an_older_question_lets_nothing_go() {
    let mut member = holding(&[0, 1]);
    answer(&mut member, 1, &[0]);
    assert_eq!(member.fenced(), parts(&[0, 1]), "the member was given up meanwhile");
    assert_eq!(answer(&mut member, 5, &[0, 1]), [Step::Joined, Step::Begin(parts(&[0, 1]))]);
    begun(&mut member, &[0, 1]);
    assert_eq!(member.released(1), Some(false));
    assert_eq!(answer(&mut member, 5, &[1]), [Step::Revoke(parts(&[0]), 2)]);
    assert_eq!(member.released(1), Some(false));
    assert_eq!(*member.held(), parts(&[0, 1]));
    assert_eq!(member.released(2), Some(true));
    assert_eq!(member.released(2), Some(false), "once is enough");
    assert_eq!((member.released(3), member.released(0)), (None, None));
}

#[test]
fn a_member_that_was_given_up_joins_anew_with_nothing() {
    let mut member = holding(&[0, 1]);
    assert_eq!(member.fenced(), parts(&[0, 1]));
    assert_eq!((member.epoch(), member.held().is_empty()), (JOIN, true));
    assert!(!member.holds("t", 0));
    assert_eq!(member.name(TOPIC), "t", "what was lost still has a name");
    assert_eq!(member.fenced(), parts(&[]));
}

#[test]
fn names_are_kept_no_longer_than_their_partitions() {
    let mut member = holding(&[0]);
    answer(&mut member, 1, &[]);
    member.released(1);
    assert_eq!(member.name(TOPIC), "");
}
