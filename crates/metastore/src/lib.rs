//! The metadata store: a small set of versioned keys, changed by compare-and-commit transactions.
//!
//! Owns: the [`MetaStore`] contract, shaped so that etcd can fulfil it unchanged; [`Embedded`], which keeps the keys of
//! a single node in one redb file; [`Etcd`], which keeps those of a cluster; a conformance suite that every
//! implementation runs (feature `test-util`).
//! Deliberately not here: what the values mean (`runnel-format`), which keys exist, who may lead what.
//!
//! Invariants: a transaction is applied wholly or not at all; what was acknowledged is durable; revisions only grow,
//! and one transaction has one revision; no read ever shows what is not durable yet.

pub mod store;
pub mod watch;

pub mod embedded;
pub mod etcd;

mod error;
pub mod options;

#[cfg(feature = "test-util")]
pub mod conformance;

pub use embedded::Embedded;
pub use error::{Error, ErrorKind};
pub use etcd::Etcd;
pub use options::{EtcdOptions, EtcdTls, Options};
pub use store::{Compare, LeaseId, MetaStore, Op, Snapshot, TxnOutcome, Versioned, check_txn};
pub use watch::{Change, Changes, Event, Watch};
