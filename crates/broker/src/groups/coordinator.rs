//! The task of one coordinator: feeds the state machine, writes what it says, answers once that is durable.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use runnel_api::Error;
use runnel_format::groups::GroupKey;
use runnel_format::meta::ClusterSettings;
use runnel_group::{Effect, Now, Reply, Request, Shard, Token, Weight};
use runnel_guard::{Guard, holds};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::live::{Checkpoint, Live};
use super::write::{Write, Written};
use super::{Asked, PATIENCE, slow};
use crate::Broker;
use crate::partition::Partition;
use crate::topics::Topic;

/// Bytes of records that may wait for the log; past it nothing more is taken on.
const MAX_UNWRITTEN: usize = 16 << 20;

/// Answers that wait for the log, past which those that nobody waits for any more are dropped: an answer per request of
/// a full mailbox.
const MOST_ANSWERS: usize = super::MAILBOX;

type Answer = Result<Reply, Error>;

/// A request that the machine has not answered.
struct Waiting {
    reply: oneshot::Sender<Answer>,
    /// Its answer says nothing that is written, and must not wait for a slow disk: a heartbeat.
    urgent: bool,
}

pub(super) struct Coordinator {
    pub(super) broker: Arc<Broker>,
    pub(super) topic: Arc<Topic>,
    pub(super) partition: i32,
    pub(super) shard: Shard,
    /// What it was loaded from, and writes to: once that closes, another coordinator may know more.
    pub(super) home: Option<Arc<Partition>>,
    /// The settings that it looked at last.
    settings: Arc<ClusterSettings>,
    /// What the groups took when they were weighed last.
    weight: Weight,
    started: Instant,
    next_token: u64,
    waiting: BTreeMap<Token, Waiting>,
    /// Records that are not on their way yet.
    unwritten: VecDeque<(Bytes, Option<Bytes>)>,
    unwritten_bytes: usize,
    /// Records that the machine wrote so far, and how many of them are durable.
    emitted: u64,
    durable: u64,
    /// Answers, each with the number of records that must be durable before it leaves; the numbers do not fall.
    answers: VecDeque<(u64, oneshot::Sender<Answer>, Answer)>,
    writing: Option<BoxFuture<'static, Result<Written, Error>>>,
    /// What of the log still counts.
    pub(super) live: Live,
    checkpoint: Option<Checkpoint>,
}

impl Coordinator {
    pub(super) fn new(broker: Arc<Broker>, topic: Arc<Topic>, partition: i32, shard: Shard) -> Self {
        Self {
            broker,
            topic,
            partition,
            shard,
            home: None,
            settings: Arc::default(),
            weight: Weight::default(),
            started: Instant::now(),
            next_token: 0,
            waiting: BTreeMap::new(),
            unwritten: VecDeque::new(),
            unwritten_bytes: 0,
            emitted: 0,
            durable: 0,
            answers: VecDeque::new(),
            writing: None,
            live: Live::default(),
            checkpoint: None,
        }
    }

    /// Loads, then serves until the broker stops or the log refuses for good. Whoever waits then is told to look for the
    /// coordinator again, and finds one that was loaded from what is durable.
    pub(super) async fn run(mut self, mut mailbox: mpsc::Receiver<Asked>) {
        let stop = self.broker.stop_signal.clone();
        tokio::select! {
            biased;
            () = stop.triggered() => return,
            loaded = load_answering(self.load(), &mut mailbox) => if !loaded { return },
        }
        let Some(closing) = self.home.as_ref().map(|home| home.closing()) else { return };
        loop {
            let next_tick = self.started + self.shard.next_tick();
            let written = async {
                match &mut self.writing {
                    Some(writing) => writing.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stop.triggered() => return,
                () = closing.triggered() => return,
                written = written => if !self.on_written(written) { return },
                () = tokio::time::sleep_until(next_tick) => {
                    let mut effects = Vec::new();
                    self.look_around();
                    self.shard.tick(self.now(), &mut effects);
                    self.carry_out(effects);
                }
                asked = mailbox.recv(), if self.unwritten_bytes < MAX_UNWRITTEN => match asked {
                    Some(asked) => self.on_asked(asked),
                    None => return,
                },
            }
            self.write_on();
        }
    }

    pub(super) fn now(&self) -> Now {
        Now { elapsed: self.started.elapsed(), wall_ms: self.broker.ports.clock.now_ms() }
    }

    fn on_asked(&mut self, asked: Asked) {
        if asked.reply.is_closed() {
            // Its client gave up, while this was loading for one, and asks again.
            return;
        }
        self.look_around();
        self.next_token += 1;
        let token = Token(self.next_token);
        let urgent = matches!(asked.request, Request::Heartbeat(_));
        self.waiting.insert(token, Waiting { reply: asked.reply, urgent });
        let mut effects = Vec::new();
        self.shard.on(self.now(), token, asked.request, &mut effects);
        self.weigh();
        self.carry_out(effects);
    }

    /// Tells what the groups here take, and looks what the others do.
    fn weigh(&mut self) {
        let now = self.shard.weight();
        let elsewhere = self.broker.groups.replace_weight(self.weight, now);
        self.weight = now;
        self.shard.set_elsewhere(elsewhere);
    }

    /// What has changed around the groups.
    pub(super) fn look_around(&mut self) {
        let settings = self.broker.settings.all();
        if !Arc::ptr_eq(&settings, &self.settings) {
            self.shard.set_times(self.broker.settings.times_of_groups());
            self.settings = settings;
        }
        self.weigh();
        if let Some(topics) = self.broker.topics.picture_after(self.shard.topics().version()) {
            self.shard.set_topics(topics);
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Write { key, value } => {
                    count(&key, value.is_some());
                    let key = key.encode();
                    self.live.note(key.clone(), value.clone());
                    self.emit(key, value);
                }
                Effect::Reply { token, outcome } => {
                    let Some(Waiting { reply, urgent }) = self.waiting.remove(&token) else { continue };
                    let outcome = outcome.map_err(Error::from);
                    if urgent || self.emitted == self.durable || !holds(Guard::AnswerAfterRecord) {
                        answer(reply, outcome);
                    } else {
                        if self.answers.len() >= MOST_ANSWERS {
                            self.answers.retain(|(_, reply, _)| !reply.is_closed());
                        }
                        self.answers.push_back((self.emitted, reply, outcome));
                    }
                }
            }
        }
    }

