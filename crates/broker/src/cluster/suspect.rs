//! Noticing at once that a broker's process is gone, rather than by its lease.
//!
//! Every broker keeps a connection to every other. When one breaks and the port refuses another, nobody listens there any
//! more: the key that says that the broker is alive is deleted. Should that be wrong, the broker loses its session, and
//! nobody a record (protocol §4.1, S3).

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use runnel_format::meta::{BrokerRecord, HostPort};
use runnel_metastore::{Compare, Op};
use runnel_runtime::Line;
use tokio::io::AsyncReadExt;
use tokio::task::JoinHandle;

use super::view::{At, live_key};
use crate::Broker;

/// Pause before a broker is dialled again whose connection ended, or who refused one.
const AGAIN: Duration = Duration::from_millis(100);

/// The same for one who is not reached at all.
const UNREACHED: Duration = Duration::from_secs(1);

/// Longest wait for a connection. One that does not come about in time says nothing.
const PATIENCE: Duration = Duration::from_secs(3);

/// Refusals in a row after which nobody is believed to listen.
const REFUSALS: u32 = 2;

impl Broker {
    /// Watches the brokers that are alive. Ends with the broker.
    pub(super) async fn suspect_others(self: Arc<Self>) {
        let Some(member) = &self.member else { return };
        let mut changes = member.changes.subscribe();
        let mut watched: BTreeMap<(i32, u64), JoinHandle<()>> = BTreeMap::new();
        loop {
            let others: BTreeMap<(i32, u64), At<BrokerRecord>> = {
                let view = member.view();
                let others = view.brokers.iter().filter(|(number, _)| **number != self.home.node_id);
                others.map(|(number, at)| ((*number, at.record.session), at.clone())).collect()
            };
            for (_, task) in watched.extract_if(.., |who, _| !others.contains_key(who)) {
                task.abort();
            }
            for (who, at) in others {
                watched.entry(who).or_insert_with(|| tokio::spawn(Arc::clone(&self).suspect(who, at.record.grpc)));
            }
            tokio::select! {
                biased;
                () = self.stop_signal.triggered() => break,
                _ = changes.changed() => {}
            }
        }
        watched.into_values().for_each(|task| task.abort());
    }

    async fn suspect(self: Arc<Self>, (number, session): (i32, u64), at: HostPort) {
        let (mut reached, mut refusals) = (false, 0);
        loop {
            match tokio::time::timeout(PATIENCE, self.ports.dial.dial(&at.host, at.port)).await {
                Ok(Ok(line)) => {
                    (reached, refusals) = (true, 0);
                    until_closed(line).await;
                    tokio::time::sleep(AGAIN).await;
                }
                // Somebody who was never reached may be behind something that refuses.
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused && reached => {
                    refusals += 1;
                    if refusals >= REFUSALS {
                        self.report(number, session).await;
                        refusals = 0;
                    }
                    tokio::time::sleep(AGAIN).await;
                }
                _ => tokio::time::sleep(UNREACHED).await,
            }
        }
    }

    async fn report(&self, number: i32, session: u64) {
        let Some(member) = &self.member else { return };
        let at = member.view().brokers.get(&number).filter(|at| at.record.session == session).cloned();
        // One that leaves closes its doors before it is gone, and says so when it is.
        let Some(at) = at.filter(|at| !at.record.is_draining) else { return };
        tracing::warn!(number, name = at.record.name, "the process of a broker is gone");
        let key = live_key(number);
        let (mut compare, mut gone) = (vec![Compare::Revision(key.clone(), at.revision)], vec![Op::Delete(key)]);
        let controller = member.view().controller;
        if let Some((_, token)) = controller.filter(|(controller, _)| controller.session == session) {
            compare.push(Compare::Created(super::view::CONTROLLER.to_owned(), token));
            gone.push(Op::Delete(super::view::CONTROLLER.to_owned()));
        }
        if let Err(error) = self.meta.txn(compare, gone).await {
            tracing::warn!(number, %error, "cannot report that a broker is gone");
        }
    }
}

/// Waits for the end of a connection: that of the process, or of a server's patience with a client that is silent.
async fn until_closed(mut line: Line) {
    let mut bytes = [0; 64];
    while line.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
}
