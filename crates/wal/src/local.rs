//! The handle of a local log.

use std::ops::Range;
use std::sync::Arc;

use runnel_format::wal::Span;
use runnel_record::{Offset, TopicId, TopicPartition};
use runnel_runtime::simulation::blocking;
use runnel_runtime::{Disk, FailPoints, Reuse};

use crate::Error;
use crate::entry::{Entry, LaneSeq, Listener, Pressure, Recovered, StoredBatch};
use crate::hands::Hands;
use crate::index::{Index, Plan};
use crate::keeper::{self, Keeper, Work};
use crate::lanes::{Lane, Lanes};
use crate::options::{LaneIdentity, Options};
use crate::queue::{Limits, Queue};
use crate::read;
use crate::recover::Recovery;
use crate::seal;
use crate::shared::Shared;
use crate::writer::Writer;

/// The first file of a lane is at most this long, so that a start does not wait for a large one to be filled.
const FIRST_FILE_BYTES: u64 = 4 << 20;
/// Files shorter than this cannot hold a useful block.
const MIN_FILE_BYTES: u64 = 64 << 10;

/// The lane that this session writes, and the sealed lanes that it inherited from the disk. Cheap to clone. When
/// the last clone is dropped without [`LocalLog::close`], what was not durable yet is reported as failed.
#[derive(Clone)]
pub struct LocalLog(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    hands: Hands,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.stop("the log was dropped");
        keeper::stop(&self.shared);
    }
}

impl LocalLog {
    /// Opens the log in `options.dir`: seals the lanes that earlier sessions left there, reads what they hold, and
    /// starts a new lane. Blocks; call it on a blocking thread.
    ///
    /// # Errors
    /// A failing disk, a newer format, or a lane whose state cannot be read. Damaged entries are not an error: they
    /// are in [`Recovered::corrupt`].
    pub fn open(
        disk: Arc<dyn Disk>,
        options: Options,
        identity: LaneIdentity,
        fail: FailPoints,
    ) -> Result<(Self, Recovered), Error> {
        let options = checked(options);
        let (lanes, foreign) = Lanes::open(disk, &options.dir, identity.disk_id, options.reserve_bytes)?;
        let mut recovered = Recovered { foreign, ..Recovered::default() };
        let mut index = Index::new();
        let empty = inherit(&lanes, &fail, &mut index, &mut recovered)?;
        let lane = lanes.create(identity.session, identity.disk_id)?;
        fail.hit("wal.lane.created")?;
        // Not before: a log without any lane is taken for one that was lost.
        empty.into_iter().try_for_each(|generation| lanes.remove(generation))?;
        Ok((Self::start(options, fail, lanes, lane, index)?, recovered))
    }

    fn start(options: Options, fail: FailPoints, lanes: Lanes, lane: Lane, index: Index) -> Result<Self, Error> {
        let limits = Limits {
            block_bytes: options.block_bytes as u64,
            max_unflushed: options.max_unflushed,
            max_unshipped: options.max_unshipped,
            // A block may carry the index of one full of the smallest entries.
            max_entry: keeper::room(options.file_bytes) - options.block_bytes as u64 / 2,
        };
        let first_bytes = options.file_bytes.min(FIRST_FILE_BYTES);
        let live = lane.state.generation;
        let shared = Arc::new(Shared::new(options, fail, lanes, live, Queue::new(limits), index, Work::new()));
        let first = match keeper::first_file(&shared, &lane, first_bytes) {
            Ok(file) => Some(Arc::new(file)),
            Err(error) if error.is_full() => None,
            Err(error) => return Err(error),
        };
        let mut number = 1;
        if let Some(file) = &first {
            shared.queue().set_room(keeper::room(file.len));
            shared.index(|index| index.add_file(Arc::clone(file), 1));
            number = 2;
        } else {
            tracing::warn!("the disk is full: the local log starts without room, appends are refused");
            shared.queue().set_starved(true);
            shared.work().starved();
            keeper::get_ahead(&shared);
        }
        let writer = Writer::new(Arc::clone(&shared), first);
        let keeper = Keeper::new(Arc::clone(&shared), lane, number);
        let hands = Hands::start(&shared, writer, keeper)?;
        keeper::want_trim(&shared);
        Ok(Self(Arc::new(Inner { shared, hands })))
    }

