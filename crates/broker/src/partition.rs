//! One open partition, as the rest of the broker sees it.
//!
//! The state machine belongs to the partition's task ([`driver`]); it is reached by messages. What every reader needs
//! on every fetch (watermark, tail, manifest, two offsets) is shared here instead.

mod driver;
mod signal;

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use runnel_api::{EpochEnd, Error, ErrorKind};
use runnel_blob::Key;
use runnel_format::manifest::{EpochStart, SegmentRef};
use runnel_format::meta::Durability;
use runnel_format::producer::ProducerSnapshot;
use runnel_partition::{SegmentLimits, Terms, TimedBatch};
use runnel_record::{Batch, LeaderEpoch, Offset, TimestampMs, TopicPartition};
use runnel_runtime::Shutdown;
use runnel_segment::manifest::{Manifest, Snapshot};
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use crate::entrance::{Entrance, Ticket};
use crate::produce::Outcome;
use crate::retention::Retired;
use crate::shipped::Shipped;
use crate::tail::Tail;
use crate::watermark::Watermark;

pub(crate) use driver::{Driver, spawn};

/// Appends that may wait in front of one partition; their bytes are bounded by the front doors' in-flight limits.
const MAILBOX: usize = 256;

/// An append on its way to the partition's task.
#[derive(Debug)]
struct Append {
    batch: Batch,
    terms: Terms,
    deadline: Instant,
    ticket: Ticket,
    reply: oneshot::Sender<Outcome>,
}

/// Everything else that the task is asked.
#[derive(Debug)]
enum Control {
    SetLimits(SegmentLimits),
    SetDurability(Durability),
    Block(Error),
    Leave { emptied: oneshot::Sender<()> },
    Stay,
    PlanShip { now: TimestampMs, force: bool, reply: oneshot::Sender<Option<ShipPlan>> },
    SnapshotAt { offset: Offset, reply: oneshot::Sender<Result<ProducerSnapshot, Error>> },
    Committed { next: Offset, log_start: Offset, reply: oneshot::Sender<()> },
    Producers { reply: oneshot::Sender<Result<ProducerSnapshot, Error>> },
    EpochEnd { epoch: LeaderEpoch, reply: oneshot::Sender<Option<EpochEnd>> },
    AtTime { time: TimestampMs, reply: oneshot::Sender<Option<TimedBatch>> },
    MaxTimestamp { reply: oneshot::Sender<Option<TimedBatch>> },
}

/// What a ship needs to know, taken at one moment.
#[derive(Debug, Clone)]
pub(crate) struct ShipPlan {
    pub(crate) base: Offset,
    pub(crate) next: Offset,
    pub(crate) epochs: Vec<EpochStart>,
}

/// An open partition.
pub(crate) struct Partition {
    pub(crate) tp: TopicPartition,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) tail: Arc<Tail>,
    pub(crate) watermark: Watermark,
    /// The root in the hands of the one ship that may run; an async lock, held from plan to trim.
    pub(crate) manifest: tokio::sync::Mutex<Manifest>,
    /// What readers see of it.
    pub(crate) archive: Arc<Shipped>,
    /// What was given up and is not deleted yet.
    pub(crate) retired: Mutex<Retired>,
    /// What lies below was given up by the only one who needs it.
    given_up: AtomicI64,
    /// Held by the one merge that may run, from its plan to its commit.
    pub(crate) merging: tokio::sync::Mutex<()>,
    /// Segments that begin below are not merged: they turned out not to fit, or to be damaged.
    merge_from: AtomicI64,
    /// Somebody asked to ship what is below this offset.
    seal_asked: AtomicI64,
    /// `shipped` moved, or it never will again.
    shipping: Notify,
    unshipped_bytes: AtomicU64,
    /// Bytes that clients have appended and read.
    traffic: AtomicU64,
    /// When age makes the next segment due; `i64::MAX` while everything is shipped.
    seal_due: AtomicI64,
    /// The record names lanes that are needed for what lies below this offset only; `i64::MIN`: it names none of those.
    inherits_upto: AtomicI64,
    blocked: AtomicBool,
    /// Why nothing here is to be believed any more.
    refusal: OnceLock<Error>,
    /// The class of lane that appends go to.
    durability: AtomicU8,
    /// The same, or the one that they are to go to once what is in the other is shipped.
    asked_durability: AtomicU8,
    pub(crate) entrance: Arc<Entrance>,
    appends: mpsc::Sender<Append>,
    control: mpsc::Sender<Control>,
    closed: Shutdown,
}

impl std::fmt::Debug for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Partition({} at epoch {})", self.label(), self.epoch)
    }
}

impl Partition {
    /// `topic-partition`, for people.
    pub(crate) fn label(&self) -> String {
        self.archive.label()
    }

    pub(crate) fn log_start(&self) -> Offset {
        self.archive.log_start()
    }

    /// End of what is in the bucket.
    pub(crate) fn shipped(&self) -> Offset {
        self.archive.end()
    }

    /// What lies below `start` is not needed any more: the next pass of retention takes it, as far as it is shipped.
    pub(crate) fn give_up_below(&self, start: Offset) {
        self.given_up.fetch_max(start.0, Ordering::Relaxed);
    }

