//! What is known here of a partition that another broker leads, and what follows from it for who asks. Pure.
//!
//! All of it holds in one epoch of one leader. What the leader said is believed for a while ([`FRESH`]); nothing is answered
//! on what is older, and nothing is refused on what was said before the question.

use std::time::Duration;

use runnel_api::{ErrorKind, Fetched, Standing};
use runnel_record::{Batch, Offset};
use tokio::time::Instant;

use super::tail::Tail;

/// How long the leader is believed: as long as a broker that lost its lease may be (protocol §10).
pub(super) const FRESH: Duration = Duration::from_secs(3);

/// How long the stream goes on that nobody reads.
pub(super) const IDLE: Duration = Duration::from_secs(10);

/// Bytes that the stream may be ahead of the foremost consumer. What it brings too early may be dropped before it is read.
const AHEAD: usize = 8 << 20;

/// What a question for records comes to.
#[derive(Debug)]
pub(super) enum Look {
    /// Ask the leader where the partition stands, then look again.
    Ask,
    /// Nothing yet: the stream will bring it.
    Nothing,
    /// From memory.
    Found(Vec<Batch>),
    /// It is shipped, and so is all below this offset.
    Archive(Offset),
    /// Only the leader has it.
    Leader,
    /// It is not in the log.
    Out,
}

/// What the stream is to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask for what follows; whether that is there already.
    Poll(Offset, bool),
    /// It is far enough ahead.
    Pause,
    /// Nobody needs it.
    End,
}

#[derive(Debug)]
pub(super) struct State {
    log_start: Offset,
    shipped: Offset,
    high_watermark: Offset,
    /// When the leader was asked that said so last; `None` if it did not answer since.
    confirmed: Option<Instant>,
    /// When it was asked last that did not answer.
    failed: Option<Instant>,
    /// There while somebody wants it.
    tail: Option<Tail>,
    /// Whether a task is at it.
    is_streaming: bool,
    /// Where the foremost consumer of the tail is.
    foremost: Offset,
    /// When the tail was asked for last.
    wanted: Instant,
    /// When anything was.
    used: Instant,
}

impl State {
    pub(super) fn new(now: Instant) -> Self {
        let zero = Offset::ZERO;
        Self {
            log_start: zero,
            shipped: zero,
            high_watermark: zero,
            confirmed: None,
            failed: None,
            tail: None,
            is_streaming: false,
            foremost: zero,
            wanted: now,
            used: now,
        }
    }

    /// First offset of the log, and the end of what is committed.
    pub(super) const fn bounds(&self) -> (Offset, Offset) {
        (self.log_start, self.high_watermark)
    }

