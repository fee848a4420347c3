//! The owner's side of an object lane: what to write, what is durable, what may go. No I/O, no clock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use runnel_format::wal::{CHECKPOINT_EVERY, SlotRun};
use runnel_guard::{Guard, holds};
use runnel_record::{LeaderEpoch, Offset, TopicId, TopicPartition};
use tokio::time::Instant;
use uuid::Uuid;

use super::draft::Draft;
use super::event::{Effect, Input, Placed, Trimmed};
use super::index::Index;
use super::options::{ObjectOptions, WINDOW};
use super::trim::Trim;
use crate::entry::{Entry, LaneSeq, Listener, Pressure};
use crate::error::Error;
use crate::queue::{Waiting, cost, throttle};

/// Runs in a checkpoint, at most: past that a recovery reads more headers instead.
const MAX_CHECKPOINT_RUNS: usize = 32 << 10;

/// The part of an interval that the first batch after a pause waits for those that come with it.
const GATHER: u32 = 10;

struct Pending {
    entry: Entry,
    listener: Arc<dyn Listener>,
    seq: LaneSeq,
    at: Instant,
}

/// A slot that is not acknowledged.
struct Flight {
    waiting: Waiting,
    bytes: u64,
    done: bool,
}

enum State {
    Open,
    /// No more appends; what waits is still written.
    Closing,
    /// Sealed by someone else.
    Fenced,
    Closed(Arc<str>),
}

/// The lane of a session that lives.
pub(crate) struct Lane {
    id: Uuid,
    options: ObjectOptions,
    state: State,
    pending: VecDeque<Pending>,
    pending_bytes: u64,
    /// Slots from `acknowledged` on that were put.
    flights: VecDeque<Flight>,
    /// Slots of the contiguous prefix that is there.
    acknowledged: u64,
    /// Slots put whose outcome is not known.
    unresolved: usize,
    /// When the last slot was due.
    flushed_at: Option<Instant>,
    next_seq: u64,
    /// Bytes accepted and not yet durable.
    unflushed: u64,
    ends: BTreeMap<TopicPartition, (LeaderEpoch, Offset)>,
    /// Also of slots that are not acknowledged.
    index: Index,
    trim: Trim,
    /// The last entry was refused for what waits to be shipped.
    refused: bool,
    /// Who has to hear that the lane failed.
    failed: Waiting,
}

impl Lane {
    pub(crate) fn new(id: Uuid, options: ObjectOptions) -> Self {
        Self {
            id,
            options,
            state: State::Open,
            pending: VecDeque::new(),
            pending_bytes: 0,
            flights: VecDeque::new(),
            acknowledged: 0,
            unresolved: 0,
            flushed_at: None,
            next_seq: 1,
            unflushed: 0,
            ends: BTreeMap::new(),
            index: Index::new(0),
            trim: Trim::default(),
            refused: false,
            failed: Waiting::default(),
        }
    }

    /// Accepts an entry, or says why not; also says whether [`Lane::wake_at`] has changed by it.
    pub(crate) fn append(
        &mut self,
        now: Instant,
        entry: Entry,
        listener: &Arc<dyn Listener>,
    ) -> Result<(LaneSeq, bool), Error> {
        self.admit(&entry)?;
        self.ends.insert(entry.tp, (entry.batch.leader_epoch(), entry.batch.next_offset()));
        self.pending_bytes += cost(&entry);
        self.unflushed += cost(&entry);
        let seq = LaneSeq(self.next_seq);
        self.next_seq += 1;
        self.pending.push_back(Pending { entry, listener: Arc::clone(listener), seq, at: now });
        Ok((seq, self.pending.len() == 1 || self.pending_bytes >= self.options.max_bytes))
    }

    fn admit(&mut self, entry: &Entry) -> Result<(), Error> {
        self.check_open()?;
        let (epoch, found) = (entry.batch.leader_epoch(), entry.batch.base_offset());
        if let Some((last_epoch, expected)) = self.ends.get(&entry.tp).copied()
            && (epoch < last_epoch || (epoch == last_epoch && found != expected))
        {
            return Err(Error::NotContiguous { tp: entry.tp, epoch, found, expected });
        }
        throttle("flushed", self.unflushed, cost(entry), self.options.max_unflushed)?;
        let unshipped = self.index.bytes() + self.pending_bytes;
        let admitted = throttle("shipped", unshipped, cost(entry), self.options.max_unshipped);
        self.refused = admitted.is_err();
        admitted
    }

