//! The gRPC front door: `proto/runnel` on one side, [`runnel_api`] on the other.
//!
//! Owns: connections and their limits, the services, sessions with their credits, the status and reason of each
//! error. Deliberately not here: topics, offsets, storage, the coordination of groups, TLS, authentication. The contract stands
//! in the `.proto` files.
//!
//! Invariants:
//! - What a client sends or does not read costs memory only within the settings: bytes that arrive and replies that
//!   wait are counted, and a session reads no further than its window.
//! - A session answers in the order of its requests, and hands batches to the broker in that order.
//! - Keys and values are not copied on their way out: they are slices of the batch that the broker handed over.
//!
//! Reading order: `server` accepts, `recognise` turns away who dialled the wrong port, `observe` counts each call and
//! `intake` what it sends under a `budget`, `services` is the table of what is served; then one file for each verb. The decisions of the two sessions are
//! machines without I/O, in `append_session/window.rs`, `reader/machine.rs` and `group_session/member.rs`.

mod budget;
mod door;
mod error;
pub mod fuzz;
mod guard;
mod intake;
mod metrics;
mod observe;
mod options;
mod recognise;
mod server;
mod services;
mod socket;

mod append;
mod append_session;
mod batches;
mod cluster;
mod configs;
mod fetch;
mod group_session;
mod groups;
mod health;
mod init_producer;
mod list_offsets;
mod page;
mod peer;
mod position;
mod produce;
mod read_session;
mod reader;
mod records;
mod segments;
mod session;
mod topics;
mod trim;

pub use error::Error;
pub use options::{Neighbours, Options};
pub use server::serve;
