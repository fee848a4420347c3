#![allow(clippy::unwrap_used, clippy::panic)]

mod basic;
mod corruption;
mod crash;
pub(crate) mod rig;
mod space;
