//! A cluster in one thread whose every step follows from a seed.
//!
//! The brokers are the real ones: partitions, lanes, segments, coordinators, the controller. Simulated is what lies around
//! them: processes, time, disks, the bucket and the metadata store with their faults, and the network. Clients
//! produce, consume, commit and administer meanwhile, and the judge tells whether what they see is right. [`run`] is one seed.
//!
//! Invariants: a seed gives the same run, line by line, on every machine (`tests/determinism.rs`); nothing here waits
//! for real time; a failure says how to see it again.

mod ambush;
mod auditor;
mod clients;
mod directory;
mod faults;
mod host;
mod kinds;
mod machine;
mod network;
mod operator;
mod store;
mod swarm;
mod told;
mod trace;
mod world;

use runnel_runtime::simulation::Simulation;

pub use crate::kinds::{Fault, Operation};
pub use crate::trace::Counts;
use crate::world::World;

/// Steps of a run in which things go wrong, 5 ms each.
pub const STEPS: u64 = 4_000;

/// A run that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine gives no runtime or folder.
    #[error("cannot set up a simulated machine: {0}")]
    Io(#[from] std::io::Error),
    /// The simulated bucket does not open.
    #[error("cannot set up the simulated bucket: {0}")]
    Bucket(#[from] runnel_blob::Error),
}

/// What a run has found.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A client was told something that cannot be true.
    #[error("{0}")]
    Wrong(String),
    /// Something did not happen although nothing was in its way.
    #[error("stuck: {what} did not come about in {steps} steps without a fault")]
    Stuck {
        /// What should have happened.
        what: String,
        /// How long it had.
        steps: u64,
    },
    /// A task panicked.
    #[error("panicked: {0}")]
    Panic(String),
    /// The run was not set up.
    #[error(transparent)]
    Setup(#[from] Error),
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Setup(error.into())
    }
}

/// What happened in a run, and what is wrong with it.
#[derive(Debug)]
pub struct Report {
    /// What happened, a line each.
    pub trace: Vec<String>,
    /// The same in numbers.
    pub counts: Counts,
    /// Steps with faults before the run ended.
    pub steps: u64,
    /// What was found.
    pub outcome: Result<(), Failure>,
}

/// Simulates one seed for so many steps with faults, on this thread.
pub fn run(seed: u64, steps: u64) -> Report {
    run_without(seed, steps, &[])
}

/// As [`run`], with nothing of these going wrong.
pub fn run_without(seed: u64, steps: u64, off: &[Fault]) -> Report {
    let _simulation = Simulation::enter(seed);
    trace::remember_panics();
    let mut world = match World::new(seed, off) {
        Ok(world) => world,
        Err(error) => {
            let (trace, counts) = (Vec::new(), Counts::default());
            return Report { trace, counts, steps: 0, outcome: Err(error.into()) };
        }
    };
    let outcome = match (live(&mut world, steps), world.verdict()) {
        (Ok(()), Some(found)) => Err(Failure::Wrong(found)),
        // What was lost is often also what somebody waits for.
        (Err(stuck @ Failure::Stuck { .. }), Some(found)) => Err(Failure::Wrong(format!("{stuck}\n{found}"))),
        (outcome, _) => outcome,
    };
    let (trace, counts) = (world.trace().take(), world.trace().counts());
    Report { trace, counts, steps: world.suffered(), outcome }
}

fn live(world: &mut World, steps: u64) -> Result<(), Failure> {
    world.begin()?;
    world.suffer(steps)?;
    world.recover()?;
    world.die_and_check()?;
    world.audit()
}
