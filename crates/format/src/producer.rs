//! Producer state of one partition as of a log offset: what the root keeps (or points to) so that idempotent
//! producers are recognised after any failover. Layout: `docs/formats/producer-state.md`.

use bytes::Bytes;
use runnel_record::{Offset, ProducerId, TimestampMs};

use crate::Error;
use crate::codec::{self, Reader, Writer};

/// Magic of an enveloped producer snapshot.
pub const MAGIC: [u8; 4] = *b"RNPS";
/// Newest version written.
pub const VERSION: u16 = 1;
/// Batches remembered for each producer, as in Kafka (`ProducerStateEntry.NUM_BATCHES_TO_RETAIN`).
pub const BATCHES_KEPT: usize = 5;

const WHAT: &str = "producer snapshot";
const BATCH_BYTES: usize = 4 + 4 + 8 + 8;
const MIN_PRODUCER_BYTES: usize = 8 + 2 + 8 + 1 + BATCH_BYTES;

/// The dedup state of a partition: a pure function of the log below `offset`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerSnapshot {
    /// Every batch below this offset is accounted for, none at or above it.
    pub offset: Offset,
    /// Append time of the last batch below `offset`, [`TimestampMs::NONE`] for an empty log.
    pub last_append_time: TimestampMs,
    /// One entry per producer, by ascending id.
    pub producers: Vec<ProducerEntry>,
}

/// What is remembered of one idempotent producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerEntry {
    /// The producer.
    pub id: ProducerId,
    /// Its newest epoch in the log.
    pub epoch: i16,
    /// Records appended in this epoch without a gap in their sequence numbers, up to the last one: what tells an old
    /// duplicate from a batch never seen.
    pub written: i64,
    /// Its last batches in this epoch, oldest first: one to [`BATCHES_KEPT`].
    pub batches: Vec<RememberedBatch>,
}

/// One batch of an idempotent producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RememberedBatch {
    /// Sequence number of the first record.
    pub first_sequence: i32,
    /// Sequence number of the last record, inclusive; below `first_sequence` where the numbers wrapped.
    pub last_sequence: i32,
    /// Where the batch stands.
    pub base_offset: Offset,
    /// When it was appended.
    pub append_time: TimestampMs,
}

impl ProducerSnapshot {
    /// The state of a log without a batch.
    pub const fn empty() -> Self {
        Self { offset: Offset::ZERO, last_append_time: TimestampMs::NONE, producers: Vec::new() }
    }

