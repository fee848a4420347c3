//! One rule each.

use super::*;

fn steps(brokers: &[BrokerView], sessions: &[SessionView], partitions: &[PartitionView]) -> Vec<Step> {
    decide(brokers, sessions, partitions, Limits::default()).steps
}

#[test]
fn a_partition_that_was_never_led_begins_at_epoch_0() {
    let new = PartitionView { record: None, ..led(0, 0) };
    let expected = Step::Assign { tp: new.tp, epoch: LeaderEpoch::ZERO, to: session(0) };
    assert_eq!(steps(&[broker(0)], &active([0]), &[new]), [expected]);
}

#[test]
fn a_dead_leader_is_fenced_first() {
    let (brokers, partitions) = ([broker(0)], [led(0, 1), led(1, 0)]);
    let fence = Step::Fence { session: session(1) };
    assert_eq!(steps(&brokers, &active([0, 1]), &partitions), [fence]);
    for state in [SessionState::Fencing, SessionState::Sealed] {
        let sessions = [stored(0, SessionState::Active), stored(1, state)];
        assert_eq!(steps(&brokers, &sessions, &partitions), [assign(0, 0)]);
    }
    assert_eq!(steps(&brokers, &active([0]), &partitions), [assign(0, 0)], "the store forgot it");
}

#[test]
fn a_leader_that_was_fenced_leads_no_more_however_alive() {
    let sessions = [stored(0, SessionState::Active), stored(1, SessionState::Fencing)];
    assert_eq!(steps(&[broker(0), broker(1)], &sessions, &[led(0, 1)]), [assign(0, 0)]);
    assert_eq!(steps(&[broker(1)], &sessions[1..], &[led(0, 1)]), []);
}

#[test]
fn a_leader_whose_session_is_not_seen_yet_keeps_what_it_has() {
    let partitions = [led(0, 0), led(1, 0), led(2, 0), led(3, 1)];
    assert_eq!(steps(&[broker(0), broker(1)], &active([1]), &partitions), []);
    assert_eq!(steps(&[broker(0)], &[], &[PartitionView { record: None, ..led(0, 0) }]), [], "and gets nothing");
}

#[test]
fn many_deaths_at_once_are_doubted() {
    let fenced = |fences, dead: i32| {
        let brokers: Vec<_> = (dead..9).map(broker).collect();
        let decision = decide(&brokers, &active(0..9), &[], Limits { fences, ..Limits::default() });
        assert!(decision.steps.iter().all(|step| matches!(step, Step::Fence { .. })));
        decision.steps.len()
    };
    assert_eq!(fenced(3, 0), 0);
    assert_eq!(fenced(3, 2), 2);
    assert_eq!(fenced(3, 9), 3);
    assert_eq!(fenced(0, 1), 1, "one always is");
    assert_eq!(fenced(0, 9), 1);
}

#[test]
fn what_lies_on_a_disk_alone_goes_where_the_disk_is() {
    let again = BrokerView { session: 7, ..broker(1) };
    let mut sessions = active([0, 2]);
    sessions.extend([stored(1, SessionState::Sealed), SessionView { session: 7, ..stored(1, SessionState::Active) }]);
    let partitions = [on_disks(0, 1, &[1]), on_disks(1, 1, &[1, 1]), led(2, 0)];
    let expected = [0, 1].map(|n| Step::Assign { tp: tp(1, n), epoch: LeaderEpoch(5), to: 7 });
    assert_eq!(
        decide(&[broker(0), again, broker(2)], &sessions, &partitions, Limits::default()),
        Decision { steps: expected.to_vec(), waiting: Vec::new() }
    );
}

/// Else nobody could until it may lead everything again.
#[test]
fn a_broker_that_leaves_leads_what_only_its_disk_holds_and_hands_it_over() {
    let again = BrokerView { session: 7, ..draining(1) };
    let sessions = [
        stored(0, SessionState::Active),
        stored(1, SessionState::Sealed),
        SessionView { session: 7, ..stored(1, SessionState::Active) },
    ];
    let partitions = [on_disks(0, 1, &[1]), led(1, 1)];
    let brokers = [broker(0), again];
    let expected = [Step::Assign { tp: tp(1, 0), epoch: LeaderEpoch(5), to: 7 }, assign(1, 0)];
    assert_eq!(steps(&brokers, &sessions, &partitions), expected);
    let back = carried_out(&partitions, &expected);
    let moved = Step::Move { tp: tp(1, 0), from: 7, to: session(0) };
    assert_eq!(steps(&brokers, &sessions, &back), [moved]);
    let fenced = [sessions[0], sessions[1], SessionView { state: SessionState::Fencing, ..sessions[2] }];
    assert_eq!(steps(&brokers, &fenced, &partitions[..1]), [], "it cannot write");
}

#[test]
fn a_disk_that_nobody_may_lead_from_is_waited_for() {
    let check = |brokers: &[BrokerView], sessions: &[SessionView], disks: &[i32], waits_for: i32| {
        let partition = on_disks(0, 1, disks);
        let waiting = vec![Waiting { tp: partition.tp, disk: disk(waits_for) }];
        let expected = Decision { steps: Vec::new(), waiting };
        assert_eq!(decide(brokers, sessions, &[partition], Limits::default()), expected);
    };
    let over = stored(1, SessionState::Sealed);
    check(&[broker(0)], &[over, stored(0, SessionState::Active)], &[1], 1);
    // Several: the one that is missing; if none is, nobody can read the other's all the same.
    let sessions = [over, stored(0, SessionState::Active), stored(2, SessionState::Active)];
    check(&[broker(0), broker(2)], &sessions, &[0, 1, 2], 1);
    check(&[broker(0), broker(2)], &sessions, &[0, 2], 0);
}

