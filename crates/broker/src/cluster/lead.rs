//! Leading a partition while the metadata store says so: opening it, handing it over, letting go of it.
//!
//! One task at a time turns a partition. Whatever it does is decided anew from the record, so it does not matter in which
//! order news arrive, or how often.

use std::sync::Arc;
use std::time::Duration;

use runnel_api::{Error, ErrorKind, TopicKey};
use runnel_format::meta::{Durability, Leadership, PartitionRecord};
use runnel_metastore::{Compare, Op};
use runnel_record::{LeaderEpoch, Offset, TimestampMs, TopicPartition};
use tokio::time::Instant;

use super::Member;
use super::view::At;
use crate::Broker;
use crate::error::metadata_error;
use crate::open::partition_key;
use crate::partition::Partition;
use crate::ship::Haste;
use crate::topics::{OFFSETS_TOPIC, Topic};

/// Waiting times after a failure: doubled each time, up to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// How long producers may have to wait while a partition is handed over. Past it, it stays.
const PATIENCE: Duration = Duration::from_secs(8);

/// How often is looked whether a segment was shipped that somebody else is shipping.
const LOOK: Duration = Duration::from_millis(10);

/// What is to be done about a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// It is ours and not open.
    Open,
    /// It is open in an epoch that is over.
    Close,
    /// It is ours, and to become that of another session.
    HandOver(u64),
}

impl Broker {
    /// Does what the record of a partition asks for, in the background.
    pub(super) fn follow_leader(self: &Arc<Self>, tp: TopicPartition) {
        let Some(member) = &self.member else { return };
        if self.next_turn(member, tp).is_some() && member.turn(tp) {
            let broker = Arc::clone(self);
            tokio::spawn(async move { broker.turn(tp).await });
        }
    }

    fn next_turn(&self, member: &Member, tp: TopicPartition) -> Option<Turn> {
        let topic = self.topics.find(&TopicKey::Id(tp.topic))?;
        let open = topic.slot(tp.partition)?.partition();
        let (epoch, leader) = {
            let view = member.view();
            let record = &view.partitions.get(&tp)?.record;
            (record.epoch, record.leader)
        };
        turn_of(open.map(|open| open.epoch), epoch, leader, self.home.session)
    }

    async fn turn(self: Arc<Self>, tp: TopicPartition) {
        let Some(member) = &self.member else { return };
        let mut pause = BACKOFF.0;
        loop {
            if let Some(turn) = self.next_turn(member, tp) {
                let at_once = if matches!(turn, Turn::HandOver(_)) { &member.hand_overs } else { &member.opens };
                let done = match at_once.acquire().await {
                    Ok(_permit) => self.take_turn(tp, turn).await,
                    Err(_) => return,
                };
                member.note_trouble(tp, done.as_ref().err().map(ToString::to_string));
                match done {
                    Ok(()) => pause = BACKOFF.0,
                    Err(error) => {
                        tracing::debug!(partition = %tp, ?turn, %error, "not yet");
                        tokio::select! {
                            biased;
                            () = self.stop_signal.triggered() => return,
                            () = tokio::time::sleep(pause) => {}
                        }
                        pause = (pause * 2).min(BACKOFF.1);
                    }
                }
            } else {
                member.note_trouble(tp, None);
                member.turned(tp);
                // What came in between found this task still at it.
                if self.next_turn(member, tp).is_none() || !member.turn(tp) {
                    return;
                }
            }
        }
    }

    async fn take_turn(self: &Arc<Self>, tp: TopicPartition, turn: Turn) -> Result<(), Error> {
        let topic = self.topics.get(&TopicKey::Id(tp.topic))?;
        match turn {
            Turn::Open => {
                let opened = self.open_in(&topic, tp.partition).await;
                if opened.is_err() {
                    // What is known here may be old.
                    self.refresh(tp).await?;
                }
                let opened = opened?;
                if topic.name == OFFSETS_TOPIC {
                    self.start_coordinator(&topic, tp.partition);
                }
                let broker = Arc::clone(self);
                tokio::spawn(async move { broker.sweep_in_turn(&opened).await });
                Ok(())
            }
            Turn::Close => {
                let slot = topic.existing(tp.partition)?;
                let _turning = slot.turning.lock().await;
                // It was not handed over, so this session was ended, or is about to be.
                tracing::warn!(partition = %tp, "another broker leads a partition that was open here");
                if let Some(open) = slot.partition() {
                    slot.set(None);
                    self.let_go(&open);
                }
                Ok(())
            }
            Turn::HandOver(to) => self.hand_over(&topic, tp, to).await,
        }
    }

