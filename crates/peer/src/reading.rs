//! Reading for the consumers of a zone what brokers of other zones lead (KIP-392): what is shipped from the bucket, and what
//! is not as it comes from the leader, once for all of them.
//!
//! Invariants:
//! - Nothing is answered that the leader has not said to be committed, in the epoch in which it leads, within the last
//!   seconds ([`state::FRESH`]); where it says nothing, consumers are sent back to it.
//! - What is shipped never comes from the leader, unless the bucket fails.
//! - All streams together take up a fixed amount of memory.

mod followed;
mod memory;
mod state;
mod tail;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::{join_all, pending, select_all};
use runnel_api::error::Result;
use runnel_api::{Fetch, FetchPartition, FetchRequest, FetchedPartition, Nearby};
use runnel_record::TopicPartition;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::answers::{bytes, is_urgent};
use crate::{Peers, metrics};
use followed::{Followed, Question, Shared};
use memory::Memory;

/// How often is looked which partitions nobody reads any more, and how often those who wait say that they do: before
/// [`state::IDLE`].
const LOOK: Duration = Duration::from_secs(5);

/// How long the reads of one pass may take together, and what each gets even so (as of a broker's own partitions).
const PATIENCE: Duration = Duration::from_secs(10);
const LEAST_PATIENCE: Duration = Duration::from_millis(100);

/// How long is waited at least for records that are known to be there: a stream that has just begun brings them.
const CATCH_UP: Duration = Duration::from_secs(1);

/// Streams that catch up at once.
const CATCH_UP_AT_ONCE: usize = 8;

/// What the partitions that are led here may take of an answer, and those that are not.
const HALF: usize = 2;

/// A broker as consumers of its zone read from it.
pub struct Reading {
    me: Weak<Self>,
    /// The broker, which answers for what it leads.
    own: Arc<dyn Fetch>,
    nearby: Arc<dyn Nearby>,
    peers: Arc<dyn Peers>,
    zone: Arc<str>,
    shared: Arc<Shared>,
    followed: Mutex<BTreeMap<TopicPartition, Arc<Followed>>>,
}

/// Where a partition is read.
enum Source {
    /// The broker leads it, or says who does.
    Own,
    Followed(Arc<Followed>),
}

/// What one look at all partitions found.
struct Pass {
    answers: Vec<FetchedPartition>,
    /// Bytes of what is led here, and of the rest.
    own: usize,
    followed: usize,
    /// Something that the client should hear of at once.
    is_urgent: bool,
    /// Nothing was found although there is something.
    is_behind: bool,
}

