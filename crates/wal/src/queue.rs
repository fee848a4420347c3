//! Entries on their way to the disk, in ack order. No I/O, no waiting.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use runnel_format::wal::{BlockHeader, PAGE, ROW_LEN, SPAN_LEN, pages};
use runnel_record::{LeaderEpoch, Offset, TopicId, TopicPartition};

use crate::entry::{Entry, LaneSeq, Listener};
use crate::error::Error;

/// Limits of a queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) block_bytes: u64,
    pub(crate) max_unflushed: u64,
    pub(crate) max_unshipped: u64,
    /// What the largest entry may take of a file.
    pub(crate) max_entry: u64,
}

struct Pending {
    entry: Entry,
    listener: Arc<dyn Listener>,
    seq: LaneSeq,
}

/// The entries of one block.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) entries: Vec<Entry>,
    pub(crate) waiting: Waiting,
    pub(crate) bytes: u64,
}

/// Who waits for a block: every listener once, in order of its first entry.
#[derive(Default)]
pub(crate) struct Waiting {
    listeners: Vec<(Arc<dyn Listener>, LaneSeq)>,
    places: HashMap<usize, usize>,
}

impl Waiting {
    pub(crate) fn add(&mut self, listener: Arc<dyn Listener>, seq: LaneSeq) {
        let address = Arc::as_ptr(&listener).cast::<()>().addr();
        let place = *self.places.entry(address).or_insert(self.listeners.len());
        match self.listeners.get_mut(place) {
            Some((_, last)) => *last = seq,
            None => self.listeners.push((listener, seq)),
        }
    }

