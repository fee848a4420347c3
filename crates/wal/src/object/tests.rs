#![allow(clippy::unwrap_used, clippy::panic)]

mod crash;
mod log;
mod machine;
mod rig;
mod sealed;
mod simulation;
mod twin;
