//! Reading: what is in a partition from an offset on, as its leader has it.

use std::time::Duration;

use runnel_api::{
    DivergingEpoch, Error, ErrorKind, Fetch as _, FetchPartition, FetchRequest, Fetched, Isolation, OffsetSpec,
    Offsets as _,
};
use runnel_record::{LeaderEpoch, Offset};
use runnel_runtime::simulation::Chance;

use super::batches::records;
use super::{Log, Shared};
use crate::kinds::Operation;
use crate::told::Polled;

/// Bytes of one fetch.
const BYTES: usize = 64 << 10;

/// A client that reads a partition.
pub(super) struct Reader {
    shared: Shared,
    name: String,
    log: Log,
    chance: Chance,
    /// What it reads next.
    pub(super) offset: i64,
    /// The newest epoch that it has heard of: it does not go back to leaders of before (KIP-320).
    pub(super) epoch: LeaderEpoch,
    /// That of the last records that it read.
    last: Option<LeaderEpoch>,
}

impl Reader {
    /// From the beginning on.
    pub(super) fn new(shared: &Shared, name: String, log: Log, chance: Chance) -> Self {
        Self::at(shared, name, log, (0, LeaderEpoch(0)), chance)
    }

    /// From where somebody has come to, with the epoch that he had heard of.
    pub(super) fn at(
        shared: &Shared,
        name: String,
        log: Log,
        (offset, epoch): (i64, LeaderEpoch),
        chance: Chance,
    ) -> Self {
        shared.told.seek(&name, &log.place, offset);
        Self { shared: shared.clone(), name, log, chance, offset, epoch, last: None }
    }

    /// Whether it has read all that is known to be there.
    pub(super) fn has_all(&self) -> bool {
        self.offset >= self.shared.told.end(&self.log.place)
    }

    /// Reads once, and says where the log ends. `None` if there was nobody to ask, or no use in it.
    pub(super) async fn poll(&mut self, wait: Duration) -> Option<i64> {
        let (leader, epoch) = self.shared.leader(&self.log, &mut self.chance).await?;
        if epoch < self.epoch {
            return None;
        }
        self.epoch = epoch;
        let request = self.request(wait);
        self.shared.trace.count(Operation::Fetch);
        let answers = self.shared.directory.ask(leader, |broker| async move { broker.fetch(request).await }).await?;
        let none = || Err(Error::new(ErrorKind::Internal, "no answer for the partition"));
        match answers.into_iter().next().map_or_else(none, |answer| answer.outcome) {
            Ok(Fetched { diverging: Some(diverging), .. }) => {
                self.go_back(diverging);
                None
            }
            Ok(fetched) => self.take(&fetched),
            Err(error) if error.kind == ErrorKind::OffsetOutOfRange => {
                self.go_to_start(leader).await;
                None
            }
            Err(error) if self.shared.is_damage(leader, &error) => None,
            Err(error) => {
                self.shared.may_retry(&self.name, &error);
                None
            }
        }
    }

    fn request(&self, max_wait: Duration) -> FetchRequest {
        let partition = FetchPartition {
            topic: self.log.key.clone(),
            partition: self.log.place.partition,
            offset: Offset(self.offset),
            max_bytes: BYTES,
            current_leader_epoch: Some(self.epoch),
            last_fetched_epoch: self.last,
            zone: None,
        };
        let (isolation, partitions) = (Isolation::ReadCommitted, vec![partition]);
        FetchRequest { max_wait, min_bytes: 1, max_bytes: BYTES, isolation, partitions }
    }

    fn take(&mut self, fetched: &Fetched) -> Option<i64> {
        let (end, log_start) = (fetched.high_watermark.0, fetched.log_start.0);
        // A partition whose log is damaged goes on as far as it can be read, and says so to who writes.
        let high_watermark = (!self.shared.may_lose()).then_some(end);
        if fetched.batches.is_empty() {
            self.tell(&Polled { records: Vec::new(), epoch: None, high_watermark, log_start });
        }
        for batch in &fetched.batches {
            match records(batch, self.offset) {
                Ok(records) => {
                    self.last = Some(batch.leader_epoch());
                    let epoch = Some(batch.leader_epoch().0);
                    self.offset = records.last().map_or(self.offset, |last| last.offset + 1);
                    self.tell(&Polled { records, epoch, high_watermark, log_start });
                }
                Err(error) => {
                    self.shared.condemn(&self.name, &format!("is given what is no batch: {error}"));
                    return None;
                }
            }
        }
        Some(end)
    }

    fn tell(&self, polled: &Polled) {
        self.shared.told.poll(&self.name, &self.log.place, polled);
    }

    /// Says where the log ended when it was asked at `begin`.
    pub(super) fn tell_end(&self, begin: u64, end: i64) {
        self.shared.told.offsets(&self.name, &self.log.place, begin, None, Some(end));
    }

    /// The log goes on without what was read of it (KIP-320).
    fn go_back(&mut self, to: DivergingEpoch) {
        if !self.shared.may_lose() {
            let why =
                format!("at {} it is told that the log of epoch {} ends at {}", self.offset, to.epoch, to.end_offset);
            return self.shared.condemn(&self.name, &why);
        }
        self.offset = self.offset.min(to.end_offset.0);
        self.last = Some(to.epoch);
        self.shared.told.seek(&self.name, &self.log.place, self.offset);
    }

    /// What is to be read is no longer there: goes on where the log starts.
    async fn go_to_start(&mut self, leader: usize) {
        let begin = self.shared.told.moment();
        self.shared.trace.count_many(Operation::Offsets, 2);
        let (key, partition, epoch) = (self.log.key.clone(), self.log.place.partition, self.epoch);
        let asked = self.shared.directory.ask(leader, move |broker| async move {
            let ask =
                async |spec| broker.list_offset(&key, partition, spec, Isolation::ReadCommitted, Some(epoch)).await;
            (ask(OffsetSpec::Earliest).await, ask(OffsetSpec::Latest).await)
        });
        let Some((Ok(Some(start)), Ok(Some(end)))) = asked.await else { return };
        let (start, end) = (start.offset.0, end.offset.0);
        let known = (!self.shared.may_lose()).then_some(end);
        self.shared.told.offsets(&self.name, &self.log.place, begin, Some(start), known);
        if start <= self.offset && self.shared.may_lose() {
            self.offset = self.offset.min(end);
            return self.shared.told.seek(&self.name, &self.log.place, self.offset);
        }
        if start <= self.offset {
            let why = format!("offset {} is out of range, and the log is from {start} to {end}", self.offset);
            return self.shared.condemn(&self.name, &why);
        }
        self.offset = start;
        self.shared.told.seek(&self.name, &self.log.place, start);
    }
}
