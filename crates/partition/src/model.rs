//! The machine against a naive model: random appends, retries, lost replies, refusals, late news of durability, ships
//! cut short, crashes at every effect, reopening from the root and what is left of the lane.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use runnel_format::manifest::EpochStart;
use runnel_format::producer::ProducerSnapshot;
use runnel_record::{HEADER_LEN, LeaderEpoch, Offset, TimestampMs};

use crate::testing::{NOW, Sent, idempotent, plain};
use crate::{
    BatchFacts, Decision, Effect, Error, Options, Partition, ProducerBatch, ProducerLimits, RequestId, SegmentLimits,
    Start, Terms,
};
use naive::{Expected, Naive, sequences};

mod naive;

#[derive(Debug, Clone)]
enum Op {
    /// A client's next batch.
    Produce { client: usize, records: i32 },
    /// A batch that the client sent before, whatever became of it.
    Retry { client: usize, which: Index },
    /// A batch with a sequence number near the client's next one, but not in line.
    Stray { client: usize, ahead: i32, records: i32 },
    /// A batch that is not idempotent.
    Plain { records: i32 },
    /// The client goes on with a new producer epoch.
    Bump { client: usize },
    /// A batch that the lane refuses.
    Refused { client: usize, records: i32 },
    /// The lane syncs some of what it holds. The machine is not told.
    Sync { upto: Index },
    /// The machine hears of any progress that was true at some time; with `crash` only some effects are carried out.
    Durable { upto: Index, crash: Option<Index> },
    /// A segment is committed to the root; with `crash` before the machine hears of it.
    Ship { cut: Index, crash: bool },
    /// As the machine proposes.
    Seal { force: bool },
    /// Time passes, or the clock is set back.
    Tick { ms: i64 },
    /// The process dies; of what was not synced some may survive.
    Crash { keep: Index, record: bool },
    /// The lane fails: replies first, then as a crash.
    LaneFails { keep: Index },
    /// Retention.
    LogStart { at: Index },
}

fn op() -> impl Strategy<Value = Op> {
    let client = || 0usize..3;
    let index = any::<Index>;
    prop_oneof![
        8 => (client(), 1i32..6).prop_map(|(client, records)| Op::Produce { client, records }),
        5 => (client(), index()).prop_map(|(client, which)| Op::Retry { client, which }),
        2 => (client(), -30i32..8, 1i32..6).prop_map(|(client, ahead, records)| Op::Stray { client, ahead, records }),
        1 => (1i32..6).prop_map(|records| Op::Plain { records }),
        1 => client().prop_map(|client| Op::Bump { client }),
        1 => (client(), 1i32..6).prop_map(|(client, records)| Op::Refused { client, records }),
        5 => index().prop_map(|upto| Op::Sync { upto }),
        5 => (index(), proptest::option::weighted(0.1, index())).prop_map(|(upto, crash)| Op::Durable { upto, crash }),
        2 => (index(), proptest::bool::weighted(0.3)).prop_map(|(cut, crash)| Op::Ship { cut, crash }),
        1 => any::<bool>().prop_map(|force| Op::Seal { force }),
        2 => prop_oneof![0i64..30, Just(700), Just(-50), Just(86_400_000)].prop_map(|ms| Op::Tick { ms }),
        1 => (index(), any::<bool>()).prop_map(|(keep, record)| Op::Crash { keep, record }),
        1 => index().prop_map(|keep| Op::LaneFails { keep }),
        1 => index().prop_map(|at| Op::LogStart { at }),
    ]
}

fn options() -> impl Strategy<Value = Options> {
    let producers = prop_oneof![
        3 => Just(ProducerLimits { expiration: Duration::MAX, max: 100 }),
        1 => Just(ProducerLimits { expiration: Duration::from_millis(500), max: 100 }),
        1 => Just(ProducerLimits { expiration: Duration::MAX, max: 2 }),
    ];
    let segment = SegmentLimits { max_bytes: 700, max_age: Duration::from_millis(600) };
    producers.prop_map(move |producers| Options { producers, segment })
}

