#![allow(clippy::unwrap_used, clippy::panic)]

mod basic;
mod corruption;
mod crash;
mod rig;
mod space;
