//! Incremental fetch sessions (KIP-227): a consumer of many partitions names them once, then only what changed; the
//! reply holds only what has news.
//!
//! A fetch without a session goes through the same types, as a session that nobody keeps. What is kept is bounded:
//! so many sessions, and so many partitions in all of them. When full, a session that was not used for two minutes
//! makes room; else the client gets no session, which costs it bytes and nothing else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use runnel_api::{FetchPartition, TopicKey};
use runnel_record::{LeaderEpoch, Offset};
use tokio::time::Instant;
use uuid::Uuid;

use super::response::PartitionAnswer;

/// The id of no session.
pub(crate) const NO_SESSION: i32 = 0;

/// Epoch of a full fetch that asks for a new session.
pub(crate) const INITIAL_EPOCH: i32 = 0;

/// Epoch of a full fetch that wants no session, and ends the one it names.
pub(crate) const FINAL_EPOCH: i32 = -1;

/// A session not used for this long makes room for another (Kafka's `min.incremental.fetch.session.eviction.ms`).
const STALE: Duration = Duration::from_secs(120);

/// Partitions that may be kept for each session that may be kept, on average.
const PARTITIONS_PER_SESSION: usize = 256;

type Key = (TopicKey, i32);

/// The session part of a fetch request.
pub(crate) struct Request {
    /// Session named, or [`NO_SESSION`].
    pub(crate) id: i32,
    /// Position in the session, or one of the two special epochs.
    pub(crate) epoch: i32,
    /// Whether the version names topics by id.
    pub(crate) by_id: bool,
    /// Partitions to add or move.
    pub(crate) asked: Vec<Asked>,
    /// Partitions to take out.
    pub(crate) forgotten: Vec<(TopicKey, i32)>,
}

/// A partition in a request.
pub(crate) struct Asked {
    pub(crate) topic: TopicKey,
    pub(crate) partition: i32,
    pub(crate) position: Position,
}

/// Where a consumer stands in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) offset: Offset,
    pub(crate) max_bytes: usize,
    pub(crate) current_leader_epoch: Option<LeaderEpoch>,
    pub(crate) last_fetched_epoch: Option<LeaderEpoch>,
}

/// Why there is no such session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Not known, or no longer.
    UnknownSession,
    /// Not the next request of the session.
    WrongEpoch,
    /// The session names topics the other way.
    TopicIdsMixed,
}

/// One partition of a session.
struct Entry {
    /// Its place in the order to fill.
    turn: u64,
    position: Position,
    /// What the client was told last; `None` before the first reply and after an error.
    told: Option<(Offset, Offset)>,
}

#[derive(Default)]
struct Session {
    by_id: bool,
    /// Epoch that the next request must have.
    next_epoch: i32,
    entries: BTreeMap<Key, Entry>,
    turns: BTreeMap<u64, Key>,
    next_turn: u64,
}

impl Session {
    fn put(&mut self, asked: Asked) {
        let key = (asked.topic, asked.partition);
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.position = asked.position;
            return;
        }
        let turn = self.take_turn(&key);
        self.entries.insert(key, Entry { turn, position: asked.position, told: None });
    }

    fn forget(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.turns.remove(&entry.turn);
        }
    }

    fn take_turn(&mut self, key: &Key) -> u64 {
        let turn = self.next_turn;
        self.next_turn += 1;
        self.turns.insert(turn, key.clone());
        turn
    }

    fn wanted(&self) -> Vec<FetchPartition> {
        let in_turn = self.turns.values().filter_map(|key| self.entries.get(key).map(|entry| (key, entry.position)));
        in_turn
            .map(|((topic, partition), position)| FetchPartition {
                topic: topic.clone(),
                partition: *partition,
                offset: position.offset,
                max_bytes: position.max_bytes,
                current_leader_epoch: position.current_leader_epoch,
                last_fetched_epoch: position.last_fetched_epoch,
                zone: None,
            })
            .collect()
    }

    /// Notes what the client is about to be told; whether there is any news in it.
    fn tell(&mut self, key: &Key, answer: &PartitionAnswer) -> bool {
        let Some(entry) = self.entries.get_mut(key) else { return true };
        let PartitionAnswer::Data(fetched) = answer else {
            entry.told = None;
            return true;
        };
        let now = Some((fetched.high_watermark, fetched.log_start));
        let is_told_more = fetched.diverging.is_some() || fetched.reader.is_some();
        let news = !fetched.batches.is_empty() || is_told_more || entry.told != now;
        entry.told = now;
        if !fetched.batches.is_empty() {
            // Who got data goes to the end of the line, so that a busy partition does not starve the others.
            let turn = entry.turn;
            self.turns.remove(&turn);
            let turn = self.take_turn(key);
            if let Some(entry) = self.entries.get_mut(key) {
                entry.turn = turn;
            }
        }
        news
    }
}

/// A fetch between its request and its reply.
pub(crate) struct Ongoing {
    id: i32,
    incremental: bool,
    session: Arc<Mutex<Session>>,
}

