//! The store in etcd against the contract, on real servers, each of its own; and what only servers do: restart, leave,
//! ask for passwords and certificates.
#![allow(clippy::unwrap_used, clippy::panic)]

mod real_etcd;
