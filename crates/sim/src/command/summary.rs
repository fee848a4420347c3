//! What many runs came to: as a table for people, as JSON for programs.

use std::fmt;
use std::io::{self, Write as _};
use std::time::Duration;

use runnel_sim::{Counts, Fault, Operation, Report};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::shrink::Case;

/// How often a long run says how far it is.
const EVERY: Duration = Duration::from_secs(10);

pub(crate) struct Summary {
    first: u64,
    jobs: u64,
    begun: Instant,
    seeds: u64,
    counts: Counts,
    bad: Vec<Value>,
}

impl Summary {
    pub(crate) fn new(first: u64, jobs: u64) -> Self {
        Self { first, jobs, begun: Instant::now(), seeds: 0, counts: Counts::default(), bad: Vec::new() }
    }

    /// Adds a run, and returns what is to be said of it at once.
    pub(crate) fn add(&mut self, seed: u64, report: &Report, case: &Case) -> Option<String> {
        self.seeds += 1;
        self.counts.add(&report.counts);
        let failure = report.outcome.as_ref().err()?.to_string();
        let replay = case.to_string();
        let told = format!("seed {seed}: {failure}\n  replay: {replay}");
        self.bad.push(json!({ "seed": seed, "failure": failure, "replay": replay }));
        Some(told)
    }

    pub(crate) const fn all_good(&self) -> bool {
        self.bad.is_empty()
    }

    fn operations(&self) -> u64 {
        self.counts.operations.values().sum()
    }

    fn faults(&self) -> u64 {
        self.counts.faults.values().sum()
    }

    pub(crate) fn to_json(&self) -> Value {
        let operations =
            |kind: &Operation| (kind.name().to_owned(), json!(self.counts.operations.get(kind).unwrap_or(&0)));
        let faults = |kind: &Fault| (kind.name().to_owned(), json!(self.counts.faults.get(kind).unwrap_or(&0)));
        json!({
            "first_seed": self.first,
            "seeds": self.seeds,
            "jobs": self.jobs,
            "seconds": self.begun.elapsed().as_secs_f64(),
            "bad": self.bad,
            "operations": self.operations(),
            "operations_by_kind": Operation::ALL.iter().map(operations).collect::<serde_json::Map<_, _>>(),
            "faults": self.faults(),
            "faults_by_kind": Fault::ALL.iter().map(faults).collect::<serde_json::Map<_, _>>(),
        })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (good, seconds) = (self.seeds - self.bad.len() as u64, self.begun.elapsed().as_secs_f64());
        writeln!(f, "{good} of {} seeds are good, in {seconds:.0} s", self.seeds)?;
        writeln!(f, "{:<26} {:>12}", "OPERATIONS OF CLIENTS", self.operations())?;
        for (kind, count) in &self.counts.operations {
            writeln!(f, "  {:<24} {count:>12}", kind.name())?;
        }
        write!(f, "{:<26} {:>12}", "FAULTS", self.faults())?;
        self.counts.faults.iter().try_for_each(|(kind, count)| write!(f, "\n  {:<24} {count:>12}", kind.name()))
    }
}

/// Says now and then how far it is, beside the output.
pub(crate) struct Progress {
    told: Instant,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { told: Instant::now() }
    }

    pub(crate) fn tell(&mut self, summary: &Summary) -> io::Result<()> {
        if self.told.elapsed() < EVERY {
            return Ok(());
        }
        self.told = Instant::now();
        let (seconds, bad) = (summary.begun.elapsed().as_secs(), summary.bad.len());
        let (operations, faults) = (summary.operations(), summary.faults());
        writeln!(
            io::stderr(),
            "{seconds:>5} s: {} seeds, {bad} of them bad, {operations} operations, {faults} faults",
            summary.seeds
        )
    }
}

#[cfg(test)]
mod tests {
    use runnel_sim::Failure;

    use super::*;

    #[test]
    fn runs_add_up_and_bad_ones_are_told_with_their_command() {
        let mut summary = Summary::new(3, 1);
        let case = |seed| Case { seed, steps: 10, off: Vec::new(), without: None };
        let mut counts = Counts::default();
        counts.operations.insert(Operation::Fetch, 40);
        counts.faults.insert(Fault::Kill, 2);
        let report = |outcome| Report { trace: Vec::new(), counts: counts.clone(), steps: 10, outcome };
        assert_eq!(summary.add(3, &report(Ok(())), &case(3)), None);
        let told = summary.add(4, &report(Err(Failure::Wrong("lost".to_owned()))), &case(4));
        assert_eq!(told.as_deref(), Some(format!("seed 4: lost\n  replay: {}", case(4)).as_str()));
        assert!(!summary.all_good());
        let shown = summary.to_string();
        for line in [
            "1 of 2 seeds are good",
            "OPERATIONS OF CLIENTS                80",
            "  kill                                4",
        ] {
            assert!(shown.contains(line), "{line:?} is not in {shown}");
        }
        let json = summary.to_json();
        assert_eq!((&json["seeds"], &json["faults_by_kind"]["kill"]), (&json!(2), &json!(4)));
    }
}
