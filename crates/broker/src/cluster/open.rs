//! Opening a partition that this session was told to lead (protocol §5, P2 to P7).
//!
//! The earlier sessions that its unshipped log may be with are ended, what their sealed lanes hold is collected, the root
//! in the bucket is taken over by compare-and-swap, then the record. After the first swap no earlier leader ships
//! anything, after the second one this one serves.

use std::sync::Arc;

use runnel_api::{Error, ErrorKind};
use runnel_format::meta::{
    Durability, Identity, Leadership, PartitionRecord, SessionRecord, SessionState, TailSession,
};
use runnel_guard::{Guard, holds};
use runnel_metastore::{Compare, Op, TxnOutcome, Versioned};
use runnel_partition::Start;
use runnel_record::{LeaderEpoch, Offset, TopicPartition};
use runnel_segment::manifest::{Commit, IfAbsent, Manifest};
use uuid::Uuid;

use crate::Broker;
use crate::error::{damaged, metadata_error, segment_error};
use crate::open::{hidden_damage, known_epochs, partition_key, tail};
use crate::partition::Partition;
use crate::sessions;
use crate::topics::Topic;

impl Broker {
    pub(crate) async fn open_led(&self, topic: &Topic, tp: TopicPartition) -> Result<Arc<Partition>, Error> {
        let (mut record, mut found) = self.led_record(topic, tp).await?;
        let own_session = self.home.session;
        // An answer that got lost: what this session opened and did not serve holds nothing.
        record.tail.retain(|part| part.session != own_session);
        for part in &record.tail {
            if holds(Guard::SealBeforeOpen) {
                self.take_over_session(part.session).await?;
            }
            self.check_disk(topic, tp, part)?;
        }
        let if_absent = if record.never_shipped { IfAbsent::Empty } else { IfAbsent::Corrupt };
        let loaded = Manifest::load(&self.bucket, tp, &topic.name, if_absent, self.ports.fail.clone()).await;
        let mut manifest = loaded.map_err(|e| segment_error(&e))?;
        if manifest.root().version > 0 && manifest.root().epoch >= record.epoch {
            // P1: the store has lost history, or an earlier attempt got as far as the root.
            record.epoch = LeaderEpoch(manifest.root().epoch.0 + 1);
            found = self.replace_record(tp, &found, &record).await?;
        }
        let shipped = manifest.root().end;
        // The log on this disk may hold what others have replaced; what the record says is here counts.
        let mut here = tail::on_disk(&record.tail, shipped);
        if here.is_empty() && record.starts.is_empty() && self.inherited.goes_beyond(tp, shipped) {
            found = self.name_this_disk(tp, &found, &mut record, shipped).await?;
            here = tail::on_disk(&record.tail, shipped);
        }
        let on_disk = if here.is_empty() { Arc::default() } else { self.inherited.tail(tp) };
        let in_bucket = self.log.inherited_tail(tp);
        let facts = tail::in_order(on_disk.iter().chain(&in_bucket));
        let damage = self.damage_in_bucket(tp, Some(&record), shipped).await?;
        let damage_here = self.inherited.damage(tp);
        let damage_here =
            damage_here.iter().flat_map(|range| here.iter().filter_map(|part| tail::clipped(*range, part)));
        let (facts, blocked) = self.cut_at_corruption(tp, shipped, facts, &damage_here.collect::<Vec<_>>(), &damage);
        let may_have_lost = self.inherited.is_blind() && on_disk.is_empty() && !here.is_empty();
        let blocked = blocked.or_else(|| may_have_lost.then(|| hidden_damage(&topic.label(tp))));
        let start = Start {
            epoch: record.epoch,
            log_start: manifest.root().log_start,
            epochs: known_epochs(manifest.root(), Some(&record)),
            producers: self.producers_at_end(&manifest).await?,
        };
        let machine = self.machine(topic, &start, facts)?;
        let mut commit = Commit::trim(record.epoch, manifest.root(), manifest.root().log_start);
        if blocked.is_none() {
            commit.epochs = machine.epochs().to_vec();
        }
        taken(manifest.commit(&commit).await)?;
        if manifest.root().log_start != start.log_start {
            return Err(changed_at_this_moment());
        }
        self.pass("open.root_taken")?;
        let mut durability = topic.config().durability;
        // What was acknowledged on this disk alone is shipped before the partition promises more (design §5).
        if tail::end(&on_disk).is_some_and(|end| end > shipped) {
            durability = Durability::Local;
        }
        let begins = machine.high_watermark();
        if blocked.is_none() {
            record.starts = machine.epochs().to_vec();
            let own = TailSession { session: own_session, durability, from: begins, to: None };
            record.tail = tail::continued(record.tail, shipped, own);
        }
        record.never_shipped = false;
        record.leader = record.leader.map(|leader| Leadership { is_open: true, ..leader });
        self.replace_record_if(self.own_session_is_active()?, tp, &found, &record).await?;
        self.pass("open.recorded")?;
        if here.is_empty() {
            if self.inherited.goes_beyond(tp, shipped) {
                tracing::warn!(
                    partition = topic.label(tp),
                    "what this disk holds of a partition was replaced: it is dropped"
                );
            }
            // Or it would be read in place of what others have written at the same offsets.
            self.log.discard_on_disk(tp);
        }
        self.inherited.taken(tp);
        self.log.taken(tp);
        self.log.shipped(tp, shipped);
        tracing::debug!(
            partition = topic.label(tp), epoch = %record.epoch, %shipped, high_watermark = %begins, "leads a partition"
        );
        let partition = self.serve(topic, machine, manifest, durability, blocked)?;
        if !partition.is_blocked() && record.tail.iter().any(|part| part.session != own_session) {
            partition.inherit_upto(begins);
        }
        Ok(partition)
    }

