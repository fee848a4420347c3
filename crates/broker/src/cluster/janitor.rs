//! What sessions that are over have left, once nothing of it is needed: their records, and their lanes in the bucket.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use runnel_api::{Error, ErrorKind};
use runnel_blob::Key;
use runnel_format::manifest::Root;
use runnel_format::meta::{Durability, PartitionRecord, SessionState, TailSession};
use runnel_metastore::{Compare, Op};
use runnel_record::{Offset, TopicPartition};
use runnel_wal::object::{self, SealedLane};

use super::Member;
use super::view::CONTROLLER;
use crate::Broker;
use crate::error::{bucket_error, damaged, lane_error, metadata_error};
use crate::open::partition_key;
use crate::partition::Partition;
use crate::sessions;

/// Partitions whose roots are read at once.
const ROOTS_AT_ONCE: usize = 16;

/// Records that one transaction shortens.
const AT_ONCE: usize = 60;

impl Broker {
    /// Deletes the lanes and records of sessions that no partition names any more. The controller's work.
    pub(super) async fn bury_sessions(&self, token: u64) {
        let Some(member) = &self.member else { return };
        let over: Vec<u64> = {
            let view = member.view();
            let needed = view.needed_sessions();
            let over = view
                .sessions
                .iter()
                .filter(|(session, at)| at.record.state == SessionState::Sealed && !needed.contains(*session));
            over.map(|(session, _)| *session).collect()
        };
        for session in over {
            match self.bury_session(session, token).await {
                Ok(()) => tracing::info!(session, "nothing of an earlier session is needed any more"),
                Err(error) => tracing::debug!(session, %error, "what an earlier session left stays for now"),
            }
        }
    }

    async fn bury_session(&self, session: u64, token: u64) -> Result<(), Error> {
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
            let checks = held.map(|(tp, end)| self.check_shipped(tp, end));
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
    async fn check_shipped(&self, tp: TopicPartition, end: Offset) -> Result<(), Error> {
        let found = self.bucket.read_register(&Key::Root(tp)).await.map_err(|e| bucket_error(&e))?;
        let shipped = found.map(|found| Root::decode(&found.payload)).transpose().map_err(|e| damaged(&e))?;
        if shipped.is_some_and(|root| root.end >= end) || self.is_tombstoned(tp.topic).await? {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Corrupt, format!("{tp} is not in the bucket up to {end}")))
    }

    /// Takes sessions, and classes of lanes, out of the records of partitions that have nothing unshipped there any more
    /// (protocol §6, 9). The caller is the one who changes classes, so none is being changed meanwhile.
    pub(crate) async fn shorten_tails(&self) {
        let Some(member) = &self.member else { return };
        let open = self.topics.open_partitions().into_iter().map(|(_, partition)| partition);
        let done: Vec<Arc<Partition>> = open.filter(|partition| partition.has_shipped_inheritance()).collect();
        for partitions in done.chunks(AT_ONCE) {
            if let Err(error) = self.shorten(member, partitions).await {
                tracing::debug!(%error, "records of partitions still name sessions that are shipped");
            }
        }
    }

    async fn shorten(&self, member: &Member, partitions: &[Arc<Partition>]) -> Result<(), Error> {
        let (mut compare, mut then) = (Vec::new(), Vec::new());
        {
            let view = member.view();
            for partition in partitions {
                let Some(at) = view.partitions.get(&partition.tp) else { continue };
                let needed = |part: &TailSession| {
                    part.session == self.home.session
                        && (partition.changes_durability() || part.durability == partition.durability())
                };
                let tail: Vec<TailSession> = at.record.tail.iter().copied().filter(needed).collect();
                if at.record.epoch != partition.epoch || tail == at.record.tail {
                    partition.forget_inheritance();
                    continue;
                }
                let record = PartitionRecord { tail, ..at.record.clone() };
                let key = partition_key(partition.tp);
                compare.push(Compare::Revision(key.clone(), at.revision));
                then.push(Op::Put(key, record.encode(), None));
            }
        }
        if !then.is_empty() {
            // What it wrote comes back with the watch; what changed meanwhile too.
            self.meta.txn(compare, then).await.map_err(|e| metadata_error(&e))?;
        }
        Ok(())
    }
}
