//! A smaller case that ends badly too: fewer steps, fewer kinds of faults.

use std::fmt;

use runnel_guard::{Guard, Without};
use runnel_sim::{Failure, Fault, Report, run_without};

/// All that decides a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) seed: u64,
    pub(crate) steps: u64,
    pub(crate) off: Vec<Fault>,
    pub(crate) without: Option<Guard>,
}

impl Case {
    pub(crate) fn run(&self) -> Report {
        let _without = self.without.map(Without::of);
        run_without(self.seed, self.steps, &self.off)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cargo run -p runnel-sim -- --seed {} --steps {} --trace", self.seed, self.steps)?;
        if !self.off.is_empty() {
            let names: Vec<_> = self.off.iter().map(|fault| fault.name()).collect();
            write!(f, " --off {}", names.join(","))?;
        }
        self.without.map_or(Ok(()), |guard| write!(f, " --without {guard}"))
    }
}

/// The smallest case found that fails in the same way; `steps` is how far the run came.
pub(crate) fn shrink(case: &Case, failure: &Failure, steps: u64) -> Case {
    let fails = |case: &Case| {
        let outcome = case.run().outcome;
        outcome.is_err_and(|other| std::mem::discriminant(&other) == std::mem::discriminant(failure))
    };
    smallest(Case { steps: steps.min(case.steps), ..case.clone() }, case, fails)
}

/// `first` is tried before `known`, which fails.
fn smallest(first: Case, known: &Case, fails: impl Fn(&Case) -> bool) -> Case {
    let mut best = if fails(&first) { first } else { known.clone() };
    for fault in Fault::ALL.iter().filter(|fault| !known.off.contains(fault)) {
        let mut calmer = best.clone();
        calmer.off.push(*fault);
        if fails(&calmer) {
            best = calmer;
        }
    }
    let mut cut = best.steps / 2;
    while cut > 0 {
        let shorter = Case { steps: best.steps - cut, ..best.clone() };
        if fails(&shorter) {
            best = shorter;
        }
        cut = cut.min(best.steps) / 2;
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_needed_goes() {
        let known = Case { seed: 7, steps: 4_000, off: vec![Fault::Tear], without: None };
        let fails = |case: &Case| case.steps >= 1_234 && !case.off.contains(&Fault::Kill);
        let best = smallest(Case { steps: 100, ..known.clone() }, &known, fails);
        assert_eq!(best.steps, 1_234);
        assert_eq!(best.off.len(), Fault::ALL.len() - 1);
        assert!(fails(&best));
        let shown = Case { off: vec![Fault::Kill, Fault::Disk], without: Some(Guard::RootSwap), ..best };
        let command = "cargo run -p runnel-sim -- --seed 7 --steps 1234 --trace --off kill,disk --without root-swap";
        assert_eq!(shown.to_string(), command);
    }
}
