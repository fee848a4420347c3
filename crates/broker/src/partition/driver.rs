//! The task of one partition: feeds the state machine and carries out its effects.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use runnel_api::{EpochEnd, Error, ErrorKind, Produced};
use runnel_format::meta::Durability;
use runnel_guard::{Guard, holds};
use runnel_partition::{Decision, Effect, Partition as Machine, RequestId};
use runnel_record::{Offset, TimestampMs, TopicPartition};
use runnel_runtime::{Clock, Shutdown};
use runnel_segment::SourceBatch;
use runnel_segment::manifest::Manifest;
use runnel_wal::{Entry, Listener};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;

use super::signal::Signal;
use super::{Append, Control, MAILBOX, Partition, ShipPlan};
use crate::entrance::Entrance;
use crate::error::{machine_error, refused_by_lane};
use crate::lanes::Lanes;
use crate::produce::Outcome;
use crate::retention::Retired;
use crate::shipped::Shipped;
use crate::stop::Failure;
use crate::tail::{Tail, TailBudget};
use crate::watermark::Watermark;

/// Longest time that a produce waits for room in the log before it is told to come back later.
const MAX_PARKED: Duration = Duration::from_secs(10);

/// How often a produce that waits for room looks again, besides when the lane makes progress for this partition.
const RETRY_ROOM: Duration = Duration::from_millis(20);

/// How long before its deadline a produce that waits for room is answered.
const ANSWER_BEFORE: Duration = RETRY_ROOM.saturating_mul(3);

/// What a partition's task is made of.
pub(crate) struct Driver {
    pub(crate) machine: Machine,
    pub(crate) manifest: Manifest,
    pub(crate) topic_name: String,
    pub(crate) tp: TopicPartition,
    pub(crate) entrance: Arc<Entrance>,
    pub(crate) log: Lanes,
    /// The class of lane that it appends to, until told otherwise.
    pub(crate) durability: Durability,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tails: Arc<TailBudget>,
    /// Why nothing may be appended, for a partition that is open for reading only.
    pub(crate) blocked: Option<Error>,
    /// Where it is said that the log has failed, and with it the broker.
    pub(crate) failure: watch::Sender<Option<Failure>>,
}

/// Starts the task and gives the handle.
pub(crate) fn spawn(driver: Driver, stop: &Shutdown) -> Arc<Partition> {
    let Driver { machine, manifest, topic_name, tp, entrance, log, durability, clock, tails, blocked, failure } =
        driver;
    let (appends, append_queue) = mpsc::channel(MAILBOX);
    let (control, control_queue) = mpsc::channel(MAILBOX);
    let archive = Shipped::new(tp, topic_name, manifest.snapshot());
    let handle = Arc::new(Partition {
        tp,
        epoch: machine.epoch(),
        tail: Tail::new(tails),
        watermark: Watermark::new(machine.high_watermark()),
        archive: Arc::new(archive),
        manifest: tokio::sync::Mutex::new(manifest),
        retired: Mutex::new(Retired::at_open(machine.log_start(), TimestampMs(clock.now_ms()))),
        given_up: AtomicI64::new(0),
        merging: tokio::sync::Mutex::new(()),
        merge_from: AtomicI64::new(0),
        seal_asked: AtomicI64::new(0),
        shipping: Notify::new(),
        unshipped_bytes: AtomicU64::new(0),
        traffic: AtomicU64::new(0),
        seal_due: AtomicI64::new(i64::MAX),
        inherits_upto: AtomicI64::new(i64::MIN),
        blocked: AtomicBool::new(blocked.is_some()),
        refusal: OnceLock::new(),
        durability: AtomicU8::new(durability as u8),
        asked_durability: AtomicU8::new(durability as u8),
        entrance,
        appends,
        control,
        closed: stop.child(),
    });
    let signal = Arc::new(Signal::default());
    let task = Task {
        handle: Arc::clone(&handle),
        machine,
        log,
        durability,
        change: None,
        clock,
        listener: Arc::clone(&signal) as Arc<dyn Listener>,
        signal,
        blocked,
        failure,
        waiting: BTreeMap::new(),
        parked: None,
        leaving: Leaving::No,
        next_token: 0,
        effects: Vec::new(),
    };
    task.publish_unshipped();
    tokio::spawn(task.run(append_queue, control_queue));
    handle
}

