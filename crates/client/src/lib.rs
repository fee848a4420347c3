//! The Rust client of the gRPC interface.
//!
//! Owns: [`Client`], one connection to whichever broker of the bootstrap list answers, with the unary calls as methods;
//! [`Producer`], appends over sessions that outlive a broken connection; [`Consumer`], reads over sessions that go on
//! where they stopped; [`GroupConsumer`], a member of a consumer group; [`Error`], what went wrong and what a caller may do
//! about it. Deliberately not here: output, formats, files (the command line does those). Messages are those of [`proto`],
//! unchanged.
//!
//! Invariants: records of one partition are stored in the order in which they were handed in, each once or not at all,
//! whatever the connection does; a consumer hands out each offset once, in order.

mod admin;
mod backoff;
mod client;
mod consumer;
mod credit;
mod error;
mod group_consumer;
mod groups;
mod offsets;
mod options;
mod probe;
mod producer;

pub use runnel_proto as proto;

pub use client::Client;
pub use consumer::{Consumer, ConsumerOptions, Event};
pub use error::{Error, ErrorKind, Result};
pub use group_consumer::{GroupConsumer, GroupEvent, Membership};
pub use options::Options;
pub use producer::{Delivered, Delivery, Producer, ProducerOptions, Target};