    /// A restore knows no disks, so what the first to lead after it has on its own is a part of the log. The record says so
    /// before anything else is done, under a session of its own: from here on nobody leads without this disk.
    async fn name_this_disk(
        &self,
        tp: TopicPartition,
        found: &Versioned,
        record: &mut PartitionRecord,
        shipped: Offset,
    ) -> Result<Versioned, Error> {
        let Identity { node_name, disk_id, .. } = self.home.identity.clone();
        let session = session_of(disk_id);
        let over = SessionRecord { node_name, disk_id, state: SessionState::Sealed, lanes: Vec::new() };
        let key = sessions::key(session);
        self.meta
            .txn(Vec::new(), vec![Op::Put(key.clone(), over.encode(), None)])
            .await
            .map_err(|e| metadata_error(&e))?;
        record.tail.push(TailSession { session, durability: Durability::Local, from: shipped, to: None });
        let mut compare = self.own_session_is_active()?;
        compare.push(Compare::Present(key));
        self.replace_record_if(compare, tp, found, record).await
    }

    /// The record of a partition that this session leads.
    async fn led_record(&self, topic: &Topic, tp: TopicPartition) -> Result<(PartitionRecord, Versioned), Error> {
        let elsewhere = || self.led_elsewhere(topic, tp);
        let found = self.refresh(tp).await?.ok_or_else(elsewhere)?;
        let record = PartitionRecord::decode(&found.value).map_err(|e| damaged(&e))?;
        if record.leader.is_none_or(|leader| leader.session != self.home.session) {
            return Err(elsewhere());
        }
        Ok((record, found))
    }

    /// That this session has not been ended: compared by whoever names it in a record, since the lanes of one that is over
    /// are deleted once no record names it.
    pub(crate) fn own_session_is_active(&self) -> Result<Vec<Compare>, Error> {
        let session = self.home.session;
        if !holds(Guard::SessionIsActive) {
            return Ok(Vec::new());
        }
        let at = self.member.as_ref().and_then(|member| member.view().sessions.get(&session).cloned());
        match at {
            Some(at) if at.record.state == SessionState::Active => {
                Ok(vec![Compare::Revision(sessions::key(session), at.revision)])
            }
            _ => Err(Error::new(ErrorKind::NotLeader, "this session was ended by another broker")),
        }
    }

