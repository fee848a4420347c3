//! From entries to the bytes of a slot, without copying their bodies.

use bytes::{Bytes, BytesMut};
use runnel_format::wal::{ROW_LEN, RUN_LEN, Row, SLOT_HEADER_LEN, SlotHeader, SlotKind, SlotRun, seeded_crc};

use super::options::ObjectLaneIdentity;
use crate::entry::Entry;

/// A slot to be written.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) slot: u64,
    /// Neighbours by partition, in order of their append within each.
    entries: Vec<Entry>,
    /// What was unshipped in earlier slots.
    checkpoint: Option<Vec<SlotRun>>,
}

impl Draft {
    pub(crate) fn new(slot: u64, mut entries: Vec<Entry>, checkpoint: Option<Vec<SlotRun>>) -> Self {
        // Stable: within a partition the order is that of the log.
        entries.sort_by_key(|entry| entry.tp);
        Self { slot, entries, checkpoint }
    }

    fn data_at(&self) -> usize {
        let runs = self.checkpoint.as_ref().map_or(0, Vec::len);
        SLOT_HEADER_LEN + self.entries.len() * ROW_LEN + runs * RUN_LEN
    }

    /// Where the partitions are in the slot.
    pub(crate) fn runs(&self) -> Vec<SlotRun> {
        let rows = self.entries.iter().map(|Entry { tp, batch, .. }| {
            (*tp, batch.leader_epoch(), batch.base_offset()..batch.next_offset(), batch.body().len() as u64)
        });
        group(self.slot, self.data_at() as u64, rows)
    }

    /// The object: its first part is everything but the bodies.
    pub(crate) fn encode(&self, identity: &ObjectLaneIdentity) -> Vec<Bytes> {
        let ObjectLaneIdentity { lane, session, nonce } = *identity;
        let seed = SlotHeader::seed(lane, self.slot);
        let data_at = self.data_at();
        let mut head = BytesMut::with_capacity(data_at);
        head.resize(SLOT_HEADER_LEN, 0);
        let mut body_at = data_at as u64;
        for Entry { tp, append_time, batch } in &self.entries {
            // Kafka's lengths are 31 bits.
            let body_len = u32::try_from(batch.body().len()).unwrap_or(u32::MAX);
            let row = Row { tp: *tp, append_time: *append_time, body_at, body_len, header: *batch.header() };
            row.encode(seed, &mut head);
            body_at += u64::from(body_len);
        }
        let rows_end = head.len();
        for run in self.checkpoint.iter().flatten() {
            run.encode(&mut head);
        }
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let header = SlotHeader {
            kind: SlotKind::Data,
            lane,
            session,
            slot: self.slot,
            nonce,
            total_len: body_at,
            rows: count(self.entries.len()),
            runs: self.checkpoint.as_ref().map(|runs| count(runs.len())),
            rows_crc: seeded_crc(seed, &head[SLOT_HEADER_LEN..rows_end]),
            runs_crc: seeded_crc(seed, &head[rows_end..]),
        };
        head[..SLOT_HEADER_LEN].copy_from_slice(&header.encode());
        let mut parts = Vec::with_capacity(self.entries.len() + 1);
        parts.push(head.freeze());
        parts.extend(self.entries.iter().map(|entry| entry.batch.body().clone()));
        parts
    }
}

type Facts = (runnel_record::TopicPartition, runnel_record::LeaderEpoch, std::ops::Range<runnel_record::Offset>, u64);

/// Groups the rows of a slot into runs; `rows` are partition, epoch, offsets and bytes of the body of each.
pub(crate) fn group(slot: u64, data_at: u64, rows: impl Iterator<Item = Facts>) -> Vec<SlotRun> {
    let mut runs: Vec<SlotRun> = Vec::new();
    let mut body_at = data_at;
    for (row, (tp, epoch, offsets, body_len)) in (0..).zip(rows) {
        match runs.last_mut() {
            Some(last) if (last.tp, last.epoch, last.next) == (tp, epoch, offsets.start) => {
                last.next = offsets.end;
                last.rows += 1;
                last.body_len += body_len;
            }
            _ => {
                let (base, next) = (offsets.start, offsets.end);
                runs.push(SlotRun { tp, epoch, base, next, slot, first_row: row, rows: 1, body_at, body_len });
            }
        }
        body_at += body_len;
    }
    runs
}