    /// Appends are to be expected: has the reserve and the file after the first one made ready. Otherwise that begins with
    /// the first append. It fills 72 MiB of the disk, which whoever starts up would wait behind.
    pub fn get_ahead(&self) {
        keeper::get_ahead(&self.0.shared);
    }

    /// Queues an entry. Never blocks. The listener hears when it is durable, or that the lane failed.
    ///
    /// # Errors
    /// `Throttled` past a limit, `Full` without room on the disk, `Closed` when the lane has ended, `TooLarge`, and
    /// `NotContiguous` if the entry does not continue its partition in its epoch. Nothing was queued then.
    pub fn append(&self, entry: Entry, listener: &Arc<dyn Listener>) -> Result<LaneSeq, Error> {
        let shared = &self.0.shared;
        let unshipped = shared.unshipped();
        let seq = shared.queue().push(entry, listener, unshipped)?;
        shared.want_write();
        Ok(seq)
    }

    /// Reads durable batches of `tp` that are not shipped yet, from the one that contains `from` on, those that start
    /// below `upto`, up to `max_bytes` but at least one. An accepted loss is stepped over. Empty at the end of the
    /// lanes.
    ///
    /// # Errors
    /// `Absent` where the lanes do not hold `from` (it is in the bucket, or never was here), `Corrupt` where it
    /// cannot be read; what lies in front of a damaged batch is returned first.
    pub async fn read(
        &self,
        tp: TopicPartition,
        from: Offset,
        upto: Offset,
        max_bytes: usize,
        reuse: Reuse,
    ) -> Result<Vec<StoredBatch>, Error> {
        let plan = self.plan(tp, from, upto, max_bytes)?;
        if plan.pieces.is_empty() {
            return Ok(Vec::new());
        }
        blocking(move || read::read(plan, tp, from, upto, max_bytes, reuse))
            .await
            .unwrap_or_else(|error| Err(Error::Closed { reason: error.to_string().into() }))
    }

    pub(crate) fn plan(&self, tp: TopicPartition, from: Offset, upto: Offset, max_bytes: usize) -> Result<Plan, Error> {
        self.0.shared.index(|index| index.plan(tp, from, upto, max_bytes))
    }

    /// Whether the keeper has done what it can: the next file is ready, or there is no room for one.
    #[cfg(test)]
    pub(crate) fn is_prepared(&self) -> bool {
        keeper::has_next(&self.0.shared) || self.pressure().full
    }

    /// Entries of `tp` below `upto` are in the bucket. Files that nothing needs any more are given back, in the
    /// background.
    pub fn shipped(&self, tp: TopicPartition, upto: Offset) {
        self.0.shared.index(|index| index.shipped(tp, upto));
        keeper::want_trim(&self.0.shared);
    }

    /// The log of a partition went on elsewhere without what is here of it, which is read no more and pins no file.
    pub fn discard(&self, tp: TopicPartition) {
        self.0.shared.index(|index| index.discard(tp));
        keeper::want_trim(&self.0.shared);
    }

    /// A partition goes on in another lane, and all that it has here is shipped. It may come back, further on in its epoch.
    pub fn leave(&self, tp: TopicPartition) {
        self.0.shared.queue().leave(tp);
    }

    /// The topic was deleted: nothing of it is needed any more.
    pub fn forget(&self, topic: TopicId) {
        self.0.shared.queue().forget(topic);
        self.0.shared.index(|index| index.forget(topic));
        keeper::want_trim(&self.0.shared);
    }

    /// Records, durably, that the loss of `range` is accepted: reads step over it, and it pins no file. Batches that
    /// overlap the range count as lost. Blocks.
    ///
    /// # Errors
    /// `Absent` if the lanes hold nothing of the range; `Io` if it could not be recorded.
    pub fn accept_loss(&self, tp: TopicPartition, range: Range<Offset>) -> Result<(), Error> {
        let shared = &self.0.shared;
        let generations = shared.index(|index| index.lanes_with(tp, &range));
        if generations.is_empty() {
            return Err(Error::Absent { tp, offset: range.start });
        }
        let span = Span { tp, base: range.start, next: range.end };
        for generation in generations {
            shared.lanes.accept(generation, span)?;
            shared.index(|index| index.accept(generation, &span));
        }
        keeper::want_trim(shared);
        Ok(())
    }

