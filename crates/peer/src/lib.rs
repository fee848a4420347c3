//! Requests between brokers: any broker answers every request, by asking whoever leads (design §10, "Forwarding").
//!
//! Owns: which broker is asked ([`Forwarding`]), how an answer is put together from those of several, what is read for the
//! consumers of a zone instead ([`Reading`]), what is said on the wire ([`wire`]) and over which connections
//! ([`Connections`]); what is shown of groups, which takes several brokers ([`show_lag`]), and what the controller
//! hears of traffic ([`watch_traffic`]). Deliberately not here: who leads what (the broker knows), and the service that
//! answers (the gRPC front door, which has the listener).
//!
//! Invariants:
//! - Nothing is forwarded twice: a broker that is asked by another answers for itself alone.
//! - Appends of one partition arrive in the order in which they were begun, and are never repeated here: whether one that
//!   failed was stored is for its producer to find out.
//! - Records travel as they are stored.

pub mod wire;

mod answers;
mod forwarding;
mod lag;
mod metrics;
mod reading;
mod remote;
mod traffic;

use std::sync::Arc;

use runnel_api::{Endpoint, Fetch, Groups, Offsets, Produce, Segments, Traffic};

pub use forwarding::{Forwarding, THE_ONE};
pub use lag::show_lag;
pub use reading::Reading;
pub use remote::Connections;
pub use traffic::{ask_traffic, watch_traffic};

/// What only the leader of a partition or the coordinator of a group can do. Another broker is asked for nothing else; it
/// refuses with [`runnel_api::ErrorKind::NotLeader`] what it does not lead. The calls that any broker can answer
/// (`init_producer_id`, `find_coordinator`) are not supported.
pub trait Peer: Produce + Fetch + Offsets + Groups + Segments + Traffic {}

impl<T: Produce + Fetch + Offsets + Groups + Segments + Traffic> Peer for T {}

/// Reaches other brokers.
pub trait Peers: Send + Sync + 'static {
    /// The broker at an address. Connects when it is asked something. What fails because it is not reached, or does not
    /// answer in time, is [`runnel_api::ErrorKind::NotLeader`]: it may have been done.
    fn at(&self, address: &Endpoint) -> Arc<dyn Peer>;
}