    /// Whether what the leader said may be believed.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        self.confirmed.is_some_and(|asked| asked + FRESH >= now)
    }

    /// Whether the leader answered that was asked at or after `since`; `None` if it was not asked.
    pub(super) fn answered_since(&self, since: Instant) -> Option<bool> {
        let is = |asked: Option<Instant>| asked.is_some_and(|asked| asked >= since);
        if is(self.confirmed) { Some(true) } else { is(self.failed).then_some(false) }
    }

    /// Whether nobody has asked for anything for a while.
    pub(super) fn is_unused(&self, now: Instant) -> bool {
        self.tail.is_none() && self.used + IDLE < now
    }

    /// Whether the caller is to stream the tail: somebody wants it, and nobody is at it.
    pub(super) fn begin_stream(&mut self) -> bool {
        let begins = self.tail.is_some() && !self.is_streaming;
        self.is_streaming |= begins;
        begins
    }

    /// The leader, asked at `asked`, says where the partition stands.
    pub(super) fn stands(&mut self, standing: Standing, asked: Instant) {
        self.shipped = self.shipped.max(standing.shipped);
        self.confirm(standing.log_start, standing.high_watermark, asked);
    }

    /// The leader answered the stream's question for what follows.
    pub(super) fn streamed(&mut self, fetched: Fetched, asked: Instant) {
        self.confirm(fetched.log_start, fetched.high_watermark, asked);
        if let Some(tail) = &mut self.tail {
            tail.extend(fetched.batches);
        }
    }

    /// The leader, asked at `asked`, says what the log holds.
    pub(super) fn confirm(&mut self, log_start: Offset, high_watermark: Offset, asked: Instant) {
        self.log_start = self.log_start.max(log_start);
        self.high_watermark = self.high_watermark.max(high_watermark);
        self.confirmed = self.confirmed.max(Some(asked));
    }

    /// The leader, asked at `asked`, did not answer, or leads no more: nothing is served before it says something again.
    pub(super) fn doubt(&mut self, asked: Instant) {
        (self.confirmed, self.failed) = (None, Some(asked));
    }

    /// The stream got no answer.
    pub(super) fn interrupted(&mut self, why: ErrorKind) {
        if why == ErrorKind::OffsetOutOfRange {
            // The log start went past it. Consumers of the tail begin another.
            self.tail = None;
        } else {
            self.confirmed = None;
        }
    }

    pub(super) fn evict(&mut self, base: Offset) {
        if let Some(tail) = &mut self.tail {
            tail.evict(base);
        }
    }

    /// What a consumer gets at an offset whose question came at `asked`. It may begin a stream.
    pub(super) fn look(&mut self, at: Offset, max_bytes: usize, asked: Instant, now: Instant) -> Look {
        self.used = now;
        if !self.is_fresh(now) {
            return Look::Ask;
        }
        let is_news = self.confirmed.is_some_and(|confirmed| confirmed >= asked);
        if at < self.log_start {
            return Look::Out;
        }
        if at > self.high_watermark {
            return if is_news { Look::Out } else { Look::Ask };
        }
        let in_tail = self.tail.as_ref().filter(|tail| (tail.start()..tail.end()).contains(&at));
        if let Some(tail) = in_tail {
            let found = tail.read(at, self.high_watermark, max_bytes);
            self.want(at, now);
            return if found.is_empty() { Look::Nothing } else { Look::Found(found) };
        }
        if at < self.shipped {
            return Look::Archive(self.shipped.min(self.high_watermark));
        }
        match &self.tail {
            Some(tail) if at < tail.start() => return if is_news { Look::Leader } else { Look::Ask },
            Some(_) => {}
            // It may be shipped by now.
            None if !is_news => return Look::Ask,
            None => {
                self.tail = Some(Tail::at(at));
                self.foremost = at;
            }
        }
        self.want(at, now);
        Look::Nothing
    }

    fn want(&mut self, at: Offset, now: Instant) {
        self.foremost = self.foremost.max(at);
        self.wanted = now;
    }

    /// What the stream does next.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        let Some(tail) = &self.tail else {
            self.is_streaming = false;
            return Next::End;
        };
        let is_idle = self.wanted + IDLE < now;
        // What is shipped does not come from the leader: consumers go on in the bucket, and come back.
        if is_idle || tail.end() < self.shipped {
            (self.tail, self.is_streaming) = (None, false);
            return Next::End;
        }
        if tail.bytes_from(self.foremost) >= AHEAD {
            return Next::Pause;
        }
        Next::Poll(tail.end(), tail.end() < self.high_watermark)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use runnel_api::Room;

    use super::super::tests::batch;
    use super::*;

    /// Everything happens at once, unless a test says otherwise.
    fn state(log_start: i64, shipped: i64, high_watermark: i64) -> (State, Instant) {
        let now = Instant::now();
        let mut state = State::new(now);
        state.stands(standing(log_start, shipped, high_watermark), now);
        (state, now)
    }

    fn standing(log_start: i64, shipped: i64, high_watermark: i64) -> Standing {
        Standing { log_start: Offset(log_start), shipped: Offset(shipped), high_watermark: Offset(high_watermark) }
    }

    fn fetched(batches: Vec<Batch>, high_watermark: i64) -> Fetched {
        Fetched {
            batches,
            high_watermark: Offset(high_watermark),
            last_stable_offset: Offset(high_watermark),
            log_start: Offset(0),
            diverging: None,
            reader: None,
            room: Room::default(),
        }
    }

    fn bases(look: Look) -> Vec<i64> {
        match look {
            Look::Found(found) => found.iter().map(|batch| batch.base_offset().0).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nothing_is_answered_before_the_leader_said_something_or_long_after() {
        let now = Instant::now();
        let mut state = State::new(now);
        assert!(matches!(state.look(Offset(0), 100, now, now), Look::Ask));
        state.stands(standing(0, 10, 10), now);
        assert!(matches!(state.look(Offset(0), 100, now, now + FRESH), Look::Archive(Offset(10))));
        let late = now + FRESH + Duration::from_millis(1);
        assert!(matches!(state.look(Offset(0), 100, late, late), Look::Ask));
        state.stands(standing(0, 10, 10), late);
        assert!(matches!(state.look(Offset(0), 100, late, late), Look::Archive(_)));
        state.doubt(late);
        assert!(matches!(state.look(Offset(0), 100, late, late), Look::Ask));
        assert_eq!((state.answered_since(now), state.answered_since(late)), (Some(false), Some(false)));
        state.stands(standing(0, 10, 10), late);
        assert_eq!(state.answered_since(late), Some(true));
        assert_eq!(state.answered_since(late + FRESH), None);
    }

    #[test]
    fn nothing_is_refused_on_what_the_leader_said_before() {
        let (mut state, now) = state(5, 10, 20);
        let later = now + Duration::from_millis(1);
        assert!(matches!(state.look(Offset(4), 100, later, later), Look::Out), "the log start does not go back");
        assert!(matches!(state.look(Offset(21), 100, later, later), Look::Ask));
        state.stands(standing(5, 10, 20), later);
        assert!(matches!(state.look(Offset(21), 100, later, later), Look::Out));
        state.stands(standing(5, 10, 30), later);
        assert!(matches!(state.look(Offset(21), 100, later, later), Look::Nothing));
    }

    #[test]
    fn the_tail_is_streamed_from_where_the_first_consumer_wants_it() {
        let (mut state, now) = state(0, 10, 30);
        assert_eq!(state.next(now), Next::End, "nobody wants it");
        assert!(matches!(state.look(Offset(9), 100, now, now), Look::Archive(Offset(10))));
        assert!(!state.begin_stream());
        assert!(matches!(state.look(Offset(20), 100, now, now), Look::Nothing));
        assert!(state.begin_stream() && !state.begin_stream(), "one task is at it");
        assert_eq!(state.next(now), Next::Poll(Offset(20), true));
        state.streamed(fetched(vec![batch(20, 10, 39)], 30), now);
        assert_eq!(bases(state.look(Offset(20), 100, now, now)), [20]);
        assert_eq!(state.next(now), Next::Poll(Offset(30), false));
        assert!(matches!(state.look(Offset(30), 100, now, now), Look::Nothing));
        assert!(matches!(state.look(Offset(15), 100, now, now), Look::Leader), "in front of it, and not shipped");
        let later = now + Duration::from_millis(1);
        assert!(matches!(state.look(Offset(15), 100, later, later), Look::Ask), "it may be by now");
        state.stands(standing(0, 20, 30), later);
        assert!(matches!(state.look(Offset(15), 100, later, later), Look::Archive(Offset(20))));
    }

    #[test]
    fn what_is_shipped_is_not_streamed() {
        let (mut state, now) = state(0, 10, 100);
        assert!(matches!(state.look(Offset(20), 100, now, now), Look::Nothing));
        state.stands(standing(0, 60, 100), now);
        assert_eq!(state.next(now), Next::End);
        assert!(matches!(state.look(Offset(20), 100, now, now), Look::Archive(Offset(60))));
        assert!(matches!(state.look(Offset(60), 100, now, now), Look::Nothing));
        assert_eq!(state.next(now), Next::Poll(Offset(60), true));
    }

    #[test]
    fn the_stream_stays_near_its_foremost_consumer_and_ends_without_any() {
        let (mut state, now) = state(0, 0, 100);
        assert!(matches!(state.look(Offset(0), 100, now, now), Look::Nothing));
        state.streamed(fetched(vec![batch(0, 10, AHEAD)], 100), now);
        assert_eq!(state.next(now), Next::Pause);
        assert_eq!(bases(state.look(Offset(9), 100, now, now)), [0]);
        assert_eq!(state.next(now), Next::Pause, "it may ask for the rest of the batch again");
        assert!(matches!(state.look(Offset(10), 100, now, now), Look::Nothing));
        assert_eq!(state.next(now), Next::Poll(Offset(10), true));
        let late = now + IDLE + Duration::from_millis(1);
        assert_eq!(state.next(late), Next::End);
        assert!(!state.begin_stream());
        assert!(matches!(state.look(Offset(10), 100, late, late), Look::Ask));
    }

    #[test]
    fn who_reads_what_is_shipped_keeps_no_stream() {
        let (mut state, now) = state(0, 10, 30);
        assert!(matches!(state.look(Offset(30), 100, now, now), Look::Nothing));
        let late = now + IDLE + Duration::from_millis(1);
        state.stands(standing(0, 10, 30), late);
        assert!(matches!(state.look(Offset(0), 100, late, late), Look::Archive(_)));
        assert_eq!(state.next(late), Next::End);
        assert!(!state.is_unused(late));
        assert!(state.is_unused(late + IDLE + Duration::from_millis(1)));
    }

    #[test]
    fn what_was_evicted_comes_from_elsewhere() {
        let (mut state, now) = state(0, 0, 30);
        assert!(matches!(state.look(Offset(0), 100, now, now), Look::Nothing));
        let all = [0, 10, 20].map(|base| batch(base, 10, 39));
        state.streamed(fetched(all.to_vec(), 30), now);
        state.evict(Offset(10));
        assert!(matches!(state.look(Offset(19), 100, now, now), Look::Leader));
        assert_eq!(bases(state.look(Offset(20), 100, now, now)), [20]);
        state.evict(Offset(20));
        assert!(matches!(state.look(Offset(20), 100, now, now), Look::Leader));
        assert!(matches!(state.look(Offset(30), 100, now, now), Look::Nothing));
    }
}
