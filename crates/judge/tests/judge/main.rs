//! Legal histories are found legal, and each kind of mutation is named for what it is.
#![allow(clippy::unwrap_used, reason = "tests")]

mod cases;
mod command;
mod generate;
mod mutate;
mod mutations;

use std::collections::BTreeSet;

use generate::{Events, Random, generate};
use mutations::MUTATIONS;
use runnel_judge::{History, judge, to_text};

/// Seeds of the histories that are mutated.
const SEEDS: u64 = 40;

fn history(events: &Events) -> History {
    let mut history = History::default();
    events.iter().for_each(|event| history.push(event.clone()));
    history
}

fn kinds(history: &History) -> BTreeSet<&'static str> {
    judge(history).unwrap().iter().map(|anomaly| anomaly.finding.kind()).collect()
}

fn report(history: &History) -> String {
    to_text(history, &judge(history).unwrap())
}

/// `RUNNEL_TEST_SEED` replays one, `RUNNEL_TEST_SEEDS` tries so many.
fn seeds() -> std::ops::RangeInclusive<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match number("RUNNEL_TEST_SEED") {
        Some(seed) => seed..=seed,
        None => 1..=number("RUNNEL_TEST_SEEDS").unwrap_or(SEEDS),
    }
}

#[test]
fn nothing_is_wrong_with_legal_histories() {
    for seed in seeds() {
        let history = history(&generate(seed));
        assert!(kinds(&history).is_empty(), "RUNNEL_TEST_SEED={seed}\n{}", report(&history));
    }
}

#[test]
fn every_mutation_is_named() {
    for mutation in MUTATIONS {
        let mut made = 0;
        for seed in seeds() {
            let mut events = generate(seed);
            if (mutation.make)(&mut events, &mut Random::new(seed)).is_none() {
                continue; // this history has no place for it
            }
            made += 1;
            let (history, replay) = (history(&events), format!("RUNNEL_TEST_SEED={seed}, {}", mutation.name));
            let found = kinds(&history);
            assert!(found.contains(mutation.is), "{replay} is not found to be {}: {found:?}", mutation.is);
            let strange: Vec<_> = found.iter().filter(|kind| !mutation.may_be(kind)).collect();
            assert!(strange.is_empty(), "{replay} is found to be {strange:?}\n{}", report(&history));
        }
        let tried = seeds().count();
        assert!(made * 20 >= tried || tried == 1, "{} was made {made} times only", mutation.name);
    }
}

/// Of each kind of anomaly there is a mutation.
#[test]
fn every_kind_has_a_mutation() {
    // Asked when it runs: a target directory outlives the clone that it was built in.
    let package = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    let page = std::fs::read_to_string(format!("{package}/../../docs/testing.md")).unwrap();
    let table = page.split("| anomaly |").nth(1).unwrap().split("\n\n").next().unwrap();
    let told: BTreeSet<&str> = table.lines().skip(2).filter_map(|row| row.split('`').nth(1)).collect();
    let mutated: BTreeSet<&str> = MUTATIONS.iter().map(|mutation| mutation.is).collect();
    assert_eq!(told, mutated, "the table of docs/testing.md and the mutations");
}

/// What is written is read again, and judged the same.
#[test]
fn a_history_is_a_file() {
    let mut events = generate(1);
    let before = history(&events);
    let mut after = History::default();
    after.read(&before.write()).unwrap();
    assert_eq!(after.write(), before.write());
    let drop = MUTATIONS.iter().find(|mutation| mutation.is == "lost").unwrap();
    (drop.make)(&mut events, &mut Random::new(1)).unwrap();
    let mut broken = History::default();
    broken.read(&history(&events).write()).unwrap();
    assert_eq!(report(&broken), report(&history(&events)));
}
