//! The rules of idempotent producers over a whole log: no folding, no forgetting but what the limits ask for.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use runnel_format::producer::{BATCHES_KEPT, ProducerEntry, ProducerSnapshot, RememberedBatch};
use runnel_record::{Offset, ProducerId, TimestampMs};

use crate::{BatchFacts, ProducerBatch, ProducerLimits};

/// What the machine must say to a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Append { unknown: bool },
    Duplicate(Offset),
    Joined,
    Fenced,
    OutOfOrder,
    OldDuplicate,
}

/// Who is remembered at the end of a log: every batch of each producer's current run, by index into the log.
pub(super) struct Naive<'a> {
    log: &'a [BatchFacts],
    limits: ProducerLimits,
    runs: BTreeMap<ProducerId, Vec<usize>>,
}

impl<'a> Naive<'a> {
    pub(super) fn of(log: &'a [BatchFacts], limits: ProducerLimits) -> Self {
        let mut naive = Self { log, limits, runs: BTreeMap::new() };
        for (at, batch) in log.iter().enumerate() {
            let expired = |run: &Vec<usize>| too_old(limits, &log[*run.last().unwrap()], batch.append_time);
            naive.runs.retain(|_, run| !expired(run));
            let Some(producer) = batch.producer else { continue };
            let run = naive.runs.entry(producer.id).or_default();
            if run.last().is_some_and(|last| log[*last].producer.unwrap().epoch != producer.epoch) {
                run.clear();
            }
            run.push(at);
            if naive.runs.len() > limits.max {
                let oldest = *naive.runs.iter().min_by_key(|(_, run)| *run.last().unwrap()).unwrap().0;
                naive.runs.remove(&oldest);
            }
        }
        naive
    }

    /// What a batch of `p`, appended at `time`, is to a log of which the first `committed` batches are committed.
    pub(super) fn judge(&self, committed: usize, p: ProducerBatch, time: TimestampMs) -> Expected {
        let is_same = |at: &usize| self.log[*at].producer == Some(p);
        if (committed..self.log.len()).any(|at| is_same(&at)) {
            return Expected::Joined;
        }
        let remembered = self.runs.get(&p.id).map_or(&[][..], |run| &run[run.len().saturating_sub(BATCHES_KEPT)..]);
        if let Some(at) = remembered.iter().find(|at| is_same(at)) {
            return Expected::Duplicate(self.log[*at].base);
        }
        // A producer that was forgotten, or is about to be, is still known by what is in flight.
        let alive = |run: &&Vec<usize>| !too_old(self.limits, &self.log[*run.last().unwrap()], time);
        let is_own = |at: &usize| self.log[*at].producer.is_some_and(|q| q.id == p.id);
        let in_flight: Vec<usize> = (committed..self.log.len()).filter(is_own).collect();
        let run = self.runs.get(&p.id).filter(alive).unwrap_or(&in_flight);
        let Some(newest) = run.last().map(|last| self.log[*last].producer.unwrap()) else {
            return Expected::Append { unknown: true };
        };
        if p.epoch < newest.epoch {
            return Expected::Fenced;
        }
        let expected = if p.epoch > newest.epoch { 0 } else { following(newest.last_sequence) };
        if p.first_sequence == expected {
            return Expected::Append { unknown: false };
        }
        let older = run[..run.len().saturating_sub(BATCHES_KEPT)].iter().filter(|at| **at < committed);
        let stored: BTreeSet<i32> = older.flat_map(|at| sequences(self.log[*at].producer.unwrap())).collect();
        if p.epoch == newest.epoch && sequences(p).iter().all(|s| stored.contains(s)) {
            Expected::OldDuplicate
        } else {
            Expected::OutOfOrder
        }
    }

    pub(super) fn snapshot(&self) -> ProducerSnapshot {
        let remembered = |at: &usize| {
            let batch = &self.log[*at];
            let producer = batch.producer.unwrap();
            RememberedBatch {
                first_sequence: producer.first_sequence,
                last_sequence: producer.last_sequence,
                base_offset: batch.base,
                append_time: batch.append_time,
            }
        };
        let producers = self.runs.iter().map(|(id, run)| ProducerEntry {
            id: *id,
            epoch: self.log[run[0]].producer.unwrap().epoch,
            written: run.iter().map(|at| self.log[*at].next.0 - self.log[*at].base.0).sum(),
            batches: run[run.len().saturating_sub(BATCHES_KEPT)..].iter().map(remembered).collect(),
        });
        ProducerSnapshot {
            offset: self.log.last().map_or(Offset::ZERO, |last| last.next),
            last_append_time: self.log.last().map_or(TimestampMs::NONE, |last| last.append_time),
            producers: producers.collect(),
        }
    }
}

fn too_old(limits: ProducerLimits, last: &BatchFacts, now: TimestampMs) -> bool {
    i128::from(now.0 - last.append_time.0) >= limits.expiration.as_millis() as i128
}

fn following(sequence: i32) -> i32 {
    if sequence == i32::MAX { 0 } else { sequence + 1 }
}

/// Every sequence number of a batch.
pub(super) fn sequences(p: ProducerBatch) -> Vec<i32> {
    let mut all = vec![p.first_sequence];
    while *all.last().unwrap() != p.last_sequence {
        all.push(following(*all.last().unwrap()));
    }
    all
}
