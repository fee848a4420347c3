//! The front door through real sockets, against the in-memory broker.

#![allow(clippy::unwrap_used, clippy::panic)]

mod append_session;
mod errors;
mod exchange;
mod group_session;
mod groups;
mod hostile;
mod peer;
mod read_session;
mod support;
