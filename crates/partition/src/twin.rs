//! The machines of a partition whose leaders follow each other, in every order that a few steps can come in: each leader
//! has a machine of its own and believes that it leads until something stops it, however long ago it was replaced. Around
//! the machines stand plain values, which change as the rest of a broker would change them (protocol §5, §6): lanes, which
//! acknowledge a prefix and are sealed anywhere behind it, the root and the record, both changed by compare-and-swap, and
//! a producer that sends again what it has no answer to.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fmt;

use runnel_explore::{Explored, Stopped, World, digest, explore, held, is_deep, noticed};
use runnel_format::manifest::EpochStart;
use runnel_format::producer::ProducerSnapshot;
use runnel_guard::{Guard, Without, holds};
use runnel_record::{LeaderEpoch, Offset};

use crate::testing::{NOW, idempotent};
use crate::{BatchFacts, Decision, Effect, Error, Options, Partition, RequestId, Start, Terms};

const PRODUCER: i64 = 10;

/// How far a world goes.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// Leaders, of epochs 1, 2, ….
    leaders: usize,
    /// Batches of the producer, of a record each, with sequence numbers 0, 1, ….
    batches: usize,
    /// How often a batch is sent to one leader at most.
    attempts: u8,
    /// Segments are shipped, and lanes trimmed.
    ships: bool,
}

/// Leaders are named by their places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The controller gives the partition to the next leader.
    Assign,
    /// Somebody who takes over ends a lane behind so many entries.
    Seal {
        lane: usize,
        end: usize,
    },
    /// P4, and in front of P3: what is trimmed when the lanes are read is in the root that is read after that.
    ReadLanes(usize),
    /// P3.
    ReadRoot(usize),
    /// P5 and P6.
    TakeRoot(usize),
    /// P7.
    Open(usize),
    Send {
        leader: usize,
        batch: usize,
    },
    Durable(usize),
    HearOfSeal(usize),
    Commit(usize),
    Shipped(usize),
    Trim(usize),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Assign => f.write_str("the controller names the next leader"),
            Self::Seal { lane, end } => write!(f, "the lane of leader {} is sealed behind {end} entries", lane + 1),
            Self::ReadLanes(at) => write!(f, "leader {} reads the lanes", at + 1),
            Self::ReadRoot(at) => write!(f, "leader {} reads the root", at + 1),
            Self::TakeRoot(at) => write!(f, "leader {} takes the root over", at + 1),
            Self::Open(at) => write!(f, "leader {} says in the record that it is open", at + 1),
            Self::Send { leader, batch } => write!(f, "the producer sends batch {batch} to leader {}", leader + 1),
            Self::Durable(at) => write!(f, "one more entry of leader {} is durable", at + 1),
            Self::HearOfSeal(at) => write!(f, "leader {} hears that its lane is sealed", at + 1),
            Self::Commit(at) => write!(f, "leader {} commits a segment", at + 1),
            Self::Shipped(at) => write!(f, "leader {} hears of its commit", at + 1),
            Self::Trim(at) => write!(f, "leader {} trims the lanes", at + 1),
        }
    }
}

#[derive(Debug, Clone, Default)]
struct Lane {
    entries: Vec<BatchFacts>,
    /// The first so many are deleted.
    trimmed: usize,
    /// The first so many are durable, and the machine was told so.
    durable: usize,
    end: Option<usize>,
}

