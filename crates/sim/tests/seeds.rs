//! Some seeds, each a run of its own with faults of its own.

use runnel_sim::{STEPS, run};

#[test]
fn nothing_is_lost_whatever_breaks() {
    for seed in 1..=4 {
        let found = run(seed, STEPS).outcome.err().map(|failure| failure.to_string());
        assert_eq!(found, None, "seed {seed}\nreplay: cargo run -p runnel-sim -- --seed {seed} --trace");
    }
}
