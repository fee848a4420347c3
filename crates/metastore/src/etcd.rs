//! The metadata store of a cluster: etcd, version 3.4 or later.
//!
//! All keys lie below a prefix of this cluster; revisions are etcd's own, so they jump where others use the same etcd. A
//! read that fails is tried again for as long as a caller can wait, since it changes nothing; a change reaches etcd once.

mod connection;
mod convert;
mod metrics;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch as signal;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tonic::{Code, Request, Response, Status};

use self::connection::Connection;
use self::convert::{Space, is_impossible};
use self::watch::EtcdWatch;
use crate::error::Error;
use crate::options::EtcdOptions;
use crate::store::{Compare, LeaseId, MetaStore, Op, Snapshot, TxnOutcome, Versioned, check_key, check_txn};
use crate::watch::Watch;

#[allow(clippy::all, clippy::pedantic, missing_docs, unreachable_pub)]
mod pb {
    tonic::include_proto!("etcdserverpb");
}

/// Longest wait for one answer: of a change, and of a read with all its attempts.
const PATIENCE: Duration = Duration::from_secs(5);

/// Keys of one answer to a range.
const PAGE: i64 = 2_000;

/// A [`MetaStore`] in etcd.
#[derive(Debug)]
pub struct Etcd {
    shared: Arc<Shared>,
}

/// What the store and its watches share.
#[derive(Debug)]
struct Shared {
    connection: Connection,
    space: Space,
    /// The last revision that watches have to tell of, once the store is closed.
    closed: signal::Sender<Option<u64>>,
}

impl Etcd {
    /// A store in an etcd. Dials nothing yet.
    ///
    /// Errors: `Invalid` for an endpoint that is none, or a certificate that cannot be read.
    pub fn connect(options: &EtcdOptions) -> Result<Self, Error> {
        let shared = Shared {
            connection: Connection::new(options)?,
            space: Space::new(&options.prefix),
            closed: signal::Sender::new(None),
        };
        Ok(Self { shared: Arc::new(shared) })
    }
}

impl Shared {
    fn usable(&self) -> Result<(), Error> {
        if self.closed.borrow().is_some() { Err(Error::Closed) } else { Ok(()) }
    }

    /// One page of a range.
    async fn page(&self, request: &pb::RangeRequest) -> Result<pb::RangeResponse, Error> {
        let again = |status: &Status| matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled);
        let mut kv = self.connection.kv();
        self.connection.send("read", request, again, async move |request| kv.range(request).await).await
    }

    /// A change: sent again only if it did not arrive.
    async fn change<M: Clone, T>(
        &self,
        action: &'static str,
        message: &M,
        call: impl AsyncFnMut(Request<M>) -> Result<Response<T>, Status>,
    ) -> Result<T, Error> {
        self.connection.send(action, message, |_| false, call).await
    }

    /// Every key of a prefix that was written after a revision, as of one revision.
    async fn snapshot(&self, prefix: &str, after: u64) -> Result<Snapshot, Error> {
        let min_mod_revision = i64::try_from(after.saturating_add(1)).unwrap_or(i64::MAX);
        'anew: loop {
            let (key, range_end) = self.space.range(prefix);
            let mut request = pb::RangeRequest { key, range_end, limit: PAGE, revision: 0, min_mod_revision };
            let mut entries = Vec::new();
            loop {
                let page = match self.page(&request).await {
                    // The revision of the first page was compacted meanwhile.
                    Err(Error::Etcd { status, .. }) if status.code() == Code::OutOfRange && request.revision > 0 => {
                        continue 'anew;
                    }
                    page => page?,
                };
                let revision = page.header.unwrap_or_default().revision;
                if request.revision == 0 {
                    request.revision = revision;
                }
                for kv in page.kvs {
                    request.key = convert::after(&kv.key);
                    entries.push(self.space.entry(kv)?);
                }
                if !page.more {
                    return Ok(Snapshot { revision: request.revision.unsigned_abs(), entries });
                }
            }
        }
    }
}

fn silent() -> Status {
    Status::deadline_exceeded(format!("no answer within {PATIENCE:?}"))
}

fn failure(action: &'static str, status: Status) -> Error {
    Error::Etcd { action, status: Arc::new(status) }
}

/// A lease that is not there has an error of its own.
fn of_lease(lease: LeaseId, error: Error) -> Error {
    match error {
        Error::Etcd { status, .. } if status.code() == Code::NotFound => Error::LeaseNotFound(lease),
        other => other,
    }
}

