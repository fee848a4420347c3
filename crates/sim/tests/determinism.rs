//! Everything else that the simulator says is worth nothing if this does not hold.

use runnel_sim::run;

#[test]
fn a_seed_gives_the_same_run_line_by_line() {
    for seed in 1..=5 {
        let (first, second) = (run(seed, 1_500), run(seed, 1_500));
        let differs = first.trace.iter().zip(&second.trace).position(|(a, b)| a != b);
        let around = |trace: &[String]| differs.map(|at| trace[at.saturating_sub(3)..=at].join("\n"));
        assert_eq!(around(&first.trace), around(&second.trace), "seed {seed}");
        assert_eq!(first.trace.len(), second.trace.len(), "seed {seed}");
        assert!(first.trace.len() > 300, "seed {seed} does nothing");
    }
}