    /// Replaces the record of a partition.
    async fn replace_record(
        &self,
        tp: TopicPartition,
        found: &Versioned,
        record: &PartitionRecord,
    ) -> Result<Versioned, Error> {
        self.replace_record_if(Vec::new(), tp, found, record).await
    }

    async fn replace_record_if(
        &self,
        mut compare: Vec<Compare>,
        tp: TopicPartition,
        found: &Versioned,
        record: &PartitionRecord,
    ) -> Result<Versioned, Error> {
        let (key, value) = (partition_key(tp), record.encode());
        if holds(Guard::RecordSwap) {
            compare.push(Compare::Revision(key.clone(), found.revision));
        }
        let put = Op::Put(key.clone(), value.clone(), None);
        let outcome = self.meta.txn(compare, vec![put]).await.map_err(|e| metadata_error(&e))?;
        let TxnOutcome::Committed(revision) = outcome else {
            return Err(Error::new(ErrorKind::NotLeader, "the partition's record changed at this moment: retry"));
        };
        let replaced = Versioned { value, revision, created: found.created };
        self.note(&key, Some(&replaced))?;
        Ok(replaced)
    }

    /// P2: an earlier session is ended, and what its lanes in the bucket hold is known here.
    pub(super) async fn take_over_session(&self, session: u64) -> Result<(), Error> {
        let Some(member) = &self.member else { return Ok(()) };
        let gate = member.gate(session);
        let mut is_ended = gate.lock().await;
        if !*is_ended {
            self.inherit_session(session).await?;
            *is_ended = true;
        }
        Ok(())
    }

    /// What is on the disk of another broker cannot be had from here.
    fn check_disk(&self, topic: &Topic, tp: TopicPartition, part: &TailSession) -> Result<(), Error> {
        let Some(member) = &self.member else { return Ok(()) };
        let disk = member.view().sessions.get(&part.session).map(|at| at.record.disk_id);
        if part.durability == Durability::Object || disk == Some(self.home.identity.disk_id) {
            return Ok(());
        }
        let label = topic.label(tp);
        let what = format!(
            "records of {label} are on the disk of another broker: start it, or ship them from its data directory with \
             `runnel wal adopt`; if the disk is lost, `runnel topic accept-loss --lost-disk` goes on without it"
        );
        Err(Error::new(ErrorKind::StorageError, what))
    }
}

/// What became of taking the root over. A leader before that was faster has shipped more, so the log is to be looked at again.
fn taken(outcome: Result<(), runnel_segment::Error>) -> Result<(), Error> {
    match outcome {
        Err(runnel_segment::Error::NotNext { .. }) => Err(changed_at_this_moment()),
        outcome => outcome.map_err(|e| segment_error(&e)),
    }
}

fn changed_at_this_moment() -> Error {
    Error::new(ErrorKind::NotLeader, "the leader before changed the root at this moment: retry")
}

/// The session that stands for all of before that wrote to a disk. It has no lanes and is over, so it may come and go.
fn session_of(disk: Uuid) -> u64 {
    let (high, low) = disk.as_u64_pair();
    high ^ low
}

#[cfg(test)]
mod tests {
    use runnel_record::TopicId;

    use super::*;

    #[test]
    fn a_leader_before_that_was_faster_is_no_damage() {
        let tp = TopicPartition { topic: TopicId(Uuid::nil()), partition: 0 };
        let faster = runnel_segment::Error::NotNext { tp, end: Offset(20), base: Offset(10) };
        assert_eq!(taken(Err(faster)).unwrap_err().kind, ErrorKind::NotLeader);
        let newer = runnel_segment::Error::Fenced { tp, mine: LeaderEpoch(1), found: LeaderEpoch(2) };
        assert_eq!(taken(Err(newer)).unwrap_err().kind, ErrorKind::NotLeader);
        assert_eq!(taken(Err(runnel_segment::Error::RootMissing { tp })).unwrap_err().kind, ErrorKind::Corrupt);
        assert!(taken(Ok(())).is_ok());
    }
}