    /// Looks for what crashes left in the bucket, a few partitions at a time, and behind those that wait to be opened: a
    /// broker may have got many at once, and clients wait for them.
    async fn sweep_in_turn(&self, partition: &Arc<Partition>) {
        let Some(member) = &self.member else { return };
        if let Ok(_turn) = member.sweeps.acquire().await
            && member.opens.acquire().await.is_ok()
            && !partition.is_closed()
        {
            self.sweep(partition).await;
        }
    }

    /// Gives a partition to another session (protocol §9). Everything is in the bucket before, so whoever takes it needs
    /// nothing of this broker. Producers wait meanwhile; readers until it is decided who goes on.
    async fn hand_over(&self, topic: &Topic, tp: TopicPartition, to: u64) -> Result<(), Error> {
        let slot = topic.existing(tp.partition)?;
        let _turning = slot.turning.lock().await;
        let Some(partition) = slot.partition() else { return Ok(()) };
        if partition.is_blocked() {
            return Err(damaged_stays());
        }
        let started = Instant::now();
        // Most of it while it goes on as it did.
        self.ship_upto(&partition, partition.watermark.get()).await?;
        let waiting = Instant::now();
        let emptied = self.empty(&partition).await.and_then(|()| self.pass("move.emptied"));
        if let Err(error) = emptied {
            partition.stay().await;
            return Err(error);
        }
        slot.set(None);
        if let Err(error) = self.give(&partition, to).await
            // Whether it was given is not known: nothing is served before that is.
            && self.reclaim(&partition).await?
        {
            slot.set(Some(Arc::clone(&partition)));
            partition.stay().await;
            return Err(error);
        }
        self.let_go(&partition);
        let (took, paused) = (started.elapsed(), waiting.elapsed());
        metrics::histogram!("runnel_move_pause_seconds").record(paused.as_secs_f64());
        tracing::debug!(partition = partition.label(), ?took, ?paused, "handed a partition over");
        Ok(())
    }

    /// Ships what is committed below an offset.
    async fn ship_upto(&self, partition: &Arc<Partition>, upto: Offset) -> Result<(), Error> {
        while partition.shipped() < upto {
            if partition.is_blocked() || partition.is_closed() {
                return Err(damaged_stays());
            }
            self.ship(partition, TimestampMs(self.ports.clock.now_ms()), Haste::Urgent).await?;
            if partition.shipped() < upto {
                tokio::time::sleep(LOOK).await;
            }
        }
        Ok(())
    }

