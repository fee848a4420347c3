//! Leaving a cluster: what this broker leads goes to others first, then its session ends in good order.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use runnel_api::Error;
use runnel_metastore::{Compare, Op};
use tokio::time::Instant;

use super::join::broker_record;
use super::view::live_key;
use super::{Member, View};
use crate::Broker;
use crate::error::metadata_error;
use crate::partition::Partition;

impl Broker {
    /// Gives what this broker leads to the others, for as long as a stop may take. Clients are served meanwhile. A part of
    /// [`Broker::stop`], for those who have doors to close between the two.
    pub async fn leave(self: &Arc<Self>) {
        self.leave_cluster(Instant::now() + self.options.shutdown_timeout).await;
    }

    /// Gives everything away, for as long as somebody may take it. Meanwhile clients are served.
    pub(crate) async fn leave_cluster(self: &Arc<Self>, until: Instant) {
        let Some(member) = &self.member else { return };
        if member.leaving.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Err(error) = self.say_draining(member).await {
            tracing::warn!(%error, "cannot tell the others that this broker leaves");
            return;
        }
        self.wait_until_given(member, 0, until).await;
    }

    /// Waits until others lead what this broker led, but for so many partitions; not where there is nobody to lead it.
    pub(super) async fn wait_until_given(&self, member: &Member, but: usize, until: Instant) {
        let mut changes = member.changes.subscribe();
        loop {
            let led = {
                let view = member.view();
                if view.has_successor(self.home.session) { view.count_led_by(self.home.session) } else { 0 }
            };
            if led <= but {
                return;
            }
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(until) => {
                    tracing::warn!(partitions = led, "not all partitions were handed over in time");
                    return;
                }
                _ = changes.changed() => {}
            }
        }
    }

    async fn say_draining(&self, member: &Member) -> Result<(), Error> {
        let key = live_key(self.home.node_id);
        loop {
            let Some(found) = self.meta.get(&key).await.map_err(|e| metadata_error(&e))? else { return Ok(()) };
            let record = broker_record(&self.home, &self.options, &member.options, true);
            let put = Op::Put(key.clone(), record.encode(), Some(member.lease.id()));
            let outcome = self.meta.txn(vec![Compare::Revision(key.clone(), found.revision)], vec![put]).await;
            if outcome.map_err(|e| metadata_error(&e))?.is_committed() {
                return Ok(());
            }
        }
    }

    /// The last words: the lanes are closed, so the session is over, and nobody need find that out.
    pub(crate) async fn end_own_session(&self, shipped: &[Arc<Partition>], until: Instant) {
        let Some(member) = &self.member else { return };
        member.leaving.store(true, Ordering::Release);
        let ended = async {
            // With everything in the bucket, those that stay behind need nobody's lanes and no disk.
            self.replace_tails(member, shipped, |_, _| Vec::new()).await?;
            self.end_session(self.home.session).await?;
            self.meta.revoke(member.lease.id()).await.map_err(|e| metadata_error(&e))
        };
        match tokio::time::timeout_at(until, ended).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "cannot end this session; the others will"),
            Err(_) => tracing::warn!("the session did not end in time; the others will end it"),
        }
    }
}

impl View {
    /// Whether somebody else may lead what `session` leads.
    fn has_successor(&self, session: u64) -> bool {
        let mut others = self.brokers.iter().filter(|(_, at)| at.record.session != session);
        others.any(|(number, at)| !self.is_draining(*number, &at.record))
    }
}
