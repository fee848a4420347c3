//! A topic in memory.

use std::collections::BTreeMap;

use bytes::Bytes;
use runnel_api::{
    ActiveProducer, ConfigEntry, ConfigSource, ConfigType, Durability, Error, ErrorKind, Fetched, ListedOffset,
    OffsetSpec, PartitionDescription, Produced, ProducerIdentity, Room, TopicDescription,
};
use runnel_record::{Batch, LeaderEpoch, Offset, ProducerId, TimestampMs, TopicId};

/// The epoch of every partition.
pub(crate) const EPOCH: LeaderEpoch = LeaderEpoch(1);

/// Batches that are remembered for each producer.
const REMEMBERED: usize = 5;

pub(crate) struct Topic {
    pub(crate) id: TopicId,
    pub(crate) configs: BTreeMap<String, String>,
    pub(crate) partitions: Vec<Log>,
}

impl Topic {
    pub(crate) fn describe(&self, name: &str) -> TopicDescription {
        let partition = |partition| PartitionDescription {
            partition,
            leader: Some(0),
            leader_epoch: EPOCH,
            replicas: vec![0],
            in_sync: vec![0],
        };
        TopicDescription {
            name: name.to_owned(),
            id: self.id,
            internal: false,
            partitions: (0..).zip(&self.partitions).map(|(number, _)| partition(number)).collect(),
        }
    }

    pub(crate) fn entries(&self) -> Vec<ConfigEntry> {
        let set = |name: &str| self.configs.get(name).cloned();
        let entry = |name: &str, default: &str, kind| ConfigEntry {
            name: name.to_owned(),
            value: set(name).or_else(|| Some(default.to_owned())),
            source: if set(name).is_some() { ConfigSource::Topic } else { ConfigSource::Default },
            read_only: false,
            sensitive: false,
            kind,
            documentation: format!("What {name} does."),
            synonyms: vec![(name.to_owned(), default.to_owned(), ConfigSource::Default)],
        };
        vec![entry("cleanup.policy", "delete", ConfigType::List), entry("retention.ms", "-1", ConfigType::Long)]
    }
}

/// The log of a partition.
#[derive(Default)]
pub(crate) struct Log {
    batches: Vec<Batch>,
    /// Last batches of each producer: (epoch, first sequence, count, base offset).
    producers: BTreeMap<i64, Vec<(i16, i32, i32, Offset)>>,
}

impl Log {
    pub(crate) fn end(&self) -> Offset {
        self.batches.last().map_or(Offset::ZERO, Batch::next_offset)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.batches.iter().map(|batch| batch.len() as u64).sum()
    }

    pub(crate) fn active(&self) -> Vec<ActiveProducer> {
        let active = self.producers.iter().filter_map(|(id, past)| {
            let (epoch, first, count, _) = past.last()?;
            let identity = ProducerIdentity { id: ProducerId(*id), epoch: *epoch };
            Some(ActiveProducer { identity, last_sequence: first + count - 1, last_append: TimestampMs::NONE })
        });
        active.collect()
    }

    pub(crate) fn append(&mut self, records: Bytes, expected: Option<Offset>) -> Result<Produced, Error> {
        let mut batch = parse(records)?;
        let base_offset = match self.known(&batch)? {
            Some(earlier) => earlier,
            None => {
                let base = self.end();
                if expected.is_some_and(|expected| expected != base) {
                    let kind = ErrorKind::OffsetMismatch { next_offset: base };
                    return Err(Error::new(kind, format!("the next offset is {base}")));
                }
                self.remember(&batch, base);
                batch.assign(base, EPOCH);
                self.batches.push(batch);
                base
            }
        };
        Ok(Produced {
            base_offset,
            log_append_time: TimestampMs::NONE,
            log_start: Offset::ZERO,
            leader_epoch: EPOCH,
            durability: Durability::Local,
        })
    }

    fn known(&self, batch: &Batch) -> Result<Option<Offset>, Error> {
        let (id, epoch, sequence) = (batch.producer_id().0, batch.producer_epoch(), batch.base_sequence());
        let Some(past) = self.producers.get(&id) else { return Ok(None) };
        let count = batch.record_count();
        if let Some(same) = past.iter().find(|(e, s, c, _)| (*e, *s, *c) == (epoch, sequence, count)) {
            return Ok(Some(same.3));
        }
        match past.last() {
            Some((e, s, c, _)) if *e == epoch && s.wrapping_add(*c) != sequence => Err(Error::new(
                ErrorKind::OutOfOrderSequence,
                format!("sequence {sequence} does not follow {}", s.wrapping_add(*c)),
            )),
            _ => Ok(None),
        }
    }

    fn remember(&mut self, batch: &Batch, base: Offset) {
        if batch.producer_id().0 >= 0 {
            let past = self.producers.entry(batch.producer_id().0).or_default();
            past.push((batch.producer_epoch(), batch.base_sequence(), batch.record_count(), base));
            if past.len() > REMEMBERED {
                past.remove(0);
            }
        }
    }

    /// Whole batches from the one that holds `offset`, up to `max_bytes`, but at least one if `at_least_one`.
    pub(crate) fn read(&self, offset: Offset, max_bytes: usize, at_least_one: bool) -> Result<Fetched, Error> {
        if offset < Offset::ZERO || offset > self.end() {
            return Err(Error::new(ErrorKind::OffsetOutOfRange, format!("offset {offset} is not in the log")));
        }
        let mut left = max_bytes;
        let mut batches: Vec<Batch> = Vec::new();
        for batch in self.batches.iter().filter(|batch| batch.next_offset() > offset) {
            let first = batches.is_empty() && at_least_one;
            if batch.len() > left && !first {
                break;
            }
            left = left.saturating_sub(batch.len());
            batches.push(batch.clone());
        }
        let end = self.end();
        let (log_start, room) = (Offset::ZERO, Room::default());
        Ok(Fetched {
            batches,
            high_watermark: end,
            last_stable_offset: end,
            log_start,
            diverging: None,
            reader: None,
            room,
        })
    }

    /// Offsets as exact as batches are: enough for a fake.
    pub(crate) fn find(&self, spec: OffsetSpec) -> Option<ListedOffset> {
        let at = |offset, timestamp| ListedOffset { offset, timestamp, leader_epoch: Some(EPOCH) };
        let of = |batch: &Batch| at(batch.base_offset(), batch.max_timestamp());
        match spec {
            OffsetSpec::Earliest => Some(at(Offset::ZERO, TimestampMs::NONE)),
            OffsetSpec::Latest => Some(at(self.end(), TimestampMs::NONE)),
            OffsetSpec::LatestTiered => None,
            OffsetSpec::MaxTimestamp => self.batches.iter().max_by_key(|batch| batch.max_timestamp()).map(of),
            OffsetSpec::Timestamp(from) => self.batches.iter().find(|batch| batch.max_timestamp() >= from).map(of),
        }
    }
}

fn parse(records: Bytes) -> Result<Batch, Error> {
    let refuse = |error: runnel_record::Error| match error.kind() {
        runnel_record::ErrorKind::UnsupportedFormat => Error::new(ErrorKind::UnsupportedFormat, error.to_string()),
        _ => Error::new(ErrorKind::CorruptMessage, error.to_string()),
    };
    let (batch, rest) = Batch::parse(records).map_err(refuse)?;
    if !rest.is_empty() {
        return Err(Error::new(ErrorKind::InvalidRecord, "more than one batch"));
    }
    batch.verify_crc().map_err(refuse)?;
    Ok(batch)
}
