//! The root that follows a root: pure, so that what a commit may change can be read in one place.

use std::collections::BTreeSet;

use bytes::Bytes;
use runnel_format::manifest::{
    Chunk, Entries, MAX_CHUNK_ENTRIES, MAX_CHUNK_LEVEL, MAX_COMMITS, MAX_INLINE_SEGMENTS, MAX_PENDING_DELETE,
    MAX_ROOT_BYTES, PendingDelete, ProducerState, Root, SegmentRef, collapse_epochs,
};
use runnel_record::ids::LeaderEpoch;
use runnel_runtime::simulation::random_id;
use uuid::Uuid;

use super::{Commit, Merged};
use crate::Error;

/// Inline references that a roll leaves.
const KEPT_INLINE: usize = 64;
/// A roll because of bytes moves at least this many references, if there are that many.
const LEAST_ROLLED: usize = 16;
/// So many chunks of one level become one of the next.
const MERGED: usize = 32;

/// Checks that `found` can be what became of `mine` (invariant 17).
pub(super) fn check_successor(mine: &Root, found: &Root) -> Result<(), Error> {
    let back = |what: &str| Err(Error::manifest(mine.tp, format!("the root in the bucket went back: its {what} fell")));
    if found.version < mine.version {
        return back("version");
    }
    if found.version == mine.version && found != mine {
        return Err(Error::manifest(mine.tp, "the bucket holds another root of the same version"));
    }
    if found.epoch < mine.epoch {
        return back("epoch");
    }
    if found.end < mine.end {
        return back("end");
    }
    if found.log_start < mine.log_start {
        return back("log start");
    }
    Ok(())
}

/// `root` with `commit` in it. The caller has compared the epochs.
pub(super) fn next_root(
    root: &Root,
    commit: &Commit,
    producers: Option<ProducerState>,
    deleted: &BTreeSet<Uuid>,
) -> Result<Root, Error> {
    let mut at = root.end;
    for segment in &commit.segments {
        if segment.base != at {
            return Err(Error::NotNext { tp: root.tp, end: at, base: segment.base });
        }
        if segment.epoch != commit.epoch {
            return Err(Error::manifest(root.tp, "a commit may add only segments of its own epoch"));
        }
        at = segment.next;
    }
    if at != commit.end {
        return Err(Error::NotNext { tp: root.tp, end: at, base: commit.end });
    }
    if commit.merged.as_ref().is_some_and(|merged| merged.into.epoch != commit.epoch) {
        return Err(Error::manifest(root.tp, "a commit may add only segments of its own epoch"));
    }
    let mut next = root.clone();
    next.epoch = commit.epoch;
    next.version = root.version + 1;
    next.commits.push(commit.id);
    next.commits.drain(..next.commits.len().saturating_sub(MAX_COMMITS));
    next.end = commit.end;
    next.log_start = root.log_start.max(commit.log_start);
    if next.log_start > next.end {
        return Err(Error::manifest(root.tp, "the log starts at or below the end of what is in segments"));
    }
    next.epochs = collapse_epochs(&commit.epochs, next.log_start);
    next.segments.extend_from_slice(&commit.segments);
    drop_dead(&mut next);
    next.pending_delete.retain(|pending| !deleted.contains(&pending.id));
    if let Some(producers) = producers {
        if let ProducerState::Stored { id, epoch, .. } = root.producers {
            next.pending_delete.push(PendingDelete { id, epoch });
        }
        // What no longer fits is left to the sweep of a later epoch.
        next.pending_delete.drain(..next.pending_delete.len().saturating_sub(MAX_PENDING_DELETE));
        next.producers = producers;
    } else if next.end != root.end {
        return Err(Error::manifest(root.tp, "a commit that moves the end brings the producers at the new one"));
    }
    Ok(next)
}

/// Drops the references to what lies wholly below the log start. A chunk goes as a whole or stays.
fn drop_dead(root: &mut Root) {
    let start = root.log_start;
    let dead = root.chunks.partition_point(|chunk| chunk.next <= start);
    root.chunks.drain(..dead);
    if root.chunks.is_empty() {
        let dead = root.segments.partition_point(|segment| segment.next <= start);
        root.segments.drain(..dead);
    }
}