impl Reading {
    /// `broker`, which must answer for itself alone, and which is in `zone`. What is kept of other brokers' partitions takes
    /// up `memory` bytes.
    pub fn new<B: Fetch + Nearby>(broker: Arc<B>, peers: Arc<dyn Peers>, zone: &str, memory: usize) -> Arc<Self> {
        let shared = Shared { memory: Memory::new(memory), catching_up: Semaphore::new(CATCH_UP_AT_ONCE) };
        Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            own: Arc::clone(&broker) as _,
            nearby: broker,
            peers,
            zone: zone.into(),
            shared: Arc::new(shared),
            followed: Mutex::default(),
        })
    }

    /// The zone.
    pub(crate) fn zone(&self) -> &Arc<str> {
        &self.zone
    }

    fn source(&self, wanted: &FetchPartition) -> Source {
        if wanted.zone.as_ref() != Some(&self.zone) {
            return Source::Own;
        }
        // What the broker knows to be wrong it says itself.
        self.follow(wanted).ok().flatten().map_or(Source::Own, Source::Followed)
    }

    /// The partition of a leader in another zone, from now on if nobody read it before; `None` if it is led in this one.
    fn follow(&self, wanted: &FetchPartition) -> Result<Option<Arc<Followed>>> {
        let led = self.nearby.led(&wanted.topic, wanted.partition)?;
        let is_elsewhere = led.leader.zone.as_deref().is_some_and(|zone| *zone != *self.zone);
        let Some(at) = led.leader.grpc.as_ref().filter(|_| is_elsewhere) else { return Ok(None) };
        let (tp, mut followed) = (led.tp, self.followed());
        if let Some(known) = followed.get(&tp).filter(|known| known.is_of(&led)) {
            return Ok(Some(Arc::clone(known)));
        }
        let (peer, archive) = (self.peers.at(at), self.nearby.archive(tp)?);
        let new = Arc::new(Followed::new(led, peer, archive, &self.shared));
        if followed.is_empty() {
            tokio::spawn(Self::tidy_up(Weak::clone(&self.me)));
        }
        followed.insert(tp, Arc::clone(&new));
        metrics::followed(followed.len());
        Ok(Some(new))
    }

    fn followed(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, Arc<Followed>>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of what nobody reads, until there is nothing left.
    async fn tidy_up(me: Weak<Self>) {
        loop {
            tokio::time::sleep(LOOK).await;
            let Some(reading) = me.upgrade() else { return };
            let mut followed = reading.followed();
            followed.retain(|_, one| !one.is_unused());
            metrics::followed(followed.len());
            if followed.is_empty() {
                return;
            }
        }
    }

    /// Looks at every partition once, without waiting for what is not there.
    async fn pass(&self, request: &FetchRequest, sources: &[Source]) -> Pass {
        let parts = || request.partitions.iter().zip(sources);
        let of_own = |(_, source): &(&FetchPartition, &Source)| matches!(source, Source::Own);
        let own: Vec<FetchPartition> = parts().filter(of_own).map(|(wanted, _)| wanted.clone()).collect();
        let max_bytes = if own.len() < sources.len() { request.max_bytes / HALF } else { request.max_bytes };
        let mut own = self.ask_own(request, own, max_bytes, 0, Duration::ZERO).await.into_iter();
        let (own_bytes, mut answers) = (bytes(own.as_slice()), Vec::new());
        let (mut followed_bytes, mut is_behind) = (0, false);
        let asked = Instant::now();
        // Those whose leaders are gone take their time at once, and not one after the other.
        join_all(sources.iter().filter_map(Source::followed).map(|followed| followed.confirm(asked))).await;
        let patience = Instant::now() + PATIENCE;
        for (wanted, source) in parts() {
            let answer = match source {
                Source::Own => own.next(),
                Source::Followed(followed) => {
                    let found = own_bytes + followed_bytes;
                    let left = request.max_bytes.saturating_sub(found);
                    let is_first = found == 0;
                    let limit = (is_first || left > 0).then_some(wanted.max_bytes.min(left));
                    let until = patience.max(Instant::now() + LEAST_PATIENCE);
                    let outcome = followed.read(Question { wanted, asked, limit, is_first, until }).await;
                    let (topic, partition) = (wanted.topic.clone(), wanted.partition);
                    let answer = FetchedPartition { topic, partition, outcome };
                    followed_bytes += bytes(std::slice::from_ref(&answer));
                    is_behind |= answer.outcome.as_ref().is_ok_and(|read| wanted.offset < read.high_watermark);
                    Some(answer)
                }
            };
            answers.extend(answer);
        }
        let is_urgent = answers.iter().any(is_urgent);
        let is_behind = is_behind && own_bytes + followed_bytes == 0;
        Pass { answers, own: own_bytes, followed: followed_bytes, is_urgent, is_behind }
    }

    async fn ask_own(
        &self,
        request: &FetchRequest,
        partitions: Vec<FetchPartition>,
        max_bytes: usize,
        min_bytes: usize,
        max_wait: Duration,
    ) -> Vec<FetchedPartition> {
        if partitions.is_empty() {
            return Vec::new();
        }
        let isolation = request.isolation;
        self.own.fetch(FetchRequest { max_wait, min_bytes, max_bytes, isolation, partitions }).await
    }

    /// Resolves when there is something new among what is led here.
    async fn own_news(&self, request: &FetchRequest, sources: &[Source], min_bytes: usize, max_wait: Duration) {
        let parts = request.partitions.iter().zip(sources);
        let own = parts.filter(|(_, source)| matches!(source, Source::Own)).map(|(wanted, _)| wanted.clone());
        let own: Vec<FetchPartition> = own.collect();
        if own.is_empty() {
            return pending().await;
        }
        drop(self.ask_own(request, own, request.max_bytes / HALF, min_bytes, max_wait).await);
    }
}

#[async_trait]
impl Fetch for Reading {
    async fn fetch(&self, request: FetchRequest) -> Vec<FetchedPartition> {
        let begun = Instant::now();
        let deadline = begun + request.max_wait;
        loop {
            let sources: Vec<Source> = request.partitions.iter().map(|wanted| self.source(wanted)).collect();
            // From before the look, so that nothing in between is missed.
            let mut news: Vec<watch::Receiver<u64>> =
                sources.iter().filter_map(Source::followed).map(Followed::news).collect();
            let left = deadline.saturating_duration_since(Instant::now());
            if news.is_empty() {
                return self.own.fetch(FetchRequest { max_wait: left, ..request }).await;
            }
            let pass = self.pass(&request, &sources).await;
            let found = pass.own + pass.followed;
            let deadline = if pass.is_behind { deadline.max(begun + CATCH_UP) } else { deadline };
            let is_enough = found >= request.min_bytes && !pass.is_behind;
            if pass.is_urgent || is_enough || Instant::now() >= deadline {
                return pass.answers;
            }
            let missing = pass.own + request.min_bytes.saturating_sub(found).max(1);
            let wait = deadline.saturating_duration_since(Instant::now());
            // What was read takes up room that others wait for.
            drop(pass);
            tokio::select! {
                () = self.own_news(&request, &sources, missing, wait) => {}
                _ = select_all(news.iter_mut().map(|news| news.changed().boxed())) => {}
                () = tokio::time::sleep_until(deadline.min(Instant::now() + LOOK)) => {}
            }
        }
    }
}

impl Source {
    fn followed(&self) -> Option<&Followed> {
        match self {
            Self::Own => None,
            Self::Followed(followed) => Some(followed),
        }
    }
}

#[cfg(test)]
mod tests;