impl Ongoing {
    /// The partitions to read, in the order to fill.
    pub(crate) fn wanted(&self) -> Vec<FetchPartition> {
        lock(&self.session).wanted()
    }

    /// The session id for the reply.
    pub(crate) fn id(&self) -> i32 {
        self.id
    }

    /// Keeps what belongs in the reply: everything in a full fetch, else what has news.
    pub(crate) fn finish(
        &mut self,
        mut answers: Vec<(TopicKey, i32, PartitionAnswer)>,
    ) -> Vec<(TopicKey, i32, PartitionAnswer)> {
        let mut session = lock(&self.session);
        let incremental = self.incremental;
        answers.retain(|(topic, partition, answer)| {
            let news = session.tell(&(topic.clone(), *partition), answer);
            news || !incremental
        });
        answers
    }
}

struct Kept {
    session: Arc<Mutex<Session>>,
    partitions: usize,
    last_used: Instant,
}

struct Cache {
    kept: BTreeMap<i32, Kept>,
    partitions: usize,
    last_id: i32,
}

/// The sessions of a broker.
pub(crate) struct Sessions {
    max: usize,
    cache: Mutex<Cache>,
}

impl Sessions {
    /// Keeps at most `max` sessions.
    pub(crate) fn new(max: usize) -> Self {
        // Starting anywhere makes it unlikely that an id from before a restart names another's session.
        let last_id = (Uuid::new_v4().as_u128() as i32) & i32::MAX;
        Self { max, cache: Mutex::new(Cache { kept: BTreeMap::new(), partitions: 0, last_id }) }
    }

    /// Finds or makes the session of a request and brings it up to date.
    pub(crate) fn begin(&self, request: Request) -> Result<Ongoing, Refused> {
        let mut cache = lock(&self.cache);
        match request.epoch {
            INITIAL_EPOCH | FINAL_EPOCH => {
                cache.remove(request.id);
                let mut session = Session { by_id: request.by_id, next_epoch: 1, ..Session::default() };
                request.asked.into_iter().for_each(|asked| session.put(asked));
                let keep = request.epoch == INITIAL_EPOCH;
                let (partitions, session) = (session.entries.len(), Arc::new(Mutex::new(session)));
                let id = if keep { cache.keep(self.max, partitions, &session) } else { NO_SESSION };
                Ok(Ongoing { id, incremental: false, session })
            }
            _ => cache.resume(self.max, request),
        }
    }
}

impl Cache {
    fn resume(&mut self, max: usize, request: Request) -> Result<Ongoing, Refused> {
        let kept = self.kept.get_mut(&request.id).ok_or(Refused::UnknownSession)?;
        let mut session = lock(&kept.session);
        if session.by_id != request.by_id {
            return Err(Refused::TopicIdsMixed);
        }
        if session.next_epoch != request.epoch {
            return Err(Refused::WrongEpoch);
        }
        session.next_epoch = if request.epoch == i32::MAX { 1 } else { request.epoch + 1 };
        request.asked.into_iter().for_each(|asked| session.put(asked));
        request.forgotten.iter().for_each(|key| session.forget(key));
        let partitions = session.entries.len();
        drop(session);
        self.partitions = self.partitions - kept.partitions + partitions;
        kept.partitions = partitions;
        kept.last_used = Instant::now();
        let session = Arc::clone(&kept.session);
        if self.partitions > max * PARTITIONS_PER_SESSION {
            // Grown past what may be kept: the client starts again with a full fetch, and without a session.
            self.remove(request.id);
            return Err(Refused::UnknownSession);
        }
        if partitions > 0 {
            return Ok(Ongoing { id: request.id, incremental: true, session });
        }
        // Nothing left to remember: the session ends, as in Kafka.
        self.remove(request.id);
        Ok(Ongoing { id: NO_SESSION, incremental: false, session })
    }

    fn remove(&mut self, id: i32) {
        if let Some(kept) = self.kept.remove(&id) {
            self.partitions -= kept.partitions;
        }
    }

    /// Keeps a session if there is room or someone's has gone stale; returns its id.
    fn keep(&mut self, max: usize, partitions: usize, session: &Arc<Mutex<Session>>) -> i32 {
        let now = Instant::now();
        let fits =
            |cache: &Self| cache.kept.len() < max && cache.partitions + partitions <= max * PARTITIONS_PER_SESSION;
        if partitions == 0 {
            return NO_SESSION;
        }
        if !fits(self) {
            self.kept.retain(|_, kept| now.duration_since(kept.last_used) < STALE);
            self.partitions = self.kept.values().map(|kept| kept.partitions).sum();
        }
        if !fits(self) {
            return NO_SESSION;
        }
        loop {
            self.last_id = if self.last_id == i32::MAX { 1 } else { self.last_id + 1 };
            if !self.kept.contains_key(&self.last_id) {
                break;
            }
        }
        self.partitions += partitions;
        self.kept.insert(self.last_id, Kept { session: Arc::clone(session), partitions, last_used: now });
        self.last_id
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it is held; if something did, the session's client notices a wrong epoch at worst.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
