//! Some seeds, each a run of its own with faults of its own.

use runnel_sim::{STEPS, run};

/// What has to come about in some of them: all that is simulated is also done.
const DONE: [&str; 20] = [
    "loses its power in",
    "sleeps for",
    "has no store for",
    "has a slow bucket for",
    "cannot go on: this broker was",
    "has stopped",
    "fleeting-1 is",
    "commits 9: Ok",
    "is told 9",
    "of generation 2",
    "in generation 2: Ok",
    "in generation 1: Refused",
    "Some(Ok(Offset(",
    "restored, era",
    "bits turn",
    "gives up 0 from",
    "has a disk with room for",
    "auditor   Seen { segments: ",
    "bucket Delete topics/topic=t/",
    "bucket Delete topics/topic=fleeting/",
];

#[test]
fn nothing_is_lost_whatever_breaks() {
    let mut missing = DONE.to_vec();
    for seed in 1..=11 {
        let report = run(seed, STEPS);
        let found = report.outcome.err().map(|failure| failure.to_string());
        assert_eq!(found, None, "seed {seed}\nreplay: cargo run -p runnel-sim -- --seed {seed} --trace");
        missing.retain(|what| !report.trace.iter().any(|line| line.contains(what)));
    }
    assert!(missing.is_empty(), "nothing of this happens: {missing:?}");
}