    /// What was damaged so that nothing tells whom it hit is given up, and is told of no more.
    pub fn accept_hidden_loss(&self) {
        self.0.shared.index(Index::accept_hidden);
        keeper::want_trim(&self.0.shared);
    }

    /// How full the log is.
    pub fn pressure(&self) -> Pressure {
        let shared = &self.0.shared;
        let (unflushed_bytes, full) = {
            let queue = shared.queue();
            (queue.unflushed(), queue.is_starved())
        };
        let (unshipped_bytes, limit) = (shared.unshipped(), shared.options.max_unshipped);
        Pressure { unflushed_bytes, unshipped_bytes, limit, full }
    }

    /// What should be shipped, due or not, so that the log has room: what pins its oldest file (partitions, and the offset
    /// that each has to ship up to). Empty unless more than half of the limit is taken, an append does not get in (a batch
    /// may be larger than the other half), or the disk is full. On a full disk the file that is being written does not
    /// count: it is no room for the next one, and what little comes into it would be shipped piece by piece.
    pub fn pressing(&self) -> Vec<(TopicPartition, Offset)> {
        let shared = &self.0.shared;
        let (full, refused) = {
            let queue = shared.queue();
            (queue.is_starved(), queue.has_refused())
        };
        let crowded = refused || shared.unshipped() > shared.options.max_unshipped / 2;
        if crowded || full { self.oldest(!crowded) } else { Vec::new() }
    }

    /// The partitions that the log holds durable, unshipped entries of, and where those end.
    pub fn held(&self) -> Vec<(TopicPartition, Offset)> {
        self.0.shared.index(|index| index.held())
    }

    /// What pins the oldest file, whether there is pressure or not.
    pub(crate) fn oldest(&self, full_only: bool) -> Vec<(TopicPartition, Offset)> {
        self.0.shared.index(|index| index.oldest(full_only))
    }

    /// Whether the lane takes appends: false once it has failed or was closed.
    pub fn is_open(&self) -> bool {
        self.0.shared.queue().is_open()
    }

    /// Waits until all that was reported as shipped so far is trimmed. Blocks.
    pub fn wait_trimmed(&self) {
        let ticket = keeper::want_trim(&self.0.shared);
        self.0.hands.wait_for_trim(&self.0.shared, ticket);
    }

    /// Writes what is queued, marks the lane as cleanly ended, finishes trims, and stops. Reads still work. Blocks.
    pub fn close(&self) {
        let shared = &self.0.shared;
        shared.queue().close();
        shared.want_write();
        keeper::closing(shared);
        self.0.hands.finish(shared);
    }
}

/// Makes the sizes fit together.
fn checked(mut options: Options) -> Options {
    options.file_bytes = runnel_format::wal::pages(options.file_bytes.max(MIN_FILE_BYTES));
    let largest_block = usize::try_from(options.file_bytes / 4).unwrap_or(usize::MAX);
    options.block_bytes = options.block_bytes.clamp(1, largest_block);
    options
}

/// Seals what earlier sessions left and reads it. Returns the lanes that hold nothing.
fn inherit(lanes: &Lanes, fail: &FailPoints, index: &mut Index, recovered: &mut Recovered) -> Result<Vec<u64>, Error> {
    for lane in lanes.all() {
        if lane.state.end.is_none() {
            recovered.torn_bytes += seal::seal(lanes, fail, &lane)?;
        }
    }
    let mut recovery = Recovery::new(index, recovered);
    let mut empty = Vec::new();
    for lane in lanes.all() {
        let Some(end) = lane.state.end else { continue };
        seal::sweep(lanes, &lane, &end)?;
        if lane.state.first_file > end.seal_file {
            empty.push(lane.state.generation);
        } else if !recovery.lane(lanes, &lane, &end)? {
            // Pointer first: a lane whose files are gone but whose state wants them would be damage.
            lanes.update(lane.state.generation, |state| state.first_file = end.seal_file + 1)?;
            empty.push(lane.state.generation);
        }
    }
    recovery.finish();
    empty.iter().for_each(|generation| index.forget_lane(*generation));
    Ok(empty)
}
