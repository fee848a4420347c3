//! Builders for the tests of this crate.
#![allow(clippy::unwrap_used, clippy::panic)]

use bytes::Bytes;
use runnel_record::{Batch, HEADER_LEN, LeaderEpoch, Offset, ProducerId, TimestampMs};

use crate::{
    BatchFacts, Decision, Effect, Error, Options, Partition, ProducerBatch, RequestId, Start, Terms, sequence,
};

pub(crate) const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

/// A batch as a client sends it. Its records are not real: the machine never looks at them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
    pub(crate) first: i32,
    pub(crate) records: i32,
    pub(crate) attributes: i16,
    pub(crate) max_timestamp: i64,
    pub(crate) body: usize,
}

pub(crate) fn idempotent(id: i64, epoch: i16, first: i32, records: i32) -> Sent {
    Sent { id, epoch, first, records, attributes: 0, max_timestamp: NOW.0, body: 39 }
}

pub(crate) fn plain(records: i32) -> Sent {
    idempotent(-1, -1, -1, records)
}

impl Sent {
    pub(crate) fn batch(&self) -> Batch {
        let mut header = [0; HEADER_LEN];
        let length = i32::try_from(HEADER_LEN - 12 + self.body).unwrap();
        header[8..12].copy_from_slice(&length.to_be_bytes());
        header[16] = 2;
        header[21..23].copy_from_slice(&self.attributes.to_be_bytes());
        header[23..27].copy_from_slice(&(self.records - 1).to_be_bytes());
        header[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        header[43..51].copy_from_slice(&self.id.to_be_bytes());
        header[51..53].copy_from_slice(&self.epoch.to_be_bytes());
        header[53..57].copy_from_slice(&self.first.to_be_bytes());
        header[57..61].copy_from_slice(&self.records.to_be_bytes());
        Batch::from_parts(header, Bytes::from(vec![7; self.body]))
    }
}

/// Facts of a batch of `records` at `base`, appended at `time` in leader epoch `epoch`.
pub(crate) fn facts(epoch: i32, base: i64, records: i64, time: i64) -> BatchFacts {
    BatchFacts {
        base: Offset(base),
        next: Offset(base + records),
        epoch: LeaderEpoch(epoch),
        append_time: TimestampMs(time),
        max_timestamp: TimestampMs(time),
        bytes: 100,
        producer: None,
    }
}

impl BatchFacts {
    /// The same, from an idempotent producer.
    pub(crate) fn by(self, id: i64, epoch: i16, first: i32) -> Self {
        let last_sequence = sequence::advance(first, self.next.0 - self.base.0 - 1);
        let producer = ProducerBatch { id: ProducerId(id), epoch, first_sequence: first, last_sequence };
        Self { producer: Some(producer), ..self }
    }
}

/// A partition at epoch 1 with a lane that takes everything.
pub(crate) struct Rig {
    pub(crate) partition: Partition,
    pub(crate) now: TimestampMs,
    pub(crate) lane: u64,
    pub(crate) token: u64,
}

impl Rig {
    pub(crate) fn new(options: Options) -> Self {
        let partition = Partition::open(options, &Start::never_shipped(LeaderEpoch(1)), []).unwrap();
        Self { partition, now: NOW, lane: 0, token: 0 }
    }

    /// Sends a batch; an append goes into the lane at once. Returns its token and the decision.
    pub(crate) fn send(&mut self, sent: Sent) -> (RequestId, Result<Decision, Error>) {
        let token = self.next_token();
        let decision = self.partition.append(self.now, token, Terms::default(), &mut sent.batch());
        if let Ok(Decision::Append { .. }) = decision {
            self.lane += 1;
            let mut effects = Vec::new();
            self.partition.appended(token, self.lane, &mut effects).unwrap();
            assert_eq!(effects, [], "nothing is durable yet");
        }
        (token, decision)
    }

    /// As [`Self::send`], where an append is expected. Returns the base offset.
    pub(crate) fn append(&mut self, sent: Sent) -> i64 {
        match self.send(sent).1 {
            Ok(Decision::Append { base_offset, .. }) => base_offset.0,
            other => panic!("expected an append, got {other:?}"),
        }
    }

    /// As [`Self::append`], and durable at once.
    pub(crate) fn commit(&mut self, sent: Sent) -> i64 {
        let base = self.append(sent);
        self.sync();
        base
    }

    pub(crate) fn next_token(&mut self) -> RequestId {
        self.token += 1;
        RequestId(self.token)
    }

    /// Everything in the lane becomes durable.
    pub(crate) fn sync(&mut self) -> Vec<Effect> {
        self.durable(self.lane)
    }

    pub(crate) fn durable(&mut self, upto: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.partition.durable(upto, &mut effects);
        effects
    }

    pub(crate) fn fail(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.partition.failed(&mut effects);
        effects
    }
}

/// Replies as (token, base offset), or `None` for an unknown outcome.
pub(crate) fn replies(effects: &[Effect]) -> Vec<(u64, Option<i64>)> {
    let reply = |effect: &Effect| match effect {
        Effect::HighWatermark(_) => None,
        Effect::Reply { token, outcome: Ok(produced) } => Some((token.0, Some(produced.base_offset.0))),
        Effect::Reply { token, outcome: Err(Error::OutcomeUnknown) } => Some((token.0, None)),
        Effect::Reply { .. } => panic!("{effect:?}"),
    };
    effects.iter().filter_map(reply).collect()
}
