//! The Kafka front door: the Kafka wire protocol on one side, [`runnel_api`] on the other.
//!
//! Owns: connections, frames and their limits; the versions we serve; decoding, encoding and error codes of each
//! API; fetch sessions. Deliberately not here: topics, offsets, storage, group coordinators, TLS, authentication.
//!
//! Invariants:
//! - No length or count from the wire is trusted: the guard (`guard.rs`) has walked a request before it is decoded, and memory
//!   grows with the bytes that arrived, inside a budget per connection and one for all.
//! - The requests of a connection are started in order and answered in order.
//! - Record data is never copied: batches go in as slices of the frame and out by vectored writes.
//!
//! Reading order: `server` accepts, `connection` drives one socket, `frame` reads under a `budget`, `apis` is the
//! table of what is served, `dispatch` decodes and starts a handler; then one file for each verb.

mod address;
mod apis;
mod budget;
mod connection;
mod context;
mod dispatch;
mod error;
mod frame;
mod guard;
mod handover;
mod header;
mod metrics;
mod options;
mod reply;
mod server;

mod alter_client_quotas;
mod alter_configs;
mod alter_partition_reassignments;
mod alter_replica_log_dirs;
mod api_versions;
mod consumer_group_describe;
mod consumer_group_heartbeat;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_client_quotas;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_topic_partitions;
mod elect_leaders;
mod fetch;
mod find_coordinator;
mod get_telemetry_subscriptions;
mod heartbeat;
mod init_producer_id;
mod join_group;
mod leaders;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod list_partition_reassignments;
mod membership;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod push_telemetry;
mod sync_group;
mod topics;

pub use address::HostPort;
pub use apis::served_versions;
pub use error::Error;
pub use options::{Neighbours, Options};
pub use server::{serve, serve_stream};