    /// Whether appends are taken, and if not, why.
    pub(crate) fn check_open(&self) -> Result<(), Error> {
        match &self.state {
            State::Open => Ok(()),
            State::Closing => Err(Error::Closed { reason: "the log is being closed".into() }),
            State::Fenced => Err(Error::Fenced { lane: self.id }),
            State::Closed(reason) => Err(Error::Closed { reason: Arc::clone(reason) }),
        }
    }

    /// Takes in what has happened, and says what is to be done.
    pub(crate) fn on(&mut self, now: Instant, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Due => {}
            Input::Put(slot, placed) => self.placed(slot, placed, effects),
            Input::Trim(Trimmed::At(pointer)) => self.trim.recorded(pointer),
            Input::Trim(Trimmed::Sealed) => self.end(State::Fenced),
            Input::Trim(Trimmed::Lost(reason)) => self.end(State::Closed(reason)),
            Input::Deleted(upto) => self.trim.deleted(upto),
        }
        while let Some(due) = self.flush_at().filter(|due| *due <= now) {
            // From when it was due, or what each alarm is late by would be added to every interval; but a slot that had to
            // wait is not followed by another at once.
            let late = now.saturating_duration_since(due).min(self.options.interval / GATHER);
            self.flushed_at = Some(now - late);
            effects.push(Effect::Put(self.flush()));
        }
        self.move_trim(now, effects);
        if !self.failed.is_empty() {
            effects.push(Effect::Failed(std::mem::take(&mut self.failed)));
        }
    }

    /// When [`Input::Due`] would do something, if nothing else happens.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        let trim = self.trim.wake_at().filter(|_| self.is_alive());
        [self.flush_at(), trim].into_iter().flatten().min()
    }

    /// When the next slot is due; `None` while nothing waits or too much is in flight.
    fn flush_at(&self) -> Option<Instant> {
        let has_room = self.unresolved < self.options.in_flight && self.flights.len() < WINDOW;
        let first = self.pending.front().filter(|_| has_room)?;
        let full = self.pending_bytes >= self.options.max_bytes;
        if full || matches!(self.state, State::Closing) {
            return Some(first.at);
        }
        let gathered = first.at + self.options.interval / GATHER;
        Some(self.flushed_at.map_or(gathered, |last| gathered.max(last + self.options.interval)))
    }

    /// Makes the next slot of what waits.
    fn flush(&mut self) -> Draft {
        let slot = self.acknowledged + self.flights.len() as u64;
        let checkpoint = (slot.is_multiple_of(CHECKPOINT_EVERY) && self.index.len() <= MAX_CHECKPOINT_RUNS)
            .then(|| self.index.iter().copied().collect());
        let mut entries = Vec::new();
        let mut flight = Flight { waiting: Waiting::default(), bytes: 0, done: false };
        while let Some(next) = self.pending.front() {
            let bytes = cost(&next.entry);
            if flight.bytes > 0 && flight.bytes + bytes > self.options.max_bytes {
                break;
            }
            let Some(Pending { entry, listener, seq, .. }) = self.pending.pop_front() else { break };
            flight.bytes += bytes;
            flight.waiting.add(listener, seq);
            entries.push(entry);
        }
        self.pending_bytes -= flight.bytes;
        self.flights.push_back(flight);
        self.unresolved += 1;
        let draft = Draft::new(slot, entries, checkpoint);
        draft.runs().into_iter().for_each(|run| self.index.push(run));
        draft
    }

    fn placed(&mut self, slot: u64, placed: Placed, effects: &mut Vec<Effect>) {
        if !self.is_alive() {
            return;
        }
        match placed {
            Placed::Ours => {}
            Placed::Sealed => return self.end(State::Fenced),
            Placed::Lost(reason) => return self.end(State::Closed(reason)),
        }
        let flight = slot.checked_sub(self.acknowledged).and_then(|at| usize::try_from(at).ok());
        let Some(flight) = flight.and_then(|at| self.flights.get_mut(at)).filter(|flight| !flight.done) else { return };
        flight.done = true;
        self.unresolved -= 1;
        if !holds(Guard::PrefixAck) {
            effects.push(Effect::Durable(std::mem::take(&mut flight.waiting)));
        }
        while let Some(flight) = self.flights.pop_front_if(|flight| flight.done) {
            self.acknowledged += 1;
            self.unflushed -= flight.bytes;
            effects.push(Effect::Durable(flight.waiting));
        }
    }

    /// The pointer first, then what is below it.
    fn move_trim(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.is_alive() {
            let wanted = self.index.needed_from(self.acknowledged);
            let at_once = matches!(self.state, State::Closing);
            effects.extend(self.trim.next(now, wanted, at_once, &self.options));
        }
    }

    /// Entries of `tp` below `upto` are in the bucket as segments.
    pub(crate) fn shipped(&mut self, tp: TopicPartition, upto: Offset) {
        self.index.shipped(tp, upto);
    }

    /// The partition may come back with a gap.
    pub(crate) fn leave(&mut self, tp: TopicPartition) {
        self.ends.remove(&tp);
    }

    /// The topic is gone.
    pub(crate) fn forget(&mut self, topic: TopicId) {
        self.ends.retain(|tp, _| tp.topic != topic);
        self.index.forget(topic);
    }

    /// Stops appends; what waits is still written, and what may go is trimmed.
    pub(crate) fn close(&mut self) {
        if matches!(self.state, State::Open) {
            self.state = State::Closing;
        }
    }

    /// Ends the lane without more ado; the first reason stands.
    pub(crate) fn stop(&mut self, reason: &str) {
        self.end(State::Closed(reason.into()));
    }

    fn end(&mut self, state: State) {
        if !self.is_alive() {
            return;
        }
        self.state = state;
        for flight in self.flights.drain(..) {
            self.failed.append(flight.waiting);
        }
        for Pending { listener, seq, .. } in self.pending.drain(..) {
            self.failed.add(listener, seq);
        }
        (self.pending_bytes, self.unflushed, self.unresolved) = (0, 0, 0);
    }

    fn is_alive(&self) -> bool {
        matches!(self.state, State::Open | State::Closing)
    }

    /// Whether there is nothing left to do, now and later.
    pub(crate) fn is_finished(&self) -> bool {
        let idle = self.pending.is_empty() && self.flights.is_empty() && self.trim.is_idle();
        let over = !self.is_alive() && self.failed.is_empty();
        over || (matches!(self.state, State::Closing) && idle)
    }

    /// All that decides what the machine does next, where no time passes.
    #[cfg(test)]
    pub(crate) fn fingerprint(&self) -> String {
        let done: Vec<bool> = self.flights.iter().map(|flight| flight.done).collect();
        let (lives, waiting) = (self.is_alive(), self.pending.len());
        format!("{lives} {waiting} {} {done:?} {:?} {:?}", self.acknowledged, self.trim.fingerprint(), self.index)
    }

    /// The runs to look at for a read.
    pub(crate) fn plan(
        &self,
        tp: TopicPartition,
        from: Offset,
        upto: Offset,
        max_bytes: usize,
    ) -> Result<Vec<SlotRun>, Error> {
        self.index.plan(tp, from, upto, max_bytes, self.acknowledged)
    }

    pub(crate) fn pressure(&self) -> Pressure {
        let (unshipped_bytes, limit) = (self.index.bytes(), self.options.max_unshipped);
        Pressure { unflushed_bytes: self.unflushed, unshipped_bytes, limit, full: false }
    }

    /// What should be shipped so that there is room: a quarter of the limit, the oldest first.
    pub(crate) fn pressing(&self) -> Vec<(TopicPartition, Offset)> {
        let crowded = self.refused || self.index.bytes() > self.options.max_unshipped / 2;
        if crowded { self.index.oldest(self.options.max_unshipped / 4, self.acknowledged) } else { Vec::new() }
    }
}
