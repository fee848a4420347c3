//! One partition that another broker leads, for all consumers that read it here: questions to its leader, and the stream of
//! what is new.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use runnel_api::error::Result;
use runnel_api::{
    Archive, Error, ErrorKind, FetchPartition, FetchRequest, Fetched, Isolation, Led, Room, TopicKey, check_epoch,
    diverging,
};
use runnel_record::{Batch, Offset};
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::memory::{Evict, Memory};
use super::state::{Look, Next, State};
use crate::{Peer, metrics};

/// How long a leader may wait before it says that there is nothing new. A part of [`super::state::FRESH`]: what it says is
/// believed until it has said the next thing.
const POLL: Duration = Duration::from_secs(1);

/// Longest wait for what a leader has to say at once.
const ANSWER: Duration = Duration::from_secs(2);

/// Pause before a leader that failed is asked for more.
const AGAIN: Duration = Duration::from_millis(100);

/// How often is looked whether a stream that is far ahead should go on.
const PAUSE: Duration = Duration::from_millis(500);

/// What is asked for while nothing is there: what comes first is told at once.
const NEWS: usize = 64 << 10;

/// What is asked for at once of that which is there.
const SHARE: usize = 1 << 20;

/// What the streams of all partitions share.
pub(super) struct Shared {
    pub(super) memory: Memory,
    /// Held while a stream catches up: so many have a large answer on its way.
    pub(super) catching_up: Semaphore,
}

/// A partition in one epoch of its leader.
pub(super) struct Followed {
    inner: Arc<Inner>,
    stream: Mutex<Option<AbortHandle>>,
}

struct Inner {
    led: Led,
    peer: Arc<dyn Peer>,
    archive: Arc<dyn Archive>,
    state: Mutex<State>,
    /// Raised with everything that consumers may wait for.
    news: watch::Sender<u64>,
    /// Held by the one who asks the leader where the partition stands.
    asking: tokio::sync::Mutex<()>,
    shared: Arc<Shared>,
}

/// A consumer's question, and what it may get.
pub(super) struct Question<'a> {
    pub(super) wanted: &'a FetchPartition,
    /// When it came.
    pub(super) asked: Instant,
    /// Bytes; `None`: only where the partition stands.
    pub(super) limit: Option<usize>,
    /// Whether the first batch may be larger, and room is waited for.
    pub(super) is_first: bool,
    /// Until when.
    pub(super) until: Instant,
}

impl Drop for Followed {
    fn drop(&mut self) {
        let stream = self.stream.get_mut().unwrap_or_else(PoisonError::into_inner);
        stream.iter().for_each(AbortHandle::abort);
    }
}

impl Evict for Inner {
    fn evict(&self, base: Offset) {
        self.state().evict(base);
    }
}

impl Followed {
    pub(super) fn new(led: Led, peer: Arc<dyn Peer>, archive: Arc<dyn Archive>, shared: &Arc<Shared>) -> Self {
        let inner = Inner {
            led,
            peer,
            archive,
            state: Mutex::new(State::new(Instant::now())),
            news: watch::Sender::new(0),
            asking: tokio::sync::Mutex::default(),
            shared: Arc::clone(shared),
        };
        Self { inner: Arc::new(inner), stream: Mutex::default() }
    }

    /// Whether it is that of the leader who leads now.
    pub(super) fn is_of(&self, led: &Led) -> bool {
        self.inner.led == *led
    }