    /// Below this offset nothing is needed.
    pub(crate) fn given_up(&self) -> Offset {
        Offset(self.given_up.load(Ordering::Relaxed))
    }

    /// Where segments that may be merged begin.
    pub(crate) fn merge_from(&self) -> Offset {
        Offset(self.merge_from.load(Ordering::Relaxed))
    }

    /// Leaves segments that begin below `from` unmerged from here on.
    pub(crate) fn set_merge_from(&self, from: Offset) {
        self.merge_from.fetch_max(from.0, Ordering::Relaxed);
    }

    /// Asks the shipping loop to ship everything below `upto`, due or not.
    pub(crate) fn seal_upto(&self, upto: Offset) {
        self.seal_asked.fetch_max(upto.0, Ordering::AcqRel);
    }

    /// Whether something that was asked to be shipped is not shipped yet.
    pub(crate) fn is_seal_asked(&self) -> bool {
        self.seal_asked.load(Ordering::Acquire) > self.shipped().0
    }

    /// The next news of shipping.
    pub(crate) fn shipping_moved(&self) -> Notified<'_> {
        self.shipping.notified()
    }

    /// Waits for `news`; an error if the partition closes first.
    pub(crate) async fn until_closed(&self, news: impl Future<Output = ()>) -> Result<(), Error> {
        tokio::select! {
            biased;
            () = self.closed.triggered() => Err(self.gone()),
            () = news => Ok(()),
        }
    }

    /// Notes that a client has appended or read so many bytes.
    pub(crate) fn passed(&self, bytes: usize) {
        self.traffic.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes that clients have appended and read since it was opened.
    pub(crate) fn traffic(&self) -> u64 {
        self.traffic.load(Ordering::Relaxed)
    }

    /// Bytes that are committed and not shipped, and when age makes them due; `None` while there are none.
    pub(crate) fn unshipped(&self) -> Option<(u64, TimestampMs)> {
        let due = self.seal_due.load(Ordering::Acquire);
        (due != i64::MAX).then(|| (self.unshipped_bytes.load(Ordering::Relaxed), TimestampMs(due)))
    }

    /// The manifest as readers see it.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.archive.snapshot()
    }

    /// Shows readers the manifest after a commit.
    pub(crate) fn publish(&self, snapshot: Snapshot) {
        let start = self.log_start();
        self.archive.publish(snapshot);
        self.shipping.notify_waiters();
        if self.log_start() > start {
            // A long poll tells that, too.
            self.watermark.wake();
        }
    }

    pub(crate) fn segment_key(&self, reference: &SegmentRef) -> Key {
        self.archive.key(reference)
    }

    /// Puts a validated batch into the mailbox. The order of appends is the order in which this returns.
    pub(crate) async fn enqueue(
        &self,
        batch: Batch,
        terms: Terms,
        deadline: Instant,
        ticket: Ticket,
    ) -> Result<oneshot::Receiver<Outcome>, Error> {
        let (reply, pending) = oneshot::channel();
        let append = Append { batch, terms, deadline, ticket, reply };
        self.appends.send(append).await.map_err(|_| self.gone())?;
        Ok(pending)
    }

    /// Resolves when the batch is durable together with everything before it.
    pub(crate) async fn outcome(&self, pending: oneshot::Receiver<Outcome>, deadline: Instant) -> Outcome {
        match tokio::time::timeout_at(deadline, pending).await {
            Ok(answered) => answered.map_err(|_| self.gone())?,
            Err(_) => Err(Error::new(
                ErrorKind::TimedOut,
                "the batch was not durable in time; it may or may not be stored: retry, idempotence sorts it out",
            )),
        }
    }

    /// Asks for the next segment, if one is due.
    pub(crate) async fn plan_ship(&self, now: TimestampMs, force: bool) -> Result<Option<ShipPlan>, Error> {
        self.ask(|reply| Control::PlanShip { now, force, reply }).await
    }

    /// The topic's segment limits changed.
    pub(crate) async fn set_limits(&self, limits: SegmentLimits) -> Result<(), Error> {
        self.control.send(Control::SetLimits(limits)).await.map_err(|_| self.gone())
    }

    /// What acknowledgements promise now.
    pub(crate) fn durability(&self) -> Durability {
        class(&self.durability)
    }

    /// What acknowledgements promise, now or soon.
    pub(crate) fn asked_durability(&self) -> Durability {
        class(&self.asked_durability)
    }

    /// Whether what they promise is about to change.
    pub(crate) fn changes_durability(&self) -> bool {
        self.durability() != self.asked_durability()
    }

    /// The topic's durability changed: what is in the lane of the present class is shipped, then appends go to the other.
    pub(crate) async fn set_durability(&self, durability: Durability) -> Result<(), Error> {
        self.control.send(Control::SetDurability(durability)).await.map_err(|_| self.gone())?;
        self.asked_durability.store(durability as u8, Ordering::Release);
        Ok(())
    }

    /// Lets appends wait from here on; what is returned resolves once everything is shipped.
    pub(crate) async fn leave(&self) -> Result<oneshot::Receiver<()>, Error> {
        let (emptied, is_emptied) = oneshot::channel();
        self.control.send(Control::Leave { emptied }).await.map_err(|_| self.gone())?;
        Ok(is_emptied)
    }

    /// Appends need not wait any more.
    pub(crate) async fn stay(&self) {
        // A partition that closed meanwhile answers those who wait.
        drop(self.control.send(Control::Stay).await);
    }

    /// The record names lanes for what lies below `upto` only.
    pub(crate) fn inherit_upto(&self, upto: Offset) {
        self.inherits_upto.fetch_max(upto.0, Ordering::AcqRel);
    }

    /// Up to where the lanes of other sessions hold something that is not shipped, if they do.
    pub(crate) fn unshipped_inheritance(&self) -> Option<Offset> {
        let upto = self.inherits_upto.load(Ordering::Acquire);
        (upto != i64::MIN && self.shipped().0 < upto).then_some(Offset(upto))
    }

    /// Whether the record names lanes that are not needed any more.
    pub(crate) fn has_shipped_inheritance(&self) -> bool {
        let upto = self.inherits_upto.load(Ordering::Acquire);
        upto != i64::MIN && self.shipped().0 >= upto
    }

    /// See [`Partition::inherit_upto`].
    pub(crate) fn inherits_upto(&self) -> i64 {
        self.inherits_upto.load(Ordering::Acquire)
    }

    /// The record names only what is needed, unless something was added since `mark` was read.
    pub(crate) fn forget_inheritance(&self, mark: i64) {
        // Another value stays for the next look.
        let _added = self.inherits_upto.compare_exchange(mark, i64::MIN, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Resolves when the partition closes.
    pub(crate) fn closing(&self) -> Shutdown {
        self.closed.clone()
    }

    /// The dedup state of the log below `offset`.
    pub(crate) async fn producers_at(&self, offset: Offset) -> Result<ProducerSnapshot, Error> {
        self.ask(|reply| Control::SnapshotAt { offset, reply }).await?
    }

    /// The root holds everything below `next` and starts at `log_start`, and the metadata store knows it.
    pub(crate) async fn mark_committed(&self, next: Offset, log_start: Offset) -> Result<(), Error> {
        self.ask(|reply| Control::Committed { next, log_start, reply }).await
    }

    /// The idempotent producers of what is committed.
    pub(crate) async fn producers(&self) -> Result<ProducerSnapshot, Error> {
        self.ask(|reply| Control::Producers { reply }).await?
    }

    pub(crate) async fn epoch_end(&self, epoch: LeaderEpoch) -> Result<Option<EpochEnd>, Error> {
        self.ask(|reply| Control::EpochEnd { epoch, reply }).await
    }

    /// Base offset of the first unshipped batch with a record at or after `time`.
    pub(crate) async fn first_unshipped_at_or_after(&self, time: TimestampMs) -> Result<Option<Offset>, Error> {
        Ok(self.ask(|reply| Control::AtTime { time, reply }).await?.map(|batch| batch.base))
    }

    /// The largest timestamp of what is not shipped, and the base offset of its batch.
    pub(crate) async fn unshipped_max_timestamp(&self) -> Result<Option<(TimestampMs, Offset)>, Error> {
        let found = self.ask(|reply| Control::MaxTimestamp { reply }).await?;
        Ok(found.map(|batch| (batch.max_timestamp, batch.base)))
    }

    /// Whether nothing may be appended or shipped, because stored bytes are damaged.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Acquire)
    }

    /// Damage was found: appends are refused with `error` from here on, reads go on as far as they can.
    pub(crate) async fn block(&self, error: Error) {
        self.blocked.store(true, Ordering::Release);
        self.shipping.notify_waiters();
        // A partition that closed meanwhile takes no appends either.
        drop(self.control.send(Control::Block(error)).await);
    }

    /// The bucket shows that this disk holds an old state of the partition: what is here is void, for readers and writers.
    pub(crate) fn refuse(&self, error: Error) {
        self.blocked.store(true, Ordering::Release);
        // The first reason stands.
        drop(self.refusal.set(error));
        self.shipping.notify_waiters();
        self.watermark.wake();
    }

    pub(crate) fn refusal(&self) -> Option<&Error> {
        self.refusal.get()
    }

    /// Ends the task; requests that wait are told to retry.
    pub(crate) fn close(&self) {
        self.closed.trigger();
        self.watermark.wake();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.is_triggered()
    }

    async fn ask<T>(&self, control: impl FnOnce(oneshot::Sender<T>) -> Control) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.control.send(control(reply)).await.map_err(|_| self.gone())?;
        answer.await.map_err(|_| self.gone())
    }

    fn gone(&self) -> Error {
        Error::new(ErrorKind::NotLeader, format!("partition {} is closed here: retry", self.label()))
    }
}

fn class(stored: &AtomicU8) -> Durability {
    let object = stored.load(Ordering::Acquire) == Durability::Object as u8;
    if object { Durability::Object } else { Durability::Local }
}
