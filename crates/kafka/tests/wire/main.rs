//! The front door through real sockets, against the in-memory broker.

#![allow(clippy::unwrap_used, clippy::panic)]

mod admin;
mod amplify;
mod describe;
mod exchange;
mod groups;
mod hostile;
mod pipelining;
mod support;
