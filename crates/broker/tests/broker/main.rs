//! The broker end to end, in this process: real shipping, real recovery, on a simulated disk and a bucket with faults.
//!
//! Every test runs its broker on a runtime of its own. A crash kills the simulated disk first, so that nothing of the
//! old incarnation reaches it any more, and drops the runtime then.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod adopt;
mod cluster;
mod cluster_admin;
mod consumer_groups;
mod corruption;
mod crash;
mod fetch;
mod forwarding;
mod groups;
mod identity;
mod levels;
mod limits;
mod lost_answers;
mod lost_disk;
mod merge;
mod object;
mod offsets;
mod outage;
mod producers;
mod random;
mod random_cluster;
mod reading;
mod restore;
mod retention;
mod seal;
mod settings;
mod support;
mod topics;
mod traffic;