/// A request that waits for its reply.
struct Waiting {
    reply: oneshot::Sender<Outcome>,
    log_append_time: bool,
}

/// A change of the class of lane: what was appended before `after` is shipped while appends go on as they did, then
/// the rest while they wait, and then they go to the other lane. So nothing unshipped ever lies in two classes.
struct Change {
    to: Durability,
    after: Offset,
    appends_wait: bool,
}

/// Whether the partition is being handed over: appends wait, and whoever hands it over is told when all is shipped.
enum Leaving {
    No,
    Asked(oneshot::Sender<()>),
    Told,
}

struct Task {
    handle: Arc<Partition>,
    machine: Machine,
    log: Lanes,
    durability: Durability,
    change: Option<Change>,
    leaving: Leaving,
    clock: Arc<dyn Clock>,
    signal: Arc<Signal>,
    listener: Arc<dyn Listener>,
    blocked: Option<Error>,
    failure: watch::Sender<Option<Failure>>,
    waiting: BTreeMap<RequestId, Waiting>,
    /// An append that the lane had no room for. Nothing is appended before it.
    parked: Option<(Append, Instant)>,
    next_token: u64,
    effects: Vec<Effect>,
}

impl Task {
    async fn run(mut self, mut appends: mpsc::Receiver<Append>, mut control: mpsc::Receiver<Control>) {
        let closed = self.handle.closed.clone();
        loop {
            tokio::select! {
                biased;
                () = closed.triggered() => break,
                () = self.signal.news() => self.on_news(),
                Some(asked) = control.recv() => self.on_control(asked),
                () = tokio::time::sleep(RETRY_ROOM), if self.parked.is_some() => self.retry_parked(),
                Some(append) = appends.recv(), if self.parked.is_none() => self.on_append(append, None),
            }
            self.go_on_with_change();
            self.tell_emptied();
            self.carry_out();
        }
        self.machine.failed(&mut self.effects);
        self.carry_out();
    }

    fn on_news(&mut self) {
        if self.signal.has_failed() {
            self.log_failed();
        } else {
            self.machine.durable(self.signal.durable_upto(), &mut self.effects);
        }
        self.retry_parked();
    }

    /// The log ends at its first write or sync error (protocol §1.4): so does this partition, and the broker.
    fn log_failed(&mut self) {
        self.end_broker(match self.durability {
            Durability::Local => "the write-ahead log failed: a write or a sync of the disk went wrong",
            Durability::Object => "the write-ahead log in the bucket has ended: a restart begins a new one",
        });
    }

