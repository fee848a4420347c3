//! Some seeds, each a run of its own with faults of its own.

use runnel_sim::{STEPS, run};

/// Seeds that once ended badly (docs/bugs-found.md).
const ONCE_BAD: [u64; 4] = [6, 101, 219, 300];

#[test]
fn nothing_is_lost_whatever_breaks() {
    for seed in (1..=4).chain(ONCE_BAD) {
        let found = run(seed, STEPS).outcome.err().map(|failure| failure.to_string());
        assert_eq!(found, None, "seed {seed}\nreplay: cargo run -p runnel-sim -- --seed {seed} --trace");
    }
}