impl Lane {
    /// What whoever takes over finds. What is durable and was not told may be there or not: the seal decides.
    fn tail(&self) -> &[BatchFacts] {
        &self.entries[self.trimmed..self.end.unwrap_or(self.durable).max(self.trimmed)]
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Root {
    version: u64,
    epoch: LeaderEpoch,
    epochs: Vec<EpochStart>,
    producers: ProducerSnapshot,
    /// What is in segments: the batch at each offset.
    contents: Vec<i32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not named yet.
    Waits,
    Seals,
    HasLanes,
    HasRoot,
    HasTaken,
    Open,
    Over,
}

#[derive(Debug, Clone)]
struct Leader {
    phase: Phase,
    lane: Lane,
    /// What it found in the lanes of those before.
    tail: Vec<BatchFacts>,
    /// The root as it knows it.
    root: Root,
    machine: Option<Partition>,
    /// A commit of which the machine has not heard.
    committed: Option<Offset>,
    /// How often it was sent each batch.
    sent: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Twin {
    bounds: Bounds,
    leaders: Vec<Leader>,
    root: Root,
    /// The record: who was named last, and the epochs.
    named: usize,
    starts: Vec<EpochStart>,
    /// What readers have seen at each offset, or may have.
    seen: Vec<i32>,
    /// Where the producer was told that its batches are.
    acked: Vec<Option<Offset>>,
    /// Requests that wait for an answer, with their batches.
    waiting: BTreeMap<RequestId, usize>,
}

/// Which batch this is.
fn content(batch: &BatchFacts) -> i32 {
    batch.producer.map_or(-1, |producer| producer.first_sequence)
}

fn epoch_of(leader: usize) -> LeaderEpoch {
    LeaderEpoch(i32::try_from(leader).unwrap() + 1)
}

fn at(offset: Offset) -> usize {
    usize::try_from(offset.0).unwrap()
}

impl Twin {
    fn new(bounds: Bounds) -> Self {
        let (producers, epochs, contents) = (ProducerSnapshot::empty(), Vec::new(), Vec::new());
        let root = Root { version: 0, epoch: LeaderEpoch(0), epochs, producers, contents };
        let leader = Leader {
            phase: Phase::Waits,
            lane: Lane::default(),
            tail: Vec::new(),
            root: root.clone(),
            machine: None,
            committed: None,
            sent: vec![0; bounds.batches],
        };
        let (leaders, acked) = (vec![leader; bounds.leaders], vec![None; bounds.batches]);
        let (starts, seen, waiting) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { bounds, leaders, root, named: 0, starts, seen, acked, waiting }
    }

    /// What a leader of `epoch` makes of what there is.
    fn opened(&self, epoch: LeaderEpoch, root: &Root, tail: Vec<BatchFacts>) -> Result<Partition, Error> {
        // The record is the newer one; before anybody has opened it says nothing.
        let epochs = if self.starts.is_empty() { root.epochs.clone() } else { self.starts.clone() };
        let start = Start { epoch, log_start: Offset::ZERO, epochs, producers: root.producers.clone() };
        Partition::open(Options::default(), &start, tail)
    }

    /// What is in the lanes of the first leaders, in their order.
    fn tail(&self, leaders: usize) -> Vec<BatchFacts> {
        self.leaders[..leaders].iter().flat_map(|leader| leader.lane.tail().iter().copied()).collect()
    }

    fn machine(&mut self, leader: usize) -> &mut Partition {
        self.leaders[leader].machine.as_mut().unwrap()
    }

    /// The batch at each offset of a leader's log, as it would serve it.
    fn log(&self, leader: usize) -> Vec<i32> {
        let Leader { root, machine, .. } = &self.leaders[leader];
        let machine = machine.as_ref().unwrap();
        let shipped = root.contents[..at(machine.shipped_end())].iter().copied();
        shipped.chain(machine.facts.iter().map(content)).collect()
    }

    /// Readers of this leader see what it lets them see.
    fn read(&mut self, leader: usize) -> Result<(), String> {
        let log = self.log(leader);
        let machine = self.machine(leader);
        let end = if holds(Guard::HighWatermark) { machine.high_watermark() } else { machine.log_end() };
        for (offset, batch) in log.into_iter().take(at(end)).enumerate() {
            match self.seen.get(offset) {
                None => self.seen.push(batch),
                Some(seen) if *seen == batch => {}
                Some(seen) => {
                    return Err(format!("offset {offset} was read as batch {seen}, and is batch {batch} now"));
                }
            }
        }
        Ok(())
    }

    fn ack(&mut self, batch: usize, offset: Offset) -> Result<(), String> {
        if self.seen.get(at(offset)).copied() != i32::try_from(batch).ok() {
            return Err(format!("batch {batch} is acknowledged at {offset}, where readers do not see it"));
        }
        match self.acked[batch].replace(offset) {
            Some(before) if before != offset => Err(format!("batch {batch} was at {before}, and is at {offset} now")),
            _ => Ok(()),
        }
    }

    fn perform(&mut self, leader: usize, before: Offset, effects: Vec<Effect>) -> Result<(), String> {
        for effect in effects {
            match effect {
                Effect::HighWatermark(upto) => {
                    let lane = &self.leaders[leader].lane;
                    let durable = lane.entries[..lane.durable].last().map_or(before, |last| last.next);
                    if upto <= before || upto > durable {
                        return Err(format!("the high watermark goes from {before} to {upto}; durable is {durable}"));
                    }
                    self.read(leader)?;
                }
                Effect::Reply { token, outcome } => {
                    let batch = self.waiting.remove(&token).ok_or("an answer to nobody")?;
                    match outcome {
                        Ok(produced) => self.ack(batch, produced.base_offset)?,
                        Err(Error::OutcomeUnknown) => {}
                        Err(error) => return Err(error.to_string()),
                    }
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, leader: usize, batch: usize) -> Result<(), String> {
        let attempt = self.leaders[leader].sent[batch];
        self.leaders[leader].sent[batch] += 1;
        let token = RequestId((leader * 100 + batch * 10) as u64 + u64::from(attempt));
        let mut sent = idempotent(PRODUCER, 0, i32::try_from(batch).unwrap(), 1).batch();
        let before = self.machine(leader).high_watermark();
        match self.machine(leader).append(NOW, token, Terms::default(), &mut sent) {
            Ok(Decision::Append { append_time, .. }) => {
                let entries = &mut self.leaders[leader].lane.entries;
                entries.push(BatchFacts::of(&sent, append_time));
                let (seq, mut effects) = (entries.len() as u64, Vec::new());
                self.waiting.insert(token, batch);
                self.machine(leader).appended(token, seq, &mut effects).map_err(|error| error.to_string())?;
                self.perform(leader, before, effects)
            }
            Ok(Decision::Duplicate(produced)) => self.ack(batch, produced.base_offset),
            Ok(Decision::Joined) => {
                self.waiting.insert(token, batch);
                Ok(())
            }
            Err(Error::OutOfOrderSequence { .. }) => Ok(()),
            Err(error) => Err(format!("batch {batch} is refused: {error}")),
        }
    }

    fn take_root(&mut self, leader: usize) -> Result<(), String> {
        let Leader { root: known, tail, .. } = self.leaders[leader].clone();
        let epoch = epoch_of(leader);
        let machine = match self.opened(epoch, &known, tail) {
            Ok(machine) => machine,
            // The record has moved on.
            Err(Error::StaleEpoch { .. }) => {
                self.leaders[leader].phase = Phase::Over;
                return Ok(());
            }
            Err(error) => return Err(format!("epoch {epoch} does not open: {error}")),
        };
        if known.version != self.root.version && holds(Guard::RootSwap) {
            self.leaders[leader].phase = Phase::HasLanes;
            return Ok(());
        }
        self.root = Root { version: self.root.version + 1, epoch, epochs: machine.epochs().to_vec(), ..known };
        let root = self.root.clone();
        let own = &mut self.leaders[leader];
        (own.phase, own.root, own.machine) = (Phase::HasTaken, root, Some(machine));
        Ok(())
    }

    fn open(&mut self, leader: usize) -> Result<(), String> {
        if self.named != leader + 1 && holds(Guard::RecordSwap) {
            self.leaders[leader].phase = Phase::Over;
            return Ok(());
        }
        let starts = self.machine(leader).epochs().to_vec();
        let last = |starts: &[EpochStart]| starts.last().map(|start| start.epoch);
        if last(&starts) <= last(&self.starts) {
            return Err(format!("the epochs of the record were {:?} and are {starts:?}", self.starts));
        }
        (self.starts, self.named) = (starts, leader + 1);
        self.leaders[leader].phase = Phase::Open;
        self.read(leader)
    }

    fn commit(&mut self, leader: usize) -> Result<(), String> {
        let epoch = epoch_of(leader);
        let range = self.machine(leader).seal_candidate(NOW, true).ok_or("there is nothing to ship")?;
        // Another root is there: it is looked at, and who finds no later leader goes on from it.
        if self.root.epoch > epoch && holds(Guard::RootEpoch) || at(range.start) != self.root.contents.len() {
            self.leaders[leader].phase = Phase::Over;
            return Ok(());
        }
        let machine = self.leaders[leader].machine.as_ref().unwrap();
        let producers = machine.snapshot_at(range.end).map_err(|error| error.to_string())?;
        let batches = machine.facts.iter().filter(|batch| range.contains(&batch.base)).map(content);
        let contents = self.root.contents.iter().copied().chain(batches).collect();
        let (version, epochs) = (self.root.version + 1, machine.epochs().to_vec());
        self.root = Root { version, epoch, epochs, producers, contents };
        (self.leaders[leader].root, self.leaders[leader].committed) = (self.root.clone(), Some(range.end));
        Ok(())
    }

    /// How much of each lane up to its own a leader may delete.
    fn trimmable(&self, leader: usize) -> Vec<usize> {
        let Some(machine) = &self.leaders[leader].machine else { return Vec::new() };
        let upto = if holds(Guard::TrimAfterRoot) { machine.shipped_end() } else { machine.high_watermark() };
        let of = |lane: &Lane| lane.tail().iter().take_while(|batch| batch.next <= upto).count() + lane.trimmed;
        self.leaders[..=leader].iter().map(|leader| of(&leader.lane)).collect()
    }

    /// Whoever leads next finds all that was seen or acknowledged, where it was, and no batch twice.
    fn check(&self) -> Result<(), String> {
        let next = self.opened(LeaderEpoch(99), &self.root, self.tail(self.leaders.len()));
        let next = next.map_err(|error| format!("the next leader does not open: {error}"))?;
        let log: Vec<i32> = self.root.contents.iter().copied().chain(next.facts.iter().map(content)).collect();
        if !log.starts_with(&self.seen) {
            return Err(format!("readers have seen batches {:?}, the next leader finds {log:?}", self.seen));
        }
        let mut once = log.clone();
        once.sort_unstable();
        once.dedup();
        if once.len() < log.len() {
            return Err(format!("a batch is in the log twice: {log:?}"));
        }
        Ok(())
    }
}

impl World for Twin {
    type Step = Step;

    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.named < self.leaders.len() {
            steps.push(Step::Assign);
        }
        for (which, leader) in self.leaders.iter().enumerate() {
            let Leader { phase, lane, machine, committed, sent, .. } = leader;
            let ends = self.leaders[which + 1..].iter().any(|later| later.phase == Phase::Seals);
            if ends && lane.end.is_none() && *phase != Phase::Waits {
                steps.extend((lane.durable..=lane.entries.len()).map(|end| Step::Seal { lane: which, end }));
            }
            let sealed = self.leaders[..which].iter().all(|earlier| earlier.lane.end.is_some());
            match phase {
                Phase::Seals if sealed || !holds(Guard::SealBeforeOpen) => steps.push(Step::ReadLanes(which)),
                Phase::HasLanes => steps.push(Step::ReadRoot(which)),
                Phase::HasRoot => steps.push(Step::TakeRoot(which)),
                Phase::HasTaken => steps.push(Step::Open(which)),
                _ => {}
            }
            let (Phase::Open, Some(machine)) = (phase, machine) else { continue };
            if !machine.is_closed() {
                let in_order = |batch: usize| batch == 0 || self.acked[batch - 1].is_some() || sent[batch - 1] > 0;
                let sends = (0..sent.len()).filter(|batch| in_order(*batch) && sent[*batch] < self.bounds.attempts);
                steps.extend(sends.map(|batch| Step::Send { leader: which, batch }));
                match lane.end {
                    None if lane.durable < lane.entries.len() => steps.push(Step::Durable(which)),
                    None => {}
                    Some(_) => steps.push(Step::HearOfSeal(which)),
                }
            }
            if self.bounds.ships {
                match committed {
                    Some(_) => steps.push(Step::Shipped(which)),
                    None if machine.seal_candidate(NOW, true).is_some() => steps.push(Step::Commit(which)),
                    None => {}
                }
                let trimmed = self.leaders.iter().map(|leader| leader.lane.trimmed);
                if self.trimmable(which).into_iter().zip(trimmed).any(|(may, is)| may > is) {
                    steps.push(Step::Trim(which));
                }
            }
        }
        steps
    }

    fn take(&mut self, step: &Step) -> Result<(), String> {
        let before = (self.root.version, self.root.epoch, self.root.contents.len());
        match *step {
            Step::Assign => {
                self.leaders[self.named].phase = Phase::Seals;
                self.named += 1;
            }
            Step::Seal { lane, end } => self.leaders[lane].lane.end = Some(end),
            Step::ReadLanes(which) => {
                self.leaders[which].tail = self.tail(which);
                self.leaders[which].phase = Phase::HasLanes;
            }
            Step::ReadRoot(which) => {
                let fenced = self.root.epoch > epoch_of(which);
                self.leaders[which].root = self.root.clone();
                self.leaders[which].phase = if fenced { Phase::Over } else { Phase::HasRoot };
            }
            Step::TakeRoot(which) => self.take_root(which)?,
            Step::Open(which) => self.open(which)?,
            Step::Send { leader, batch } => self.send(leader, batch)?,
            Step::Durable(which) => {
                self.leaders[which].lane.durable += 1;
                let (upto, before) = (self.leaders[which].lane.durable as u64, self.machine(which).high_watermark());
                let mut effects = Vec::new();
                self.machine(which).durable(upto, &mut effects);
                self.perform(which, before, effects)?;
            }
            Step::HearOfSeal(which) => {
                let (mut effects, before) = (Vec::new(), self.machine(which).high_watermark());
                self.machine(which).failed(&mut effects);
                self.perform(which, before, effects)?;
            }
            Step::Commit(which) => self.commit(which)?,
            Step::Shipped(which) => {
                let end = self.leaders[which].committed.take().unwrap();
                self.machine(which).shipped(end).map_err(|error| error.to_string())?;
            }
            Step::Trim(which) => {
                for (lane, upto) in self.trimmable(which).into_iter().enumerate() {
                    self.leaders[lane].lane.trimmed = self.leaders[lane].lane.trimmed.max(upto);
                }
            }
        }
        let root = (self.root.version, self.root.epoch, self.root.contents.len());
        if root.0 < before.0 || root.1 < before.1 || root.2 < before.2 {
            return Err(format!("version, epoch and end of the root were {before:?} and are {root:?}"));
        }
        self.check()
    }

    fn digest(&self) -> u64 {
        digest(&format!("{self:?}"))
    }

    fn after(&self, _: &[Step]) -> Self {
        self.clone()
    }
}

fn run(bounds: Bounds, without: Option<Guard>) -> Result<Explored, Stopped> {
    let _without = without.map(Without::of);
    explore(Twin::new(bounds), 5_000_000)
}

const PLAIN: Bounds = Bounds { leaders: 2, batches: 2, attempts: 1, ships: true };

#[test]
fn the_protocol_holds_in_every_order() {
    let (often, three) = (Bounds { attempts: 2, ..PLAIN }, Bounds { leaders: 3, ..PLAIN });
    let (short, long) = (Bounds { batches: 1, ..three }, Bounds { batches: 3, ..PLAIN });
    let chosen = if is_deep() { [long, three] } else { [often, short] };
    for bounds in chosen {
        println!("{}", held(&bounds, run(bounds, None)));
    }
}

#[test]
fn every_mutant_is_caught() {
    for guard in [
        Guard::DedupReplay,
        Guard::HighWatermark,
        Guard::SealBeforeOpen,
        Guard::RootSwap,
        Guard::RootEpoch,
        Guard::RecordSwap,
        Guard::TrimAfterRoot,
    ] {
        println!("{}", noticed(&guard, run(PLAIN, Some(guard))));
    }
}
