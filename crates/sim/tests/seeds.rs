//! Some seeds, each a run of its own with faults of its own.

use runnel_sim::{STEPS, run};

#[test]
fn nothing_is_lost_whatever_breaks() {
    for seed in 1..=4 {
        let report = run(seed, STEPS);
        if let Err(failure) = report.outcome {
            panic!("seed {seed}: {failure}\nreplay: cargo run -p runnel-sim -- --seed {seed} --trace");
        }
    }
}
