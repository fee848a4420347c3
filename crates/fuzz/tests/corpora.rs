//! Every input that was ever of interest, and seeded mutations of them, through every target.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::PathBuf;

use runnel_fuzz::mutate::{Random, mutate};
use runnel_fuzz::{Target, find};

/// Mutations of each corpus, but for the slow ones.
const MUTATIONS: u64 = 500;

/// Each opens a whole log.
const RECOVERIES: u64 = 50;

fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let folder =
        PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../../fuzz/corpus").join(target.name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| fs::read(path).unwrap()).collect()
}

/// A panic says with which input: `cargo run -p runnel-fuzz -- replay TARGET HEX`.
fn run(target: &Target, input: &[u8]) {
    if std::panic::catch_unwind(|| (target.run)(input)).is_err() {
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        panic!("replay with: cargo run -p runnel-fuzz -- replay {} {hex}", target.name);
    }
}

fn check(name: &str) {
    let target = find(name);
    let corpus = corpus(target);
    assert!(!corpus.is_empty(), "no corpus of {name}");
    corpus.iter().for_each(|input| run(target, input));
    let mutations = if name == "wal_recovery" { RECOVERIES } else { MUTATIONS };
    for seed in 0..mutations {
        let mut random = Random(seed);
        let (input, other) = (random.below(corpus.len()), random.below(corpus.len()));
        run(target, &mutate(&mut random, &corpus[input], &corpus[other]));
    }
}

macro_rules! targets {
    ($($name:ident),*) => {
        $( #[test] fn $name() { check(stringify!($name)); } )*

        #[test]
        fn every_target_is_tested() {
            let tested = [$(stringify!($name)),*];
            assert!(runnel_fuzz::TARGETS.iter().map(|target| target.name).eq(tested));
        }
    };
}

targets!(
    record_batch,
    codec,
    kafka_stream,
    kafka_frames,
    grpc_calls,
    wal_block,
    wal_files,
    wal_recovery,
    wal_slot,
    manifest,
    metadata,
    group_log,
    segment,
    cached_run,
    names
);