    fn end_broker(&mut self, why: &str) {
        self.machine.failed(&mut self.effects);
        self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            failure.get_or_insert_with(|| Failure::Broken(why.to_owned()));
            first
        });
    }

    fn retry_parked(&mut self) {
        if let Some((append, since)) = self.parked.take() {
            self.on_append(append, Some(since));
        }
    }

    /// `parked_since` is set when the append has waited for room before.
    fn on_append(&mut self, mut append: Append, parked_since: Option<Instant>) {
        if let Some(blocked) = self.handle.refusal().or(self.blocked.as_ref()) {
            return answer(append.reply, Err(blocked.clone()));
        }
        if let Some(refusal) = self.handle.entrance.refusal(append.ticket) {
            return self.turn_away(append, refusal);
        }
        if self.change.as_ref().is_some_and(|change| change.appends_wait) {
            let since = parked_since.unwrap_or_else(Instant::now);
            let moving =
                || Error::new(ErrorKind::Throttled, "the partition's durability is being changed; retry later");
            return self.park(append, since, moving);
        }
        if !matches!(self.leaving, Leaving::No) {
            let since = parked_since.unwrap_or_else(Instant::now);
            let moving = || Error::new(ErrorKind::NotLeader, "the partition is moving to another broker: retry");
            return self.park(append, since, moving);
        }
        self.next_token += 1;
        let token = RequestId(self.next_token);
        let now = TimestampMs(self.clock.now_ms());
        match self.machine.append(now, token, append.terms, &mut append.batch) {
            Ok(Decision::Append { append_time, .. }) => self.store(token, append, append_time, parked_since),
            Ok(Decision::Duplicate(produced)) => {
                let produced = self.produced(produced, append.terms.log_append_time);
                answer(append.reply, Ok(produced));
            }
            Ok(Decision::Joined) => self.wait(token, append),
            Err(error) => answer(append.reply, Err(machine_error(&error))),
        }
    }

    fn store(&mut self, token: RequestId, append: Append, append_time: TimestampMs, parked_since: Option<Instant>) {
        let entry = Entry { tp: self.handle.tp, append_time, batch: append.batch.clone() };
        match self.log.append(self.durability, entry, &self.listener) {
            Ok(seq) => {
                self.handle.tail.push(SourceBatch { batch: append.batch.clone(), append_time });
                if !holds(Guard::HighWatermark) {
                    self.handle.watermark.advance(append.batch.next_offset());
                }
                self.wait(token, append);
                if let Err(error) = self.machine.appended(token, seq.0, &mut self.effects) {
                    self.broken(&error);
                }
            }
            Err(error) => {
                if let Err(error) = self.machine.refused(token) {
                    self.broken(&error);
                }
                if matches!(error.kind(), runnel_wal::ErrorKind::Closed | runnel_wal::ErrorKind::Fenced) {
                    self.log_failed();
                }
                let since = parked_since.unwrap_or_else(Instant::now);
                if error.kind() == runnel_wal::ErrorKind::Throttled {
                    self.park(append, since, || refused_by_lane(&error));
                } else {
                    self.turn_away(append, refused_by_lane(&error));
                }
            }
        }
    }

    /// Refuses an append for a reason that passes.
    fn turn_away(&self, append: Append, refusal: Error) {
        self.handle.entrance.refuse(&refusal);
        answer(append.reply, Err(refusal));
    }

    /// Lets an append wait, or answers it with `refusal` if it has waited long enough: early enough that the client hears
    /// that nothing was stored, rather than nothing.
    fn park(&mut self, append: Append, since: Instant, refusal: impl FnOnce() -> Error) {
        let until = (since + MAX_PARKED).min(append.deadline - ANSWER_BEFORE);
        if Instant::now() < until {
            self.parked = Some((append, since));
        } else {
            self.turn_away(append, refusal());
        }
    }

    fn change_durability(&mut self, to: Durability) {
        if self.durability == to {
            self.change = None;
            // The record may name the other class since this was asked for first.
            self.handle.inherit_upto(Offset::ZERO);
            self.retry_parked();
        } else if self.change.as_ref().is_none_or(|change| change.to != to) {
            self.change = Some(Change { to, after: self.machine.log_end(), appends_wait: false });
            self.handle.seal_upto(self.machine.log_end());
        }
    }

    fn go_on_with_change(&mut self) {
        let Some(change) = &mut self.change else { return };
        if self.machine.shipped_end() < change.after {
            return;
        }
        if self.machine.shipped_end() < self.machine.log_end() {
            if !change.appends_wait {
                change.appends_wait = true;
                self.handle.seal_upto(self.machine.log_end());
            }
            return;
        }
        let to = change.to;
        if let Err(error) = self.machine.lane_changed() {
            return self.broken(&error);
        }
        self.change = None;
        self.log.leave(self.durability, self.handle.tp);
        self.durability = to;
        self.handle.durability.store(to as u8, Ordering::Release);
        self.handle.inherit_upto(self.machine.log_end());
        self.signal = Arc::default();
        self.listener = Arc::clone(&self.signal) as Arc<dyn Listener>;
        tracing::info!(partition = self.handle.label(), durability = ?to, "acknowledges with another durability from here on");
        self.retry_parked();
    }

    fn tell_emptied(&mut self) {
        if self.machine.shipped_end() < self.machine.log_end() {
            return;
        }
        self.leaving = match std::mem::replace(&mut self.leaving, Leaving::No) {
            Leaving::Asked(emptied) => {
                answer(emptied, ());
                Leaving::Told
            }
            other => other,
        };
    }

    fn wait(&mut self, token: RequestId, append: Append) {
        self.waiting.insert(token, Waiting { reply: append.reply, log_append_time: append.terms.log_append_time });
    }

    /// The machine found a contradiction: everyone who waits is told to retry, and the broker ends, since only a restart
    /// opens the partition from durable state.
    fn broken(&mut self, error: &runnel_partition::Error) {
        tracing::error!(partition = self.handle.label(), %error, "closed a partition whose state contradicts itself");
        metrics::counter!("runnel_partition_invariant_violations_total").increment(1);
        self.end_broker("the state of a partition contradicts itself; a restart opens it from durable state");
    }

    fn carry_out(&mut self) {
        if self.effects.is_empty() {
            return;
        }
        // Before the replies: who hears one and stops the broker must find its records among what is to be shipped.
        self.publish_unshipped();
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::HighWatermark(offset) => self.handle.watermark.advance(offset),
                Effect::Reply { token, outcome } => {
                    let Some(waiting) = self.waiting.remove(&token) else { continue };
                    let outcome = match outcome {
                        Ok(produced) => Ok(self.produced(produced, waiting.log_append_time)),
                        Err(error) => Err(machine_error(&error)),
                    };
                    answer(waiting.reply, outcome);
                }
            }
        }
    }

    fn publish_unshipped(&self) {
        let due = self.machine.next_seal_at();
        self.handle.unshipped_bytes.store(self.machine.unshipped_bytes(), Ordering::Relaxed);
        self.handle.seal_due.store(due.map_or(i64::MAX, |at| at.0), Ordering::Release);
    }

    fn produced(&self, produced: runnel_partition::Produced, log_append_time: bool) -> Produced {
        Produced {
            base_offset: produced.base_offset,
            log_append_time: if log_append_time { produced.append_time } else { TimestampMs::NONE },
            log_start: self.machine.log_start(),
            leader_epoch: produced.leader_epoch,
            durability: match self.durability {
                Durability::Local => runnel_api::Durability::Local,
                Durability::Object => runnel_api::Durability::Object,
            },
        }
    }

    fn on_control(&mut self, asked: Control) {
        match asked {
            Control::SetLimits(limits) => {
                self.machine.set_segment_limits(limits);
                self.publish_unshipped();
            }
            Control::SetDurability(durability) => self.change_durability(durability),
            Control::Block(error) => self.blocked = Some(error),
            Control::Leave { emptied } => self.leaving = Leaving::Asked(emptied),
            Control::Stay => {
                self.leaving = Leaving::No;
                self.retry_parked();
            }
            Control::PlanShip { now, force, reply } => {
                let plan = self.machine.seal_candidate(now, force).map(|range| ShipPlan {
                    base: range.start,
                    next: range.end,
                    epochs: self.machine.epochs().to_vec(),
                });
                answer(reply, plan);
            }
            Control::SnapshotAt { offset, reply } => {
                answer(reply, self.machine.snapshot_at(offset).map_err(|e| machine_error(&e)));
            }
            Control::Committed { next, log_start, reply } => {
                let advanced = self.machine.shipped(next).and_then(|()| self.machine.advance_log_start(log_start));
                if let Err(error) = advanced {
                    self.broken(&error);
                }
                self.handle.archive.start_at(self.machine.log_start());
                self.publish_unshipped();
                answer(reply, ());
            }
            Control::Producers { reply } => {
                let found = self.machine.snapshot_at(self.machine.high_watermark());
                answer(reply, found.map_err(|e| machine_error(&e)));
            }
            Control::EpochEnd { epoch, reply } => {
                let end = self.machine.epoch_end(epoch);
                answer(reply, end.map(|end| EpochEnd { epoch: end.epoch, end_offset: end.end }));
            }
            Control::AtTime { time, reply } => answer(reply, self.machine.batch_at_time(time)),
            Control::MaxTimestamp { reply } => answer(reply, self.machine.batch_of_max_timestamp()),
        }
    }
}

/// Answers; a client that left does not hear it, which is its business.
fn answer<T>(reply: oneshot::Sender<T>, answer: T) {
    drop(reply.send(answer));
}