    /// Takes over who waits in `other`, which are later entries.
    pub(crate) fn append(&mut self, other: Self) {
        for (listener, seq) in other.listeners {
            self.add(listener, seq);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.listeners.is_empty()
    }

    pub(crate) fn durable(&self) {
        for (listener, last) in &self.listeners {
            listener.durable(*last);
        }
    }

    pub(crate) fn failed(&self) {
        for (listener, _) in &self.listeners {
            listener.failed();
        }
    }
}

/// What the writer should do next.
pub(crate) enum Next {
    /// Write these.
    Block(Taken),
    /// The next entry does not fit into the file.
    Roll,
    /// Nothing waits.
    Idle,
    /// Nothing waits and nothing will come.
    End,
    /// The lane has ended.
    Closed,
}

enum State {
    Open,
    /// No more appends; what waits is still written.
    Closing,
    Closed(Arc<str>),
}

/// The waiting entries and what is known of the room for them.
///
/// Invariant: an entry that is accepted while the next file cannot be had (`starved`) fits into the current one
/// together with all that waits before it, so it does not wait for space. (One accepted while the next file is being
/// made waits for that; should the disk be full just then, until there is room, or until the log is closed.)
pub(crate) struct Queue {
    limits: Limits,
    state: State,
    pending: VecDeque<Pending>,
    next_seq: u64,
    /// Bytes accepted and not yet durable.
    unflushed: u64,
    /// Bytes that `pending` needs at most, each entry in a block of its own.
    worst: u64,
    /// Bytes left in the current file.
    room: u64,
    /// Spans that the next block carries for the last one.
    spans: usize,
    /// There is no next file, and no room to make one.
    starved: bool,
    /// The last entry was refused for what waits for the bucket.
    refused: bool,
    ends: BTreeMap<TopicPartition, (LeaderEpoch, Offset)>,
}

impl Queue {
    pub(crate) const fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::Open,
            pending: VecDeque::new(),
            next_seq: 1,
            unflushed: 0,
            worst: 0,
            room: 0,
            spans: 0,
            starved: false,
            refused: false,
            ends: BTreeMap::new(),
        }
    }

    /// Accepts an entry, or says why not. `unshipped` bytes wait for the bucket.
    pub(crate) fn push(
        &mut self,
        entry: Entry,
        listener: &Arc<dyn Listener>,
        unshipped: u64,
    ) -> Result<LaneSeq, Error> {
        self.admit(&entry, unshipped)?;
        let (epoch, next) = (entry.batch.leader_epoch(), entry.batch.next_offset());
        self.ends.insert(entry.tp, (epoch, next));
        self.unflushed += cost(&entry);
        self.worst += worst(&entry);
        let seq = LaneSeq(self.next_seq);
        self.next_seq += 1;
        self.pending.push_back(Pending { entry, listener: Arc::clone(listener), seq });
        Ok(seq)
    }

    fn admit(&mut self, entry: &Entry, unshipped: u64) -> Result<(), Error> {
        match &self.state {
            State::Open => {}
            State::Closing => return Err(Error::Closed { reason: "the log is being closed".into() }),
            State::Closed(reason) => return Err(Error::Closed { reason: Arc::clone(reason) }),
        }
        let (epoch, found) = (entry.batch.leader_epoch(), entry.batch.base_offset());
        if let Some((last_epoch, expected)) = self.ends.get(&entry.tp).copied()
            && (epoch < last_epoch || (epoch == last_epoch && found != expected))
        {
            return Err(Error::NotContiguous { tp: entry.tp, epoch, found, expected });
        }
        let (cost, worst) = (cost(entry), worst(entry));
        if worst > self.limits.max_entry {
            return Err(Error::TooLarge { bytes: worst, limit: self.limits.max_entry });
        }
        if self.starved && self.worst + worst + pages((self.spans * SPAN_LEN) as u64) > self.room {
            return Err(Error::Full);
        }
        throttle("flushed", self.unflushed, cost, self.limits.max_unflushed)?;
        let admitted = throttle("shipped", unshipped + self.unflushed, cost, self.limits.max_unshipped);
        self.refused = admitted.is_err();
        admitted
    }

    /// What to do next. What a block takes of the room is deducted at once.
    pub(crate) fn next(&mut self) -> Next {
        if let State::Closed(_) = self.state {
            return Next::Closed;
        }
        if self.pending.is_empty() {
            return if matches!(self.state, State::Closing) { Next::End } else { Next::Idle };
        }
        let mut taken = Taken::default();
        let mut data = 0;
        let mut len = 0;
        while let Some(first) = self.pending.front() {
            let body = first.entry.batch.body().len() as u64;
            let longer = BlockHeader::block_len(taken.entries.len() + 1, self.spans, data + body);
            if longer > self.room || (longer > self.limits.block_bytes && !taken.entries.is_empty()) {
                break;
            }
            let Some(Pending { entry, listener, seq }) = self.pending.pop_front() else { break };
            (len, data) = (longer, data + body);
            taken.bytes += cost(&entry);
            self.worst -= worst(&entry);
            taken.waiting.add(listener, seq);
            taken.entries.push(entry);
        }
        if taken.entries.is_empty() {
            return Next::Roll;
        }
        self.room -= len;
        // Until the writer has counted the partitions: at most one each.
        self.spans = taken.entries.len();
        Next::Block(taken)
    }

    /// Takes the room of a footer if there is some.
    pub(crate) fn take_footer(&mut self) -> bool {
        let len = BlockHeader::block_len(0, self.spans, 0);
        let fits = len <= self.room;
        if fits {
            self.room -= len;
            self.spans = 0;
        }
        fits
    }

    /// The last block held this many spans.
    pub(crate) const fn set_spans(&mut self, spans: usize) {
        self.spans = spans;
    }

    /// A new file begins, with so many bytes for blocks.
    pub(crate) const fn set_room(&mut self, room: u64) {
        self.room = room;
    }

    /// Whether the next file cannot be had for lack of space.
    pub(crate) const fn set_starved(&mut self, starved: bool) {
        self.starved = starved;
    }

    pub(crate) const fn is_starved(&self) -> bool {
        self.starved
    }

    pub(crate) const fn has_refused(&self) -> bool {
        self.refused
    }

    /// Entries of a block are durable.
    pub(crate) const fn flushed(&mut self, bytes: u64) {
        self.unflushed -= bytes;
    }

    pub(crate) const fn unflushed(&self) -> u64 {
        self.unflushed
    }

    /// Nothing waits and more may come.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_open() && self.pending.is_empty()
    }

    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Stops appends; what waits is still written.
    pub(crate) fn close(&mut self) {
        if self.is_open() {
            self.state = State::Closing;
        }
    }

    /// Ends the lane; the first reason stands.
    pub(crate) fn end(&mut self, reason: &str) {
        if !matches!(self.state, State::Closed(_)) {
            self.state = State::Closed(reason.into());
        }
    }

    /// Takes everything that waits, to be reported as failed together with what `taken` holds.
    pub(crate) fn fail(&mut self, mut taken: Waiting) -> Waiting {
        for Pending { listener, seq, .. } in self.pending.drain(..) {
            taken.add(listener, seq);
        }
        taken
    }

    /// The partition may come back with a gap.
    pub(crate) fn leave(&mut self, tp: TopicPartition) {
        self.ends.remove(&tp);
    }

    /// The topic is gone.
    pub(crate) fn forget(&mut self, topic: TopicId) {
        self.ends.retain(|tp, _| tp.topic != topic);
    }
}

/// Bytes that an entry is charged.
pub(crate) fn cost(entry: &Entry) -> u64 {
    (ROW_LEN + entry.batch.body().len()) as u64
}

/// Bytes that an entry takes at most: a block of its own, and a page for its span in the block behind it.
fn worst(entry: &Entry) -> u64 {
    BlockHeader::block_len(1, 0, entry.batch.body().len() as u64) + PAGE as u64
}

/// Refuses what goes past the limit, but never a lone entry.
pub(crate) fn throttle(what: &'static str, held: u64, cost: u64, limit: u64) -> Result<(), Error> {
    if held > 0 && held + cost > limit { Err(Error::Throttled { what, held, limit }) } else { Ok(()) }
}