/// One entry of the lane: only what a recovery reads of it.
#[derive(Debug, Clone)]
struct Entry {
    header: [u8; HEADER_LEN],
    body_len: u32,
    append_time: TimestampMs,
    lane_seq: u64,
}

impl Entry {
    fn facts(&self) -> BatchFacts {
        BatchFacts::from_header(&self.header, self.body_len, self.append_time)
    }
}

#[derive(Debug, Clone)]
struct Client {
    id: i64,
    epoch: i16,
    next: i32,
    sent: Vec<Sent>,
}

/// What the bucket holds of the partition besides the batches.
#[derive(Debug, Clone)]
struct Root {
    log_start: Offset,
    epochs: Vec<EpochStart>,
    /// Encoded, as it is stored.
    producers: bytes::Bytes,
}

struct World {
    options: Options,
    machine: Partition,
    /// Every batch that is in a lane or a segment, in order: the truth.
    log: Vec<Entry>,
    /// The first so many are on disk.
    synced: usize,
    /// The first so many are committed, as far as the machine was told.
    committed: usize,
    lane_seq: u64,
    root: Root,
    /// The epochs of the partition record.
    record: Vec<EpochStart>,
    clients: Vec<Client>,
    now: TimestampMs,
    token: u64,
    /// Requests that wait, with the offset that their reply must bring.
    waiting: BTreeMap<RequestId, Offset>,
    /// Acknowledged batches: offset and the header without what the leader stamps.
    acked: BTreeMap<Offset, Vec<u8>>,
    /// The lowest sequence number that the lane refused of a producer that was unknown.
    refused: BTreeMap<i64, (i16, i32)>,
}

/// What the client sent: everything that the leader does not stamp.
fn content(header: &[u8; HEADER_LEN]) -> Vec<u8> {
    header[16..].to_vec()
}