    fn emit(&mut self, key: Bytes, value: Option<Bytes>) {
        self.unwritten_bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
        self.unwritten.push_back((key, value));
        self.emitted += 1;
    }

    /// Writes what counts once more, if the log has grown far beyond it. Nothing comes in between: what follows it in
    /// the log follows it in time.
    fn checkpoint_if_due(&mut self) {
        if self.checkpoint.is_some() || !self.live.is_due() {
            return;
        }
        let first = self.emitted;
        let records: Vec<_> = self.live.begin().collect();
        // Without one there is nothing to hold on to; the log may start where it ends, with the next record.
        if records.is_empty() {
            return;
        }
        records.into_iter().for_each(|(key, value)| self.emit(key, value));
        self.checkpoint = Some(Checkpoint::new(first..self.emitted));
    }

    fn on_durable(&mut self, written: &Written) {
        let before = self.durable;
        self.durable += written.records;
        let whole = self.checkpoint.as_mut().and_then(|c| c.on_written(before..self.durable, written.base));
        if let Some(start) = whole {
            self.checkpoint = None;
            tracing::debug!(partition = self.partition, %start, "a group coordinator wrote a checkpoint");
            written.partition.give_up_below(start);
        }
    }

    /// Whether to go on.
    fn on_written(&mut self, written: Result<Written, Error>) -> bool {
        self.writing = None;
        match written {
            Ok(written) => self.on_durable(&written),
            Err(error) => {
                let partition = self.partition;
                tracing::warn!(partition, %error, "a group coordinator cannot write; it is loaded anew when asked");
                return false;
            }
        }
        while let Some((_, reply, outcome)) = self.answers.pop_front_if(|(needed, ..)| *needed <= self.durable) {
            answer(reply, outcome);
        }
        true
    }

    /// Puts what is unwritten on its way, if nothing is: one batch at a time keeps the order through every retry, and
    /// gathers what comes meanwhile.
    fn write_on(&mut self) {
        self.checkpoint_if_due();
        let Some(home) = self.home.as_ref().filter(|_| self.writing.is_none() && !self.unwritten.is_empty()) else {
            return;
        };
        let write = Write::take(&mut self.unwritten, self.broker.ports.clock.now_ms());
        self.unwritten_bytes = self.unwritten_bytes.saturating_sub(write.bytes);
        self.writing = Some(Box::pin(write.run(Arc::clone(&self.broker), Arc::clone(home))));
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        self.broker.groups.replace_weight(self.weight, Weight::default());
    }
}

/// Waits for `load`. A load that takes long, of a bucket that is away or a log that is damaged, must not leave members
/// without an answer: they are told to ask again.
async fn load_answering(load: impl Future<Output = bool>, mailbox: &mut mpsc::Receiver<Asked>) -> bool {
    let mut load = std::pin::pin!(load);
    if let Ok(loaded) = tokio::time::timeout(PATIENCE, &mut load).await {
        return loaded;
    }
    loop {
        tokio::select! {
            biased;
            loaded = &mut load => return loaded,
            Some(asked) = mailbox.recv() => answer(asked.reply, Err(slow())),
        }
    }
}

fn count(key: &GroupKey, lives: bool) {
    match key {
        GroupKey::Offset { .. } if lives => metrics::counter!("runnel_group_offset_commits_total").increment(1),
        GroupKey::Group { .. } | GroupKey::Epoch { .. } if lives => {
            metrics::counter!("runnel_group_rebalances_total").increment(1);
        }
        _ => {}
    }
}

/// Answers; a client that left does not hear it, which is its business.
fn answer(reply: oneshot::Sender<Answer>, answer: Answer) {
    drop(reply.send(answer));
}
