//! The lease of a broker: that it is alive.
//!
//! It decides when others act, never whether something is safe. What is counted is from the moment a sign of life was
//! sent, so that this broker believes itself dead no later than others do.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use runnel_api::Error;
use runnel_format::meta::{BrokerRecord, SessionState};
use runnel_metastore::{Compare, ErrorKind, LeaseId, Op};
use runnel_wal::object;
use tokio::time::Instant;

use super::join::{broker_record, build_put};
use super::view::live_key;
use crate::Broker;
use crate::error::{damaged, metadata_error};
use crate::sessions;

/// Signs of life in one time to live.
const BEATS: u32 = 4;

/// The lease, and until when it is believed in.
pub(crate) struct Lease {
    id: Mutex<LeaseId>,
    ttl: Duration,
    started: Instant,
    /// Milliseconds after `started`.
    until: AtomicU64,
}

impl Lease {
    /// A lease that was granted for a request sent at `asked`.
    pub(super) fn new(id: LeaseId, ttl: Duration, asked: Instant) -> Self {
        let lease = Self { id: Mutex::new(id), ttl, started: asked, until: AtomicU64::new(0) };
        lease.extend(asked);
        lease
    }

    pub(super) fn id(&self) -> LeaseId {
        *self.id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn replace(&self, id: LeaseId, asked: Instant) {
        *self.id.lock().unwrap_or_else(PoisonError::into_inner) = id;
        self.extend(asked);
    }

    /// A sign of life that was sent at `sent` was answered. A tenth of the time is left to clocks that run differently.
    fn extend(&self, sent: Instant) {
        let until = (sent + self.ttl * 9 / 10).saturating_duration_since(self.started);
        self.until.fetch_max(u64::try_from(until.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
    }

    pub(super) fn is_valid(&self) -> bool {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        now < self.until.load(Ordering::Acquire)
    }
}

impl Broker {
    /// Keeps the lease alive, and gets another when it ends all the same. Ends with the broker.
    pub(super) async fn stay_alive(self: Arc<Self>) {
        let Some(member) = &self.member else { return };
        let beat = member.lease.ttl / BEATS;
        loop {
            tokio::select! {
                biased;
                () = self.stop_signal.triggered() => return,
                () = tokio::time::sleep(beat) => {}
            }
            let sent = Instant::now();
            // So that there is time left to look at the bucket.
            let kept = tokio::time::timeout(member.lease.ttl / 3, self.meta.keep_alive(member.lease.id())).await;
            match kept {
                Ok(Ok(())) => member.lease.extend(sent),
                Ok(Err(error)) if error.kind() == ErrorKind::NotFound => match self.come_back().await {
                    Ok(true) => tracing::warn!("the lease of this broker ended early; it has another"),
                    Ok(false) => {
                        return self.fail("this broker was taken for dead and its session was ended".to_owned());
                    }
                    Err(error) => tracing::warn!(%error, "cannot get another lease yet"),
                },
                Ok(Err(error)) => {
                    tracing::warn!(%error, "no sign of life reaches the metadata store");
                    self.look_at_lane(&member.lease, sent).await;
                }
                Err(_) => {
                    tracing::warn!("the metadata store does not answer");
                    self.look_at_lane(&member.lease, Instant::now()).await;
                }
            }
        }
    }

    /// While the metadata store does not answer, the bucket shows whether this broker was replaced: whoever does that ends
    /// its lane first. So clients are served through an outage of the store (protocol §10, L3 and L4).
    async fn look_at_lane(&self, lease: &Lease, asked: Instant) {
        let Some(lane) = self.log.object_lane() else { return };
        let looked = tokio::time::timeout(lease.ttl, object::is_sealed(&self.bucket, lane)).await;
        match looked {
            Ok(Ok(false)) => lease.extend(asked),
            Ok(Ok(true)) => self.fail("this broker was replaced: its lane in the bucket was ended".to_owned()),
            Ok(Err(error)) => tracing::warn!(%error, "the bucket does not show whether this broker was replaced"),
            Err(_) => tracing::warn!("the bucket does not show in time whether this broker was replaced"),
        }
    }

    /// Says anew that this broker is alive, unless its session was ended meanwhile. Whether it could.
    async fn come_back(&self) -> Result<bool, Error> {
        let Some(member) = &self.member else { return Ok(true) };
        let session = self.home.session;
        let Some((record, found)) = self.read_session(session).await? else { return Ok(false) };
        if record.state != SessionState::Active {
            return Ok(false);
        }
        let asked = Instant::now();
        let lease = self.meta.grant_lease(member.lease.ttl).await.map_err(|e| metadata_error(&e))?;
        let key = live_key(self.home.node_id);
        let active = Compare::Revision(sessions::key(session), found.revision);
        let free = match self.meta.get(&key).await.map_err(|e| metadata_error(&e))? {
            None => Compare::Absent(key.clone()),
            // It may have come back already, and not have heard of it.
            Some(live) => {
                let holder = BrokerRecord::decode(&live.value).map_err(|e| damaged(&e))?;
                if holder.session != session {
                    return Ok(false);
                }
                Compare::Revision(key.clone(), live.revision)
            }
        };
        let broker = broker_record(&self.home, &self.options, &member.options, self.is_leaving());
        let put = Op::Put(key, broker.encode(), Some(lease));
        let build = build_put(&self.home, lease);
        let outcome = self.meta.txn(vec![active, free], vec![put, build]).await;
        let came_back = outcome.map_err(|e| metadata_error(&e))?.is_committed();
        if came_back {
            member.lease.replace(lease, asked);
        }
        Ok(came_back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lease_counts_from_when_a_sign_of_life_was_sent() {
        let asked = Instant::now();
        let lease = Lease::new(LeaseId(1), Duration::from_secs(10), asked);
        tokio::time::advance(Duration::from_millis(8_900)).await;
        assert!(lease.is_valid());
        lease.extend(asked + Duration::from_secs(1));
        tokio::time::advance(Duration::from_millis(200)).await;
        assert!(lease.is_valid(), "a later sign of life was answered");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!lease.is_valid());
    }
}