impl World {
    fn new(options: Options) -> Self {
        let machine = Partition::open(options, &Start::never_shipped(LeaderEpoch(0)), []).unwrap();
        // One client starts just below the wrap.
        let client = |id, next| Client { id, epoch: 0, next, sent: Vec::new() };
        Self {
            options,
            root: Root { log_start: Offset::ZERO, epochs: Vec::new(), producers: ProducerSnapshot::empty().encode() },
            record: machine.epochs().to_vec(),
            machine,
            log: Vec::new(),
            synced: 0,
            committed: 0,
            lane_seq: 0,
            clients: vec![client(10, 0), client(11, 0), client(12, i32::MAX - 12)],
            now: NOW,
            token: 0,
            waiting: BTreeMap::new(),
            acked: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }

    fn facts(&self) -> Vec<BatchFacts> {
        self.log.iter().map(Entry::facts).collect()
    }

    fn run(&mut self, op: &Op) {
        match op {
            Op::Produce { client, records } => {
                let sent = self.next_batch(*client, *records);
                self.send(sent, true);
            }
            Op::Refused { client, records } => {
                let sent = self.next_batch(*client, *records);
                self.send(sent, false);
            }
            Op::Retry { client, which } => {
                let sent = &self.clients[*client].sent;
                if !sent.is_empty() {
                    self.send(*which.get(sent), true);
                }
            }
            Op::Stray { client, ahead, records } => {
                let c = &self.clients[*client];
                let first = c.next.wrapping_add(*ahead) & i32::MAX;
                self.send(idempotent(c.id, c.epoch, first, *records), true);
            }
            Op::Plain { records } => self.send(plain(*records), true),
            Op::Bump { client } => {
                let c = &mut self.clients[*client];
                (c.epoch, c.next) = (c.epoch + 1, 0);
            }
            Op::Sync { upto } => self.synced += upto.index(self.log.len() - self.synced + 1),
            Op::Durable { upto, crash } => self.durable(upto.index(self.synced + 1), *crash),
            Op::Ship { cut, crash } => self.ship(*cut, *crash),
            Op::Seal { force } => self.seal(*force),
            Op::Tick { ms } => self.now.0 += ms,
            Op::Crash { keep, record } => self.crash(*keep, *record),
            Op::LaneFails { keep } => self.lane_fails(*keep),
            Op::LogStart { at } => {
                let offset = Offset(at.index(1 + usize::try_from(self.machine.high_watermark().0).unwrap()) as i64);
                self.machine.advance_log_start(offset).unwrap();
            }
        }
    }

    fn next_batch(&mut self, client: usize, records: i32) -> Sent {
        let c = &mut self.clients[client];
        let sent = idempotent(c.id, c.epoch, c.next, records);
        c.next = c.next.wrapping_add(records) & i32::MAX;
        c.sent.push(sent);
        sent
    }

    /// Sends a batch and compares the decision with the model's. `takes`: whether the lane takes it.
    fn send(&mut self, sent: Sent, takes: bool) {
        self.token += 1;
        let token = RequestId(self.token);
        let mut batch = sent.batch();
        let producer = ProducerBatch::of(&batch);
        let time = self.now.max(self.machine.last_append_time());
        let expected = self.expected(producer, time);
        let got = self.machine.append(self.now, token, Terms::default(), &mut batch);
        match (&expected, got) {
            (Expected::Append { unknown }, Ok(Decision::Append { base_offset, append_time })) => {
                assert_eq!((base_offset, append_time), (self.machine.log_end(), time));
                let lane_seq = self.lane_seq + 1;
                let body_len = u32::try_from(batch.body().len()).unwrap();
                let entry = Entry { header: *batch.header(), body_len, append_time, lane_seq };
                self.answer(token, *unknown, entry, takes);
            }
            (Expected::Duplicate(base), Ok(Decision::Duplicate(produced))) => {
                assert_eq!(produced.base_offset, *base);
                self.acknowledge(*base, content(batch.header()));
            }
            (Expected::Joined, Ok(Decision::Joined)) => {
                let in_flight = self.log[self.committed..].iter().find(|e| e.facts().producer == producer);
                self.waiting.insert(token, in_flight.unwrap().facts().base);
            }
            (Expected::Fenced, Err(Error::InvalidProducerEpoch { .. }))
            | (Expected::OutOfOrder, Err(Error::OutOfOrderSequence { .. })) => {}
            (Expected::OldDuplicate, Err(Error::DuplicateSequence { .. })) => self.must_be_durable(producer.unwrap()),
            (expected, got) => panic!("{sent:?}: expected {expected:?}, got {got:?}"),
        }
    }

    fn expected(&self, producer: Option<ProducerBatch>, time: TimestampMs) -> Expected {
        let Some(p) = producer else { return Expected::Append { unknown: false } };
        let facts = self.facts();
        let expected = Naive::of(&facts, self.options.producers).judge(self.committed, p, time);
        let waits_for_refused = self.refused.get(&p.id.0).is_some_and(|r| r.0 == p.epoch && r.1 < p.first_sequence);
        if expected == (Expected::Append { unknown: true }) && waits_for_refused {
            return Expected::OutOfOrder;
        }
        expected
    }

    /// The lane's answer: it takes the entry, or refuses it.
    fn answer(&mut self, token: RequestId, unknown: bool, entry: Entry, takes: bool) {
        let facts = entry.facts();
        if !takes {
            self.machine.refused(token).unwrap();
            if let (true, Some(p)) = (unknown, facts.producer) {
                let lowest = self.refused.get(&p.id.0).filter(|r| r.0 == p.epoch).map_or(i32::MAX, |r| r.1);
                self.refused.insert(p.id.0, (p.epoch, lowest.min(p.first_sequence)));
            }
            return;
        }
        let mut effects = Vec::new();
        self.machine.appended(token, entry.lane_seq, &mut effects).unwrap();
        assert_eq!(effects, [], "nothing is durable before it is in the lane");
        self.lane_seq = entry.lane_seq;
        if let Some(producer) = facts.producer {
            self.refused.remove(&producer.id.0);
        }
        self.waiting.insert(token, facts.base);
        self.log.push(entry);
    }

    /// The records of an "old duplicate" are on disk.
    fn must_be_durable(&self, p: ProducerBatch) {
        let own = |e: &Entry| e.facts().producer.filter(|q| (q.id, q.epoch) == (p.id, p.epoch));
        let stored: BTreeSet<i32> = self.log[..self.synced].iter().filter_map(own).flat_map(sequences).collect();
        assert!(sequences(p).iter().all(|s| stored.contains(s)), "{p:?} was called a duplicate, but may be lost");
    }

    fn acknowledge(&mut self, base: Offset, content: Vec<u8>) {
        let known = self.acked.entry(base).or_insert_with(|| content.clone());
        assert_eq!(*known, content, "an offset has one content");
    }

    /// The machine hears that the first `entries` of the log are durable.
    fn durable(&mut self, entries: usize, crash: Option<Index>) {
        let upto = entries.checked_sub(1).map_or(0, |last| self.log[last].lane_seq);
        let before = self.machine.high_watermark();
        let mut effects = Vec::new();
        self.machine.durable(upto, &mut effects);
        self.committed = self.committed.max(entries);
        assert!(self.machine.high_watermark() >= before);
        let carried_out = crash.map_or(effects.len(), |at| at.index(effects.len() + 1));
        let mut last = None;
        for effect in &effects[..carried_out] {
            match effect {
                Effect::HighWatermark(hw) => assert_eq!(*hw, self.machine.high_watermark()),
                Effect::Reply { token, outcome } => {
                    let produced = outcome.clone().unwrap();
                    assert_eq!(self.waiting.remove(token), Some(produced.base_offset));
                    assert!(last <= Some(produced.base_offset), "replies leave in offset order");
                    last = Some(produced.base_offset);
                    let at = self.log.iter().position(|e| e.facts().base == produced.base_offset).unwrap();
                    assert!(at < self.synced, "acknowledged, but not durable");
                    assert_eq!(produced.append_time, self.log[at].append_time);
                    assert_eq!(produced.leader_epoch, self.log[at].facts().epoch);
                    self.acknowledge(produced.base_offset, content(&self.log[at].header));
                }
            }
        }
        if crash.is_some() {
            self.reopen(self.synced, true);
        }
    }

    fn ship(&mut self, cut: Index, crash: bool) {
        let shipped = self.machine.shipped_end();
        let ends: Vec<Offset> =
            self.log[..self.committed].iter().map(|e| e.facts().next).filter(|next| *next >= shipped).collect();
        if ends.is_empty() {
            return;
        }
        let end = *cut.get(&ends);
        self.commit_root(end);
        if crash {
            self.reopen(self.synced, true);
        } else {
            self.machine.shipped(end).unwrap();
        }
    }

    fn commit_root(&mut self, end: Offset) {
        let producers = self.machine.snapshot_at(end).unwrap().encode();
        let (log_start, epochs) = (self.machine.log_start(), self.machine.epochs().to_vec());
        self.root = Root { log_start, epochs, producers };
    }

    fn seal(&mut self, force: bool) {
        let Some(range) = self.machine.seal_candidate(self.now, force) else {
            assert!(!force || self.machine.shipped_end() == self.machine.high_watermark());
            return;
        };
        assert_eq!(range.start, self.machine.shipped_end());
        assert!(range.end > range.start && range.end <= self.machine.high_watermark());
        let days: BTreeSet<i32> =
            self.facts().iter().filter(|b| range.contains(&b.base)).map(|b| crate::append_day(b.append_time)).collect();
        assert_eq!(days.len(), 1, "a segment never spans two days");
        self.commit_root(range.end);
        self.machine.shipped(range.end).unwrap();
    }

    fn lane_fails(&mut self, keep: Index) {
        let mut effects = Vec::new();
        self.machine.failed(&mut effects);
        for effect in effects {
            let Effect::Reply { token, outcome: Err(Error::OutcomeUnknown) } = effect else { panic!("{effect:?}") };
            assert!(self.waiting.remove(&token).is_some());
        }
        assert!(self.waiting.is_empty(), "everyone is answered");
        assert_eq!(
            self.machine.append(self.now, RequestId(0), Terms::default(), &mut plain(1).batch()),
            Err(Error::Closed)
        );
        self.crash(keep, true);
    }

    fn crash(&mut self, keep: Index, record: bool) {
        let kept = self.synced + keep.index(self.log.len() - self.synced + 1);
        self.reopen(kept, record);
    }

    /// Opens at the next epoch with the first `kept` batches of the log. `record`: the partition record survived.
    fn reopen(&mut self, kept: usize, record: bool) {
        let high_watermark = self.machine.high_watermark();
        self.waiting.clear();
        self.refused.clear();
        self.log.truncate(kept);
        (self.synced, self.committed) = (kept, kept);
        let start = Start {
            epoch: LeaderEpoch(self.machine.epoch().0 + 1),
            log_start: self.root.log_start,
            epochs: if record { self.record.clone() } else { self.root.epochs.clone() },
            producers: ProducerSnapshot::decode(&self.root.producers).unwrap(),
        };
        // The lane may still hold some of what is shipped.
        let shipped = self.log.iter().take_while(|e| e.facts().next <= start.producers.offset).count();
        let tail = self.facts().split_off(shipped / 2);
        self.machine = Partition::open(self.options, &start, tail).unwrap();
        self.record = self.machine.epochs().to_vec();
        // The lane of a new session counts from 1.
        self.lane_seq = 0;
        self.log.iter_mut().for_each(|e| e.lane_seq = 0);
        assert!(self.machine.high_watermark() >= high_watermark, "the high watermark never falls");
        assert_eq!(self.machine.high_watermark(), self.machine.log_end());
    }

    /// What holds after every step.
    fn check(&self) {
        let facts = self.facts();
        let (options, machine) = (self.options, &self.machine);
        let committed = &facts[..self.committed];
        let end = |log: &[BatchFacts]| log.last().map_or(Offset::ZERO, |last| last.next);
        assert_eq!((machine.high_watermark(), machine.log_end()), (end(committed), end(&facts)));
        for (base, content_sent) in &self.acked {
            let found = self.log[..self.synced].iter().find(|e| e.facts().base == *base);
            assert_eq!(found.map(|e| content(&e.header)).as_ref(), Some(content_sent), "acknowledged at {base:?}");
        }
        // Invariant 27: snapshot and rest equal the whole, and both equal the naive model.
        let rebuilt = Partition::open(options, &Start::never_shipped(LeaderEpoch(1_000)), committed.to_vec()).unwrap();
        let snapshot = machine.snapshot_at(end(committed)).unwrap();
        assert_eq!(snapshot, rebuilt.snapshot_at(end(committed)).unwrap());
        assert_eq!(snapshot, Naive::of(committed, options.producers).snapshot());
        if options.producers.max == 100 && options.producers.expiration == Duration::MAX {
            let mut seen = BTreeSet::new();
            for p in facts.iter().filter_map(|b| b.producer) {
                sequences(p).into_iter().for_each(|s| assert!(seen.insert((p.id, p.epoch, s)), "{p:?} twice"));
            }
        }
        let floor = machine.log_start().min(machine.shipped_end());
        for batch in facts.iter().filter(|b| b.base >= floor) {
            assert_eq!(machine.epoch_at(batch.base), Some(batch.epoch));
            assert!(machine.epoch_end(batch.epoch).unwrap().end >= batch.next.min(machine.high_watermark()));
        }
        let unshipped = facts.iter().filter(|b| b.base >= machine.shipped_end());
        assert_eq!(machine.unshipped_batches(), unshipped.clone().count(), "facts are dropped once shipped");
        let bytes = committed.iter().filter(|b| b.base >= machine.shipped_end()).map(|b| u64::from(b.bytes));
        assert_eq!(machine.unshipped_bytes(), bytes.sum());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn the_machine_keeps_its_promises(options in options(), ops in proptest::collection::vec(op(), 1..120)) {
        let mut world = World::new(options);
        for op in &ops {
            world.run(op);
            world.check();
        }
    }
}