    /// Lets producers wait until everything is shipped.
    async fn empty(&self, partition: &Arc<Partition>) -> Result<(), Error> {
        let emptied = partition.leave().await?;
        let ship = async {
            loop {
                let upto = partition.watermark.get();
                self.ship_upto(partition, upto).await?;
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            biased;
            emptied = emptied => emptied.map_err(|_| Error::new(ErrorKind::NotLeader, "the partition closed")),
            failed = ship => failed,
            () = tokio::time::sleep(PATIENCE) => {
                Err(Error::new(ErrorKind::StorageError, "the rest of the partition is not in the bucket in time"))
            }
        }
    }

    /// Names the next leader in the record.
    async fn give(&self, partition: &Partition, to: u64) -> Result<(), Error> {
        let Some(member) = &self.member else { return Ok(()) };
        let (tp, key) = (partition.tp, partition_key(partition.tp));
        let at = member.view().partitions.get(&tp).cloned();
        let at = at.filter(|at| at.record.epoch == partition.epoch && at.record.leader.is_some());
        let Some(at) = at else { return Err(Error::new(ErrorKind::NotLeader, "the partition's record has changed")) };
        let leader = Some(Leadership { session: to, is_open: false, move_to: None });
        let epoch = LeaderEpoch(partition.epoch.0 + 1);
        let record = PartitionRecord { epoch, leader, never_shipped: false, tail: Vec::new(), ..at.record };
        let put = Op::Put(key.clone(), record.encode(), None);
        let outcome = self.meta.txn(vec![Compare::Revision(key, at.revision)], vec![put]).await;
        self.pass("move.given")?;
        if !outcome.map_err(|e| metadata_error(&e))?.is_committed() {
            return Err(Error::new(ErrorKind::NotLeader, "the partition's record changed at this moment"));
        }
        // So that whoever waits here hears of the next leader.
        self.until_known(tp).await
    }

    /// Makes sure that a partition stays here: what gave it away and got no answer may be on its way still, and must find
    /// another revision of the record. False if it was given away.
    async fn reclaim(&self, partition: &Partition) -> Result<bool, Error> {
        let (tp, mut pause) = (partition.tp, BACKOFF.0);
        loop {
            self.until_known(tp).await?;
            let at = self.member.as_ref().and_then(|member| member.view().partitions.get(&tp).cloned());
            let own = |at: &At<PartitionRecord>| {
                let session = at.record.leader.map(|leader| leader.session);
                at.record.epoch == partition.epoch && session == Some(self.home.session)
            };
            let Some(at) = at.filter(own) else { return Ok(false) };
            let key = partition_key(tp);
            let put = Op::Put(key.clone(), at.record.encode(), None);
            match self.meta.txn(vec![Compare::Revision(key, at.revision)], vec![put]).await {
                Ok(outcome) if outcome.is_committed() => return Ok(true),
                Ok(_) => {}
                Err(error) => tracing::warn!(partition = %tp, %error, "whether a partition stays here is not known"),
            }
            tokio::select! {
                biased;
                () = self.stop_signal.triggered() => return Ok(false),
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(BACKOFF.1);
        }
    }

    async fn until_known(&self, tp: TopicPartition) -> Result<(), Error> {
        let mut pause = BACKOFF.0;
        while let Err(error) = self.refresh(tp).await {
            tracing::warn!(partition = %tp, %error, "who leads a partition is not known");
            tokio::select! {
                biased;
                () = self.stop_signal.triggered() => return Err(error),
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(BACKOFF.1);
        }
        Ok(())
    }

    /// Ends what this broker does for a partition.
    fn let_go(&self, partition: &Partition) {
        partition.close();
        self.groups.end(partition.tp);
        // Whoever shipped the last of it may have found it closed before he could say so.
        self.log.shipped(partition.tp, partition.shipped());
        for class in [Durability::Local, Durability::Object] {
            self.log.leave(class, partition.tp);
        }
    }
}

/// What is damaged is in the lanes that the record names, and an operator may mend it there.
fn damaged_stays() -> Error {
    Error::new(ErrorKind::Corrupt, "a damaged partition stays where it is")
}

fn turn_of(open: Option<LeaderEpoch>, epoch: LeaderEpoch, leader: Option<Leadership>, own: u64) -> Option<Turn> {
    match (open, leader.filter(|leader| leader.session == own)) {
        // It went away and came back.
        (Some(open), Some(_)) if epoch > open => Some(Turn::Close),
        (None, Some(_)) => Some(Turn::Open),
        (Some(_), Some(leader)) => leader.move_to.filter(|to| *to != own).map(Turn::HandOver),
        // The news may be older than what is open.
        (Some(open), None) if epoch > open => Some(Turn::Close),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_follows_from_the_record_alone() {
        let of = |session, move_to| Some(Leadership { session, is_open: true, move_to });
        let (e4, e5) = (LeaderEpoch(4), LeaderEpoch(5));
        assert_eq!(turn_of(None, e5, of(1, None), 1), Some(Turn::Open));
        assert_eq!(turn_of(Some(e5), e5, of(1, None), 1), None);
        assert_eq!(turn_of(Some(e5), e5, of(1, Some(2)), 1), Some(Turn::HandOver(2)));
        assert_eq!(turn_of(Some(e5), e5, of(1, Some(1)), 1), None, "it is there already");
        assert_eq!(turn_of(Some(e4), e5, of(2, None), 1), Some(Turn::Close));
        assert_eq!(turn_of(Some(e4), e5, of(1, None), 1), Some(Turn::Close), "it was led by others meanwhile");
        assert_eq!(turn_of(Some(e5), e4, of(2, None), 1), None, "old news");
        assert_eq!(turn_of(None, e5, of(2, None), 1), None);
        assert_eq!(turn_of(None, e5, None, 1), None);
    }
}