    /// What is raised with the next news.
    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.inner.news.subscribe()
    }

    /// Whether nobody reads it.
    pub(super) fn is_unused(&self) -> bool {
        self.inner.state().is_unused(Instant::now())
    }

    /// Makes sure, if it can be, that what is known is not too old to answer to what is asked now.
    pub(super) async fn confirm(&self, asked: Instant) {
        if !self.inner.state().is_fresh(asked) {
            // Whether it failed shows to whoever reads.
            drop(self.inner.ask(asked).await);
        }
    }

    /// Answers a consumer, as the leader would.
    pub(super) async fn read(&self, question: Question<'_>) -> Result<Fetched> {
        let inner = &self.inner;
        let (wanted, asked) = (question.wanted, question.asked);
        let max_bytes = question.limit.unwrap_or(0);
        check_epoch(inner.led.epoch, wanted.current_leader_epoch)?;
        if let Some(diverging) = inner.diverging(wanted).await? {
            return Ok(Fetched { diverging: Some(diverging), ..inner.fetched(Vec::new(), Room::default()) });
        }
        let mut look = inner.state().look(wanted.offset, max_bytes, asked, Instant::now());
        if matches!(look, Look::Ask) {
            inner.ask(asked).await?;
            look = inner.state().look(wanted.offset, max_bytes, asked, Instant::now());
        }
        match look {
            // What it said is in doubt again.
            Look::Ask => Err(inner.lost()),
            Look::Out => Err(out_of_range(wanted)),
            _ if question.limit.is_none() => Ok(inner.fetched(Vec::new(), Room::default())),
            Look::Found(batches) => Ok(inner.found("memory", cut(batches, &question), Room::default())),
            Look::Nothing => {
                self.stream_on();
                Ok(inner.fetched(Vec::new(), Room::default()))
            }
            Look::Archive(upto) => inner.read_archive(&question, upto).await,
            Look::Leader => inner.read_leader(&question).await,
        }
    }

    /// Makes sure that what is new comes.
    fn stream_on(&self) {
        if self.inner.state().begin_stream() {
            let stream = tokio::spawn(Arc::clone(&self.inner).stream()).abort_handle();
            *self.stream.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream);
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn topic(&self) -> TopicKey {
        TopicKey::Id(self.led.tp.topic)
    }

    /// Has the leader say where the partition stands, unless it did since.
    async fn ask(&self, since: Instant) -> Result<()> {
        let _asking = self.asking.lock().await;
        match self.state().answered_since(since) {
            Some(true) => return Ok(()),
            Some(false) => return Err(self.lost()),
            None => {}
        }
        let asked = Instant::now();
        let topic = self.topic();
        let answer = timeout(ANSWER, self.peer.standing(&topic, self.led.tp.partition, self.led.epoch)).await;
        match answer {
            Ok(Ok(standing)) => {
                self.state().stands(standing, asked);
                Ok(())
            }
            failed => {
                tracing::debug!(partition = %self.led.tp, ?failed, "the leader does not say where a partition stands");
                self.state().doubt(asked);
                Err(self.lost())
            }
        }
    }

    async fn diverging(&self, wanted: &FetchPartition) -> Result<Option<runnel_api::DivergingEpoch>> {
        let Some(last) = wanted.last_fetched_epoch.filter(|epoch| epoch.0 >= 0) else { return Ok(None) };
        let (topic, epoch) = (self.topic(), Some(self.led.epoch));
        let end = timeout(ANSWER, self.peer.epoch_end(&topic, self.led.tp.partition, last, epoch)).await;
        let end = end.map_err(|_| self.lost())?.map_err(|_| self.lost())?;
        Ok(end.and_then(|end| diverging(last, end, wanted.offset)))
    }

    async fn read_archive(&self, question: &Question<'_>, upto: Offset) -> Result<Fetched> {
        let (wanted, max_bytes) = (question.wanted, question.limit.unwrap_or(0));
        let read = self.archive.read(wanted.offset, upto, max_bytes, question.is_first);
        match timeout_at(question.until, read).await {
            Ok(Ok((batches, room))) => Ok(self.found("bucket", cut(batches, question), room)),
            Ok(Err(error)) if error.kind == ErrorKind::OffsetOutOfRange => Err(error),
            // The leader may have it in memory or cache, or a way to the bucket.
            failed => {
                let error = failed.map(|read| read.err());
                tracing::warn!(partition = %self.led.tp, ?error, "what is shipped was not read: the leader is asked");
                self.read_leader(question).await
            }
        }
    }

    /// What neither memory nor bucket has.
    async fn read_leader(&self, question: &Question<'_>) -> Result<Fetched> {
        let max_bytes = question.limit.unwrap_or(0).min(SHARE);
        let asked = Instant::now();
        let fetched = timeout(ANSWER, self.fetch(question.wanted.offset, max_bytes, Duration::ZERO)).await;
        let fetched = fetched.map_err(|_| self.lost())?.map_err(|error| match error.kind {
            ErrorKind::OffsetOutOfRange | ErrorKind::Corrupt => error,
            _ => self.lost(),
        })?;
        self.state().confirm(fetched.log_start, fetched.high_watermark, asked);
        Ok(self.found("leader", cut(fetched.batches, question), fetched.room))
    }

    /// Asks the leader for records.
    async fn fetch(&self, offset: Offset, max_bytes: usize, max_wait: Duration) -> Result<Fetched> {
        let part = FetchPartition {
            topic: self.topic(),
            partition: self.led.tp.partition,
            offset,
            max_bytes,
            current_leader_epoch: Some(self.led.epoch),
            last_fetched_epoch: None,
            zone: None,
        };
        let isolation = Isolation::ReadUncommitted;
        let request = FetchRequest { max_wait, min_bytes: 1, max_bytes, isolation, partitions: vec![part] };
        let answer = self.peer.fetch(request).await.pop();
        let fetched = answer.ok_or_else(|| self.lost())?.outcome?;
        metrics::fetched(fetched.batches.iter().map(Batch::len).sum());
        Ok(fetched)
    }

    /// Brings what is new, while somebody reads it.
    async fn stream(self: Arc<Self>) {
        loop {
            let next = self.state().next(Instant::now());
            match next {
                Next::Poll(from, is_there) => {
                    if let Err(error) = self.poll(from, is_there).await {
                        tracing::debug!(partition = %self.led.tp, %error, "a stream was interrupted");
                        self.state().interrupted(error.kind);
                        self.raise();
                        tokio::time::sleep(AGAIN).await;
                    }
                }
                Next::Pause => {
                    tokio::time::sleep(PAUSE).await;
                    // What it would go on with may be shipped by now. A failure shows to whoever asks.
                    drop(self.ask(Instant::now()).await);
                }
                Next::End => {
                    self.raise();
                    return;
                }
            }
        }
    }

    async fn poll(self: &Arc<Self>, from: Offset, is_there: bool) -> Result<()> {
        let (max_bytes, wait) = if is_there { (SHARE, Duration::ZERO) } else { (NEWS, POLL) };
        let permit = if is_there { self.shared.catching_up.acquire().await.ok() } else { None };
        let asked = Instant::now();
        let fetched = timeout(wait + ANSWER, self.fetch(from, max_bytes, wait)).await.map_err(|_| self.lost())??;
        let batches: Vec<(Offset, usize)> = fetched.batches.iter().map(|one| (one.base_offset(), one.len())).collect();
        self.state().streamed(fetched, asked);
        for (base, bytes) in &batches {
            let holder: Weak<Self> = Arc::downgrade(self);
            self.shared.memory.added(holder, *base, *bytes);
        }
        drop(permit);
        if !batches.is_empty() {
            self.raise();
        }
        Ok(())
    }

    fn raise(&self) {
        self.news.send_modify(|count| *count += 1);
    }

    fn found(&self, source: &'static str, batches: Vec<Batch>, room: Room) -> Fetched {
        metrics::read(source, batches.iter().map(Batch::len).sum());
        self.fetched(batches, room)
    }

    fn fetched(&self, batches: Vec<Batch>, room: Room) -> Fetched {
        let (log_start, high_watermark) = self.state().bounds();
        let (last_stable_offset, diverging, reader) = (high_watermark, None, None);
        Fetched { batches, high_watermark, last_stable_offset, log_start, diverging, reader, room }
    }

    /// The consumer goes back to the leader, whoever that is.
    fn lost(&self) -> Error {
        let what = format!("the leader of {} does not answer this broker: ask it, or whoever leads now", self.led.tp);
        Error::new(ErrorKind::NotLeader, what)
    }
}

fn out_of_range(wanted: &FetchPartition) -> Error {
    let (topic, partition, offset) = (&wanted.topic, wanted.partition, wanted.offset);
    Error::new(ErrorKind::OffsetOutOfRange, format!("offset {offset} of {topic}-{partition} is out of range"))
}

/// Drops what exceeds the limit, unless this is the first of an answer.
fn cut(mut batches: Vec<Batch>, question: &Question<'_>) -> Vec<Batch> {
    if question.is_first {
        return batches;
    }
    let (mut bytes, limit) = (0, question.limit.unwrap_or(0));
    let fits = batches.iter().take_while(|batch| {
        bytes += batch.len();
        bytes <= limit
    });
    let keep = fits.count();
    batches.truncate(keep);
    batches
}