/// Puts a merged segment in the place of its sources among the inline references; `false` if they are in a chunk.
pub(super) fn merge_inline(root: &mut Root, merged: &Merged) -> Result<bool, Error> {
    if root.segments.first().is_none_or(|first| merged.into.base < first.base) {
        return Ok(false);
    }
    match replace(&mut root.segments, merged) {
        true => Ok(true),
        false => Err(moved(root, merged)),
    }
}

/// As [`merge_inline`], in the chunk at `at`, whose references are `entries`: another chunk takes its place.
pub(super) fn merge_in_chunk(
    root: &mut Root,
    at: usize,
    mut entries: Vec<SegmentRef>,
    merged: &Merged,
) -> Result<Rolled, Error> {
    if !replace(&mut entries, merged) {
        return Err(moved(root, merged));
    }
    root.chunks.remove(at);
    add_chunk(root, at, Entries::Segments(entries))
}

/// Replaces exactly the sources of a merge, if they stand in `segments` one after another.
fn replace(segments: &mut Vec<SegmentRef>, merged: &Merged) -> bool {
    let into = &merged.into;
    let start = segments.partition_point(|segment| segment.base < into.base);
    let run = start..(start + merged.sources.len()).min(segments.len());
    let chosen = &segments[run.clone()];
    let same = chosen.iter().map(|segment| segment.id).eq(merged.sources.iter().copied())
        && chosen.first().is_some_and(|first| first.base == into.base && first.day == into.day)
        && chosen.last().is_some_and(|last| last.next == into.next && last.day == into.day)
        && chosen.iter().map(|segment| u64::from(segment.records)).sum::<u64>() == u64::from(into.records);
    if same {
        segments.splice(run, [into.clone()]);
    }
    same
}

/// Something else happened to the sources of a merge.
pub(super) fn moved(root: &Root, merged: &Merged) -> Error {
    Error::SourcesGone { tp: root.tp, base: merged.into.base, next: merged.into.next }
}

/// A chunk to be written before the root that refers to it.
pub(super) struct Rolled {
    pub(super) epoch: LeaderEpoch,
    pub(super) id: Uuid,
    pub(super) bytes: Bytes,
}

/// Moves references of `root` into one chunk, if it holds too many; call until `None`.
pub(super) fn roll(root: &mut Root) -> Result<Option<Rolled>, Error> {
    let inline = root.segments.len();
    if inline > MAX_INLINE_SEGMENTS {
        return roll_segments(root, (inline - KEPT_INLINE).min(MAX_CHUNK_ENTRIES)).map(Some);
    }
    for level in 0..MAX_CHUNK_LEVEL {
        let first = root.chunks.partition_point(|c| c.level > level);
        if root.chunks[first..].iter().take_while(|c| c.level == level).count() > MERGED {
            return merge_chunks(root, first).map(Some);
        }
    }
    if too_large(root) && inline > LEAST_ROLLED {
        return roll_segments(root, LEAST_ROLLED).map(Some);
    }
    Ok(None)
}

/// The oldest `count` inline references become a chunk of level 0, the youngest of all chunks.
fn roll_segments(root: &mut Root, count: usize) -> Result<Rolled, Error> {
    let segments = root.segments.drain(..count).collect();
    let at = root.chunks.len();
    add_chunk(root, at, Entries::Segments(segments))
}

/// The chunks from `first` on become one chunk of the next level, in their place.
fn merge_chunks(root: &mut Root, first: usize) -> Result<Rolled, Error> {
    let chunks = root.chunks.drain(first..first + MERGED).collect();
    add_chunk(root, first, Entries::Chunks(chunks))
}

fn add_chunk(root: &mut Root, at: usize, entries: Entries) -> Result<Rolled, Error> {
    let chunk = Chunk { tp: root.tp, entries };
    let (bytes, id, epoch) = (chunk.encode(), random_id(), root.epoch);
    let reference = chunk.reference(epoch, id, &bytes);
    root.chunks.insert(at, reference.ok_or_else(|| Error::manifest(root.tp, "a chunk that cannot be referred to"))?);
    Ok(Rolled { epoch, id, bytes })
}

pub(super) fn too_large(root: &Root) -> bool {
    root.encode().len() > MAX_ROOT_BYTES
}

/// Checks what every reader will check.
pub(super) fn check_writable(root: &Root) -> Result<(), Error> {
    root.check().map_err(|e| Error::manifest(root.tp, e.to_string()))?;
    if too_large(root) {
        return Err(Error::manifest(root.tp, "larger than a root may be"));
    }
    Ok(())
}
