#![allow(clippy::unwrap_used, clippy::panic)]

mod aside;
mod basic;
mod corruption;
mod crash;
mod economy;
pub(crate) mod rig;
mod space;