#[test]
fn disks_do_not_matter_where_the_leader_can_ship() {
    let partitions = [on_disks(0, 0, &[0]), on_disks(1, 0, &[0])];
    assert_eq!(steps(&[broker(0), broker(1)], &active([0, 1]), &partitions), [moved(0, 0, 1)]);
}

#[test]
fn a_broker_that_leaves_hands_everything_over_whatever_the_limit() {
    let partitions: Vec<_> = (0..6).map(|n| led(n, n % 2)).collect();
    let limits = Limits { moves: 0, ..Limits::default() };
    let decision = decide(&[broker(0), draining(1)], &active([0, 1]), &partitions, limits);
    assert_eq!(decision.steps, [moved(1, 1, 0), moved(3, 1, 0), moved(5, 1, 0)]);
}

#[test]
fn a_move_is_asked_for_once_and_counts_as_made() {
    let brokers = [broker(0), draining(1), broker(2)];
    let partitions = [moving(0, 1, 0), moving(1, 1, 2), led(2, 0), led(3, 2), moving(4, 0, 2)];
    assert_eq!(steps(&brokers, &active([0, 1, 2]), &partitions), []);
}

#[test]
fn a_move_to_somebody_who_is_gone_is_taken_back_or_goes_elsewhere() {
    let partitions = [moving(0, 0, 1), led(1, 2)];
    let taken_back = [Step::Unmove { tp: tp(1, 0) }];
    let sessions = [active([0, 2]), vec![stored(1, SessionState::Sealed)]].concat();
    assert_eq!(steps(&[broker(0), broker(2)], &sessions, &partitions), taken_back, "dead");
    assert_eq!(steps(&[broker(0), draining(1), broker(2)], &active(0..3), &partitions), taken_back, "leaves");
    assert_eq!(steps(&[draining(0), broker(2)], &sessions, &partitions), [moved(0, 0, 2)], "its leader leaves, too");
    assert_eq!(steps(&[draining(0)], &sessions[..1], &partitions[..1]), taken_back, "there is nowhere else");
    let itself = [moving(0, 0, 0), led(1, 2)];
    assert_eq!(steps(&[broker(0), broker(2)], &active([0, 2]), &itself), taken_back, "it has arrived");
}

#[test]
fn who_stays_after_all_keeps_what_has_not_left() {
    let partitions = [moving(0, 0, 1), moving(1, 0, 1), led(2, 1), led(3, 1)];
    let back = |n| Step::Unmove { tp: tp(1, n) };
    assert_eq!(steps(&[broker(0), broker(1)], &active([0, 1]), &partitions), [back(0), back(1)]);
}

#[test]
fn a_move_that_a_dead_leader_was_asked_for_is_void() {
    let sessions = [stored(0, SessionState::Active), stored(1, SessionState::Sealed), stored(2, SessionState::Active)];
    let partitions = [moving(0, 1, 2), led(1, 2)];
    assert_eq!(steps(&[broker(0), broker(2)], &sessions, &partitions), [assign(0, 0)]);
}

#[test]
fn nothing_is_evened_out_while_something_can_be_led_and_is_not() {
    let brokers = [broker(0), broker(1)];
    let uneven: Vec<_> = (0..4).map(|n| led(n, 0)).collect();
    let with = |one: PartitionView| {
        let moves = steps(&brokers, &active(0..3), &[&uneven[..], &[one]].concat());
        moves.iter().filter(|step| matches!(step, Step::Move { .. })).count()
    };
    assert_eq!(with(led(4, 1)), 1);
    assert_eq!(with(led(4, 2)), 0, "its leader is being fenced");
    assert_eq!(with(PartitionView { record: None, ..led(4, 0) }), 0, "it is being assigned");
    assert_eq!(with(on_disks(4, 7, &[7])), 2, "it cannot be led");
}

#[test]
fn moves_under_way_are_limited_in_all() {
    let brokers = [broker(0), broker(1), draining(2)];
    let mut partitions: Vec<_> = (0..10).map(|n| led(n, 0)).collect();
    partitions.extend([moving(10, 0, 1), moving(11, 2, 1)]);
    let moves = |moves| {
        let limits = Limits { moves, ..Limits::default() };
        decide(&brokers, &active(0..3), &partitions, limits).steps.len()
    };
    assert_eq!(moves(1), 0, "two are under way already");
    assert_eq!(moves(2), 0);
    assert_eq!(moves(3), 1);
    assert_eq!(moves(100), 4);
}

#[test]
fn nobody_to_lead_is_nothing_to_do() {
    let new = PartitionView { record: None, ..led(0, 0) };
    assert_eq!(decide(&[], &[], std::slice::from_ref(&new), Limits::default()), Decision::default());
    assert_eq!(decide(&[draining(0)], &active([0]), &[new, led(1, 0)], Limits::default()), Decision::default());
}
