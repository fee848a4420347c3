//! What a root and a chunk must be.

use runnel_record::ids::{LeaderEpoch, Offset};

use super::{
    ChunkRef, EpochStart, MAX_CHUNK_LEVEL, MAX_CHUNKS, MAX_COMMITS, MAX_EPOCHS, MAX_INLINE_PRODUCERS,
    MAX_INLINE_SEGMENTS, MAX_PENDING_DELETE, ProducerState, Root, SegmentRef,
};
use crate::Error;

fn ensure(what: &'static str, holds: bool, reason: &'static str) -> Result<(), Error> {
    if holds { Ok(()) } else { Err(Error::Corrupt { what, reason }) }
}

/// Checks that `segments` cover `from..` without gap or overlap; returns where they end.
pub(super) fn segments_cover(what: &'static str, from: Offset, segments: &[SegmentRef]) -> Result<Offset, Error> {
    let mut at = from;
    for s in segments {
        ensure(what, s.base == at, "segments do not follow each other")?;
        ensure(what, s.next > s.base, "an empty segment")?;
        ensure(what, s.epoch.0 >= 0, "a segment of a negative epoch")?;
        at = s.next;
    }
    Ok(at)
}

/// Checks that `chunks` cover `from..` without gap or overlap; returns where they end.
pub(super) fn chunks_cover(what: &'static str, from: Offset, chunks: &[ChunkRef]) -> Result<Offset, Error> {
    let mut at = from;
    for c in chunks {
        ensure(what, c.base == at, "chunks do not follow each other")?;
        ensure(what, c.next > c.base, "an empty chunk")?;
        ensure(what, c.epoch.0 >= 0, "a chunk of a negative epoch")?;
        ensure(what, c.level <= MAX_CHUNK_LEVEL, "a chunk of an unknown level")?;
        at = c.next;
    }
    Ok(at)
}

impl Root {
    /// Checks the limits in counts and what must hold between the fields. The limit in bytes is the writer's to
    /// check on the encoded root ([`super::MAX_ROOT_BYTES`]).
    pub fn check(&self) -> Result<(), Error> {
        const WHAT: &str = "root";
        ensure(WHAT, self.commits.len() <= MAX_COMMITS, "too many commit ids")?;
        ensure(WHAT, self.epochs.len() <= MAX_EPOCHS, "too many epochs")?;
        ensure(WHAT, self.segments.len() <= MAX_INLINE_SEGMENTS, "too many inline segments")?;
        ensure(WHAT, self.chunks.len() <= MAX_CHUNKS, "too many chunks")?;
        ensure(WHAT, self.pending_delete.len() <= MAX_PENDING_DELETE, "too many pending deletions")?;
        if let ProducerState::Inline(bytes) = &self.producers {
            ensure(WHAT, bytes.len() <= MAX_INLINE_PRODUCERS, "a producer snapshot too large to be inline")?;
        }
        ensure(WHAT, self.tp.partition >= 0, "a negative partition")?;
        ensure(WHAT, self.epoch.0 >= 0, "a negative epoch")?;
        ensure(WHAT, self.log_start.0 >= 0 && self.log_start <= self.end, "a log that starts after its end")?;

        let from = self.covered_from();
        ensure(WHAT, from.0 >= 0 && from <= self.log_start, "readable offsets without a segment")?;
        let middle = chunks_cover(WHAT, from, &self.chunks)?;
        let levels_fall = self.chunks.windows(2).all(|pair| pair[0].level >= pair[1].level);
        ensure(WHAT, levels_fall, "a chunk of a higher level behind one of a lower")?;
        let end = segments_cover(WHAT, middle, &self.segments)?;
        ensure(WHAT, end == self.end, "segments that do not reach the end")?;
        self.check_epochs()
    }

    fn check_epochs(&self) -> Result<(), Error> {
        const WHAT: &str = "root";
        let rising = self.epochs.windows(2).all(|pair| pair[0].epoch < pair[1].epoch && pair[0].start < pair[1].start);
        ensure(WHAT, rising, "epochs that do not rise")?;
        ensure(WHAT, self.epochs.iter().all(|e| e.epoch.0 >= 0 && e.start.0 >= 0), "a negative epoch")?;
        let no_younger = |epoch: LeaderEpoch| epoch <= self.epoch;
        ensure(WHAT, self.epochs.iter().all(|e| no_younger(e.epoch)), "an epoch above the root's own")?;
        let written = self.segments.iter().map(|s| s.epoch).chain(self.chunks.iter().map(|c| c.epoch));
        ensure(WHAT, written.into_iter().all(no_younger), "a reference by an epoch above the root's own")
    }
}

/// Shortens a list of epochs to what a root keeps, without ever naming an end offset below the true one.
///
/// Goes: all but the last epoch that starts at or below `log_start`; an epoch without records; and, past
/// [`MAX_EPOCHS`], every second of the older half. A request for an epoch that went is answered with the one before
/// it and the start of the one after it (KIP-320), so a client can be told of a truncation too late in the history
/// of a very restless partition, but never of one that did not happen.
pub fn collapse_epochs(epochs: &[EpochStart], log_start: Offset) -> Vec<EpochStart> {
    let mut kept: Vec<EpochStart> = Vec::with_capacity(epochs.len());
    for epoch in epochs {
        while kept.last().is_some_and(|last| last.start >= epoch.start) {
            kept.pop();
        }
        kept.push(*epoch);
    }
    let dead = kept.iter().take_while(|e| e.start <= log_start).count().saturating_sub(1);
    kept.drain(..dead);
    while kept.len() > MAX_EPOCHS {
        let half = kept.len() / 2;
        kept = kept.iter().enumerate().filter(|(i, _)| *i >= half || i % 2 == 0).map(|(_, e)| *e).collect();
    }
    kept
}
