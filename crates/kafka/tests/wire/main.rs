//! The front door through real sockets, against the in-memory broker.

#![allow(clippy::unwrap_used, clippy::panic)]

mod amplify;
mod exchange;
mod hostile;
mod pipelining;
mod support;