    /// The stored form, in an envelope. The same state always gives the same bytes.
    pub fn encode(&self) -> Bytes {
        let mut w = Writer::default();
        w.i64(self.offset.0).i64(self.last_append_time.0);
        w.u32(u32::try_from(self.producers.len()).unwrap_or(u32::MAX));
        for producer in &self.producers {
            w.i64(producer.id.0).i16(producer.epoch).i64(producer.written);
            w.u8(u8::try_from(producer.batches.len()).unwrap_or(u8::MAX));
            for b in &producer.batches {
                w.i32(b.first_sequence).i32(b.last_sequence).i64(b.base_offset.0).i64(b.append_time.0);
            }
        }
        codec::seal(MAGIC, VERSION, &w.0)
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for damaged bytes and for a state that no log can produce; [`Error::NewerFormat`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let (_, payload) = codec::open(WHAT, MAGIC, VERSION, bytes)?;
        let mut r = Reader::new(WHAT, payload);
        let (offset, last_append_time) = (Offset(r.i64()?), TimestampMs(r.i64()?));
        let count = r.count(MIN_PRODUCER_BYTES)?;
        let mut producers = Vec::with_capacity(count);
        for _ in 0..count {
            producers.push(decode_producer(&mut r)?);
        }
        r.finish()?;
        let snapshot = Self { offset, last_append_time, producers };
        snapshot.check()?;
        Ok(snapshot)
    }

    /// Checks what holds for every state that a log can produce.
    ///
    /// # Errors
    /// [`Error::Corrupt`], naming the first rule that is broken.
    pub fn check(&self) -> Result<(), Error> {
        ensure(self.offset >= Offset::ZERO, "negative offset")?;
        ensure(self.producers.is_sorted_by(|a, b| a.id < b.id), "producer ids not ascending")?;
        for producer in &self.producers {
            let batches = &producer.batches;
            ensure(producer.id.0 >= 0 && producer.epoch >= 0, "negative producer id or epoch")?;
            ensure((1..=BATCHES_KEPT).contains(&batches.len()), "a producer without batches, or with too many")?;
            ensure(batches.iter().all(|b| b.first_sequence >= 0 && b.last_sequence >= 0), "negative sequence number")?;
            ensure(producer.written >= batches.len() as i64, "fewer records than batches")?;
            ensure(batches.is_sorted_by(|a, b| a.base_offset < b.base_offset), "base offsets not ascending")?;
            ensure(batches.is_sorted_by(|a, b| a.append_time <= b.append_time), "append times fall")?;
            ensure(batches[0].base_offset >= Offset::ZERO, "negative base offset")?;
            let last = batches[batches.len() - 1];
            ensure(last.base_offset < self.offset, "a batch at or above the offset of the snapshot")?;
            ensure(last.append_time <= self.last_append_time, "a batch after the last append time")?;
        }
        Ok(())
    }
}

fn decode_producer(r: &mut Reader<'_>) -> Result<ProducerEntry, Error> {
    let (id, epoch, written, count) = (ProducerId(r.i64()?), r.i16()?, r.i64()?, usize::from(r.u8()?));
    ensure((1..=BATCHES_KEPT).contains(&count), "a producer without batches, or with too many")?;
    let mut batches = Vec::with_capacity(count);
    for _ in 0..count {
        let (first_sequence, last_sequence) = (r.i32()?, r.i32()?);
        let (base_offset, append_time) = (Offset(r.i64()?), TimestampMs(r.i64()?));
        batches.push(RememberedBatch { first_sequence, last_sequence, base_offset, append_time });
    }
    Ok(ProducerEntry { id, epoch, written, batches })
}

const fn ensure(holds: bool, reason: &'static str) -> Result<(), Error> {
    if holds { Ok(()) } else { Err(Error::Corrupt { what: WHAT, reason }) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

    fn batch(first: i32, last: i32, base: i64, time: i64) -> RememberedBatch {
        RememberedBatch {
            first_sequence: first,
            last_sequence: last,
            base_offset: Offset(base),
            append_time: TimestampMs(time),
        }
    }

    fn sample() -> ProducerSnapshot {
        ProducerSnapshot {
            offset: Offset(42),
            last_append_time: TimestampMs(1_700_000_000_500),
            producers: vec![
                ProducerEntry {
                    id: ProducerId(7),
                    epoch: 0,
                    written: 15,
                    batches: vec![batch(0, 9, 0, 1_700_000_000_000), batch(10, 14, 20, 1_700_000_000_400)],
                },
                ProducerEntry {
                    id: ProducerId(1_000),
                    epoch: 3,
                    written: 4,
                    batches: vec![batch(i32::MAX - 1, 1, 30, 1_700_000_000_500)],
                },
            ],
        }
    }

    #[test]
    fn golden() {
        let golden = include_bytes!("../golden/producer-v1.bin");
        assert_eq!(&sample().encode()[..], &golden[..]);
        assert_eq!(ProducerSnapshot::decode(golden).unwrap(), sample());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_seen() {
        let good = sample().encode();
        for at in 0..good.len() {
            assert!(ProducerSnapshot::decode(&good[..at]).is_err(), "cut at {at}");
            // Bytes 6 and 7 are reserved: ignored by readers, so that they can be given a meaning.
            if at == 6 || at == 7 {
                continue;
            }
            for bit in 0..8 {
                let mut bad = good.to_vec();
                bad[at] ^= 1 << bit;
                assert!(ProducerSnapshot::decode(&bad).is_err(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn a_newer_version_is_named() {
        let payload = &sample().encode()[codec::ENVELOPE_LEN..];
        let newer = codec::seal(MAGIC, VERSION + 1, payload);
        assert!(matches!(ProducerSnapshot::decode(&newer), Err(Error::NewerFormat { found: 2, newest: 1, .. })));
    }

    #[test]
    fn states_that_no_log_produces_are_refused() {
        fn refused(change: impl Fn(&mut ProducerSnapshot)) {
            let mut bad = sample();
            change(&mut bad);
            assert!(matches!(ProducerSnapshot::decode(&bad.encode()), Err(Error::Corrupt { .. })), "{bad:?}");
        }
        refused(|s| s.offset = Offset(30));
        refused(|s| s.offset = Offset(-1));
        refused(|s| s.last_append_time = TimestampMs(0));
        refused(|s| s.producers.swap(0, 1));
        refused(|s| s.producers[1].id = ProducerId(7));
        refused(|s| s.producers[0].id = ProducerId(-1));
        refused(|s| s.producers[0].epoch = -1);
        refused(|s| s.producers[0].written = 1);
        refused(|s| s.producers[0].batches.clear());
        refused(|s| s.producers[0].batches = (0..6).map(|i| batch(i, i, i.into(), 0)).collect());
        refused(|s| s.producers[0].batches[0].first_sequence = -1);
        refused(|s| s.producers[0].batches[1].last_sequence = -1);
        refused(|s| s.producers[0].batches[0].base_offset = Offset(-1));
        refused(|s| s.producers[0].batches[1].base_offset = Offset(0));
        refused(|s| s.producers[0].batches[1].append_time = TimestampMs(0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn arbitrary_bytes_never_panic(payload in proptest::collection::vec(any::<u8>(), 0..300)) {
            // Sealed, so that the decoder sees the payload and not only a broken envelope.
            if let Ok(snapshot) = ProducerSnapshot::decode(&codec::seal(MAGIC, VERSION, &payload)) {
                prop_assert_eq!(&snapshot.encode()[codec::ENVELOPE_LEN..], &payload[..]);
            }
        }
    }
}