#[async_trait]
impl MetaStore for Etcd {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, Error> {
        check_key(key)?;
        self.shared.usable()?;
        let key = self.shared.space.key(key);
        let request = pb::RangeRequest { key, limit: 1, ..Default::default() };
        let found = self.shared.page(&request).await?.kvs.pop();
        Ok(found.map(convert::versioned))
    }

    async fn snapshot(&self, prefix: &str) -> Result<Snapshot, Error> {
        self.shared.usable()?;
        self.shared.snapshot(prefix, 0).await
    }

    async fn range_since(&self, prefix: &str, revision: u64) -> Result<Vec<(String, Versioned)>, Error> {
        self.shared.usable()?;
        Ok(self.shared.snapshot(prefix, revision).await?.entries)
    }

    async fn txn(&self, compare: Vec<Compare>, then: Vec<Op>) -> Result<TxnOutcome, Error> {
        check_txn(&compare, &then)?;
        self.shared.usable()?;
        if compare.iter().any(is_impossible) {
            return Ok(TxnOutcome::Refused);
        }
        let lease = then.iter().find_map(|op| match op {
            Op::Put(_, _, lease) => *lease,
            Op::Delete(_) => None,
        });
        let space = &self.shared.space;
        let request = pb::TxnRequest {
            compare: compare.into_iter().map(|compare| space.compare(compare)).collect(),
            success: then.into_iter().map(|op| space.op(op)).collect(),
        };
        let mut kv = self.shared.connection.kv();
        let answer = self.shared.change("change", &request, async move |request| kv.txn(request).await).await;
        let answer = answer.map_err(|error| lease.map_or(error.clone(), |lease| of_lease(lease, error)))?;
        if !answer.succeeded {
            return Ok(TxnOutcome::Refused);
        }
        Ok(TxnOutcome::Committed(answer.header.unwrap_or_default().revision.unsigned_abs()))
    }

    async fn grant_lease(&self, ttl: Duration) -> Result<LeaseId, Error> {
        self.shared.usable()?;
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        let request = pb::LeaseGrantRequest { ttl: i64::try_from(seconds.max(1)).unwrap_or(i64::MAX) };
        let mut leases = self.shared.connection.leases();
        let grant = async move |request| leases.lease_grant(request).await;
        let granted = self.shared.change("grant a lease", &request, grant).await?;
        Ok(LeaseId(granted.id.cast_unsigned()))
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<(), Error> {
        self.shared.usable()?;
        let id = lease.0.cast_signed();
        let mut leases = self.shared.connection.leases();
        let request = pb::LeaseKeepAliveRequest { id };
        let keep = async move |request: Request<_>| leases.lease_keep_alive(request.map(tokio_stream::once)).await;
        let mut answers = self.shared.change("keep a lease", &request, keep).await?;
        match timeout(PATIENCE, answers.next()).await {
            Ok(Some(Ok(answer))) if answer.ttl > 0 => Ok(()),
            Ok(Some(Ok(_))) => Err(Error::LeaseNotFound(lease)),
            Ok(Some(Err(status))) => Err(of_lease(lease, failure("keep a lease", status))),
            Ok(None) | Err(_) => Err(failure("keep a lease", silent())),
        }
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        self.shared.usable()?;
        let request = pb::LeaseRevokeRequest { id: lease.0.cast_signed() };
        let mut leases = self.shared.connection.leases();
        let revoke = async move |request| leases.lease_revoke(request).await;
        let revoked = self.shared.change("end a lease", &request, revoke).await;
        revoked.map(drop).map_err(|error| of_lease(lease, error))
    }

    fn watch(&self, prefix: &str, from_revision: u64) -> Box<dyn Watch> {
        Box::new(EtcdWatch::new(Arc::clone(&self.shared), prefix, from_revision.max(1)))
    }

    async fn close(&self) {
        if self.shared.closed.borrow().is_some() {
            return;
        }
        let (key, range_end) = self.shared.space.range("");
        let request = pb::RangeRequest { key, range_end, limit: 1, ..Default::default() };
        // Watches that cannot learn where the end is have none to wait for.
        let last = self.shared.page(&request).await.ok().and_then(|page| page.header);
        self.shared.closed.send_replace(Some(last.unwrap_or_default().revision.unsigned_abs()));
    }
}
