//! What sessions that are over have left, once nothing of it is needed: their records, and their lanes in the bucket; and
//! what a broker left that died in the middle of an administrative change.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use runnel_api::{Error, ErrorKind, TopicKey};
use runnel_blob::Key;
use runnel_format::manifest::Root;
use runnel_format::meta::{Durability, PartitionRecord, SessionState, TailSession};
use runnel_metastore::{Compare, Op};
use runnel_record::{Offset, TopicId, TopicPartition};
use runnel_wal::object::{self, SealedLane};
use tokio::time::Instant;

use super::Member;
use super::view::CONTROLLER;
use crate::Broker;
use crate::error::{bucket_error, damaged, lane_error, metadata_error};
use crate::open::{partition_key, partitions_key};
use crate::partition::Partition;
use crate::sessions;

/// Partitions whose roots are read at once.
const ROOTS_AT_ONCE: usize = 16;

/// Records that one transaction shortens.
const AT_ONCE: usize = 60;

/// How often the controller tidies up.
const TIDY: Duration = Duration::from_secs(5);

/// How often is looked whether this broker has become the controller.
const LOOK: Duration = Duration::from_secs(1);

impl Broker {
    /// Tidies up while this broker is the controller. The bucket may take its time, which the controller's decisions must
    /// not wait for. Ends with the broker.
    pub(super) async fn tidy_up(self: Arc<Self>) {
        let Some(member) = &self.member else { return };
        let (mut repaired, mut tidied) = (None, Instant::now());
        loop {
            tokio::select! {
                biased;
                () = self.stop_signal.triggered() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            member.measure(self.home.node_id, self.home.session);
            let own = member.view().controller.filter(|(controller, _)| controller.session == self.home.session);
            let Some((_, token)) = own else { continue };
            let is_new = repaired != Some(token);
            if !is_new && tidied.elapsed() < TIDY {
                continue;
            }
            tidied = Instant::now();
            let changes = if is_new { self.repair().await } else { self.settle_changes().await };
            match changes {
                Ok(()) => repaired = Some(token),
                Err(error) => tracing::warn!(%error, "cannot compare the metadata store with the bucket yet"),
            }
            self.forget_orphans(token).await;
            self.bury_sessions(token).await;
        }
    }

    async fn repair(&self) -> Result<(), Error> {
        self.reconcile_settings().await?;
        self.reconcile_topics().await
    }

    /// Deletes the lanes and records of sessions that no partition names any more. The controller's work.
    pub(super) async fn bury_sessions(&self, token: u64) {
        let Some(member) = &self.member else { return };
        let over: Vec<u64> = {
            let view = member.view();
            let needed = view.needed_sessions();
            let over = view
                .sessions
                .iter()
                .filter(|(session, at)| at.record.state != SessionState::Active && !needed.contains(*session));
            over.map(|(session, _)| *session).collect()
        };
        for session in over {
            match self.bury_session(session, token).await {
                Ok(()) => {
                    tracing::info!(session = %sessions::shown(session), "nothing of an earlier session is needed any more")
                }
                Err(error) => {
                    tracing::debug!(session = %sessions::shown(session), %error, "what an earlier session left stays for now")
                }
            }
        }
    }

    /// Deletes the records of partitions whose topic is gone: a deletion may have been cut off, or have crossed an
    /// assignment. The controller's work.
    pub(super) async fn forget_orphans(&self, token: u64) {
        let Some(member) = &self.member else { return };
        let known = |topic| self.topics.find(&TopicKey::Id(topic)).is_some();
        let topics: BTreeSet<TopicId> =
            member.view().partitions.keys().map(|tp| tp.topic).filter(|topic| !known(*topic)).collect();
        for topic in topics {
            let forgotten = async {
                // That it is not known proves nothing.
                if self.is_tombstoned(topic).await? { self.forget_records(topic, token).await } else { Ok(()) }
            };
            if let Err(error) = forgotten.await {
                tracing::debug!(%topic, %error, "records of a deleted topic stay for now");
            }
        }
    }

    async fn forget_records(&self, topic: TopicId, token: u64) -> Result<(), Error> {
        let found = self.meta.range(&partitions_key(topic)).await.map_err(|e| metadata_error(&e))?;
        for some in found.chunks(AT_ONCE) {
            let compare = vec![Compare::Created(CONTROLLER.to_owned(), token)];
            let then = some.iter().map(|(key, _)| Op::Delete(key.clone())).collect();
            self.meta.txn(compare, then).await.map_err(|e| metadata_error(&e))?;
        }
        Ok(())
    }

    async fn bury_session(&self, session: u64, token: u64) -> Result<(), Error> {
        // One that nobody has needed since it was fenced may have lanes that are not sealed.
        self.end_session(session).await?;
        let Some((record, found)) = self.read_session(session).await? else { return Ok(()) };
        for lane in record.lanes.iter().filter(|lane| lane.durability == Durability::Object) {
            // That no record names it is a reason to look; that the roots cover it is the proof.
            let sealed = SealedLane::open(&self.bucket, lane.id).await.map_err(|e| lane_error(&e))?;
            if !sealed.damaged().is_empty() {
                return Err(Error::new(
                    ErrorKind::Corrupt,
                    "it has a damaged lane, which an operator may want to look at",
                ));
            }
            let held = sealed.partitions().filter_map(|tp| Some((tp, sealed.end_of(tp)?)));
            let checks = held.map(|(tp, end)| async move {
                let not_yet = || Error::new(ErrorKind::Corrupt, format!("{tp} is not in the bucket up to {end}"));
                self.is_shipped(tp, end).await?.then_some(()).ok_or_else(not_yet)
            });
            stream::iter(checks.collect::<Vec<_>>()).buffer_unordered(ROOTS_AT_ONCE).try_collect::<Vec<()>>().await?;
            object::retire(&self.bucket, lane.id, &self.ports.fail).await.map_err(|e| lane_error(&e))?;
            object::sweep(&self.bucket, lane.id).await.map_err(|e| lane_error(&e))?;
        }
        let key = sessions::key(session);
        let compare =
            vec![Compare::Created(CONTROLLER.to_owned(), token), Compare::Revision(key.clone(), found.revision)];
        self.meta.txn(compare, vec![Op::Delete(key)]).await.map_err(|e| metadata_error(&e))?;
        Ok(())
    }

    /// Whether the root of a partition covers everything below `end`, or its topic was deleted.
    pub(super) async fn is_shipped(&self, tp: TopicPartition, end: Offset) -> Result<bool, Error> {
        let found = self.bucket.read_register(&Key::Root(tp)).await.map_err(|e| bucket_error(&e))?;
        let shipped = found.map(|found| Root::decode(&found.payload)).transpose().map_err(|e| damaged(&e))?;
        Ok(shipped.is_some_and(|root| root.end >= end) || self.is_tombstoned(tp.topic).await?)
    }

    /// Ships what lies in the lanes of those who are gone, so that no record names them any more. Partitions that are still
    /// to be opened come first: the bucket does one thing or the other.
    pub(crate) fn ship_inherited(&self) {
        if self.member.as_ref().is_some_and(Member::is_opening) {
            return;
        }
        for (_, partition) in self.topics.open_partitions() {
            if let Some(upto) = partition.unshipped_inheritance() {
                partition.seal_upto(upto);
            }
        }
    }

    /// Takes sessions, and classes of lanes, out of the records of partitions that have nothing unshipped there any more
    /// (protocol §6, 9). The caller is the one who changes classes, so none is being changed meanwhile.
    pub(crate) async fn shorten_tails(&self) {
        let Some(member) = &self.member else { return };
        let open = self.topics.open_partitions().into_iter().map(|(_, partition)| partition);
        // A blocked one waits for those that its record names.
        let done: Vec<Arc<Partition>> =
            open.filter(|partition| partition.has_shipped_inheritance() && !partition.is_blocked()).collect();
        let needed = |partition: &Partition, record: &PartitionRecord| {
            let mark = partition.inherits_upto();
            let needed = |part: &TailSession| {
                part.session == self.home.session
                    && (partition.changes_durability() || part.durability == partition.durability())
            };
            let tail: Vec<TailSession> = record.tail.iter().copied().filter(needed).collect();
            if tail == record.tail {
                partition.forget_inheritance(mark);
            }
            tail
        };
        if let Err(error) = self.replace_tails(member, &done, needed).await {
            tracing::debug!(%error, "records of partitions still name sessions that are shipped");
        }
    }

    /// Gives the records of partitions that this session leads the tails that `tail` says. What it wrote comes back with the
    /// watch, and what changed meanwhile too.
    pub(super) async fn replace_tails(
        &self,
        member: &Member,
        partitions: &[Arc<Partition>],
        tail: impl Fn(&Partition, &PartitionRecord) -> Vec<TailSession>,
    ) -> Result<(), Error> {
        for some in partitions.chunks(AT_ONCE) {
            let (mut compare, mut then) = (Vec::new(), Vec::new());
            {
                let view = member.view();
                let led = some.iter().filter_map(|partition| Some((partition, view.partitions.get(&partition.tp)?)));
                for (partition, at) in led.filter(|(partition, at)| at.record.epoch == partition.epoch) {
                    let tail = tail(partition, &at.record);
                    if tail != at.record.tail {
                        let key = partition_key(partition.tp);
                        compare.push(Compare::Revision(key.clone(), at.revision));
                        let record = PartitionRecord { tail, ..at.record.clone() };
                        then.push(Op::Put(key, record.encode(), None));
                    }
                }
            }
            if !then.is_empty() {
                self.meta.txn(compare, then).await.map_err(|e| metadata_error(&e))?;
            }
        }
        Ok(())
    }
}
