//! A simulation that finds nothing proves nothing: without a guard of the protocol it must find something. Here are the guards
//! that are missed within a few seeds; `cargo run -p runnel-sim -- --mutants --count 100` tries them all.

use runnel_guard::{Guard, Without};
use runnel_sim::{STEPS, run};

/// Seeds within which it must be noticed.
const BUDGET: u64 = 30;

fn is_missed(guard: Guard) {
    let _without = Without::of(guard);
    let noticed = (1..=BUDGET).any(|seed| run(seed, STEPS).outcome.is_err());
    assert!(noticed, "nobody misses {guard} in {BUDGET} seeds: {}", guard.says());
}

#[test]
fn readers_see_only_what_is_durable() {
    is_missed(Guard::HighWatermark);
}

#[test]
fn lanes_are_sealed_before_others_read_them() {
    is_missed(Guard::SealBeforeOpen);
}

#[test]
fn the_trim_pointer_moves_first() {
    is_missed(Guard::TrimPointerFirst);
}

#[test]
fn blocks_are_synced_before_they_are_acknowledged() {
    is_missed(Guard::SyncBeforeAck);
}

#[test]
fn producers_are_learnt_from_the_log() {
    is_missed(Guard::DedupReplay);
}

#[test]
fn slots_are_written_where_there_is_none() {
    is_missed(Guard::SlotIfAbsent);
}

#[test]
fn lanes_are_trimmed_after_the_root_is_there() {
    is_missed(Guard::TrimAfterRoot);
}

#[test]
fn a_failed_sync_is_the_last_one() {
    is_missed(Guard::NoSyncAgain);
}

#[test]
fn coordinators_answer_once_it_is_durable() {
    is_missed(Guard::AnswerAfterRecord);
}

#[test]
fn members_of_a_generation_that_is_over_commit_nothing() {
    is_missed(Guard::CurrentGeneration);
}
