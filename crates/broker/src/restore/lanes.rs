//! Lanes as a restore finds them: ended for ever, and who wrote in them what is in no segment.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};
use runnel_format::meta::{Durability, SessionLane, SessionRecord, SessionState, TailSession};
use runnel_record::{LeaderEpoch, Offset, TopicId, TopicPartition};
use runnel_runtime::simulation::random_id;
use runnel_wal::object::{self, SealedLane};
use uuid::Uuid;

use super::{AT_ONCE, Progress, Restore, RestoreError, Watcher};

/// What a session wrote of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) session: u64,
    /// The last epoch that it led in.
    pub(super) epoch: LeaderEpoch,
    /// Where that ends.
    pub(super) end: Offset,
}

/// All lanes that may be needed.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    pub(super) sessions: BTreeMap<u64, Vec<SessionLane>>,
    parts: BTreeMap<TopicPartition, Vec<Part>>,
}

impl Lanes {
    fn add(&mut self, lane: &SealedLane) {
        let (id, end) = (lane.lane(), Some(lane.end()));
        self.sessions.entry(lane.session()).or_default().push(SessionLane { id, durability: Durability::Object, end });
        for tp in lane.partitions() {
            let (Some(epoch), Some(end)) = (lane.epoch_of(tp), lane.end_of(tp)) else { continue };
            self.parts.entry(tp).or_default().push(Part { session: lane.session(), epoch, end });
        }
    }

    /// Those who wrote to a partition, whether it is in segments or not.
    pub(super) fn parts(&self, tp: TopicPartition) -> &[Part] {
        self.parts.get(&tp).map(Vec::as_slice).unwrap_or_default()
    }

    /// The topics that lanes hold something of.
    pub(super) fn topics(&self) -> BTreeSet<TopicId> {
        self.parts.keys().map(|tp| tp.topic).collect()
    }
}

/// The sessions that hold what of a partition is not in segments, which end at `shipped`; in the order of their epochs.
pub(super) fn tail(parts: &[Part], shipped: Offset) -> Vec<TailSession> {
    let mut needed: Vec<Part> = Vec::new();
    for part in parts.iter().filter(|part| part.end > shipped) {
        match needed.iter_mut().find(|known| known.session == part.session) {
            Some(known) => (known.epoch, known.end) = (known.epoch.max(part.epoch), known.end.max(part.end)),
            None => needed.push(*part),
        }
    }
    needed.sort_by_key(|part| (part.epoch, part.session));
    let named = needed.into_iter().map(|part| TailSession {
        session: part.session,
        durability: Durability::Object,
        from: shipped,
        to: Some(part.end),
    });
    named.collect()
}

/// The record of a session that a restore ended. Whose it was is not in the bucket.
pub(super) fn ended(lanes: &[SessionLane]) -> SessionRecord {
    SessionRecord {
        node_name: "before the restore".to_owned(),
        disk_id: Uuid::nil(),
        state: SessionState::Sealed,
        lanes: lanes.to_vec(),
    }
}

impl Restore {
    /// Ends every lane, and reads what those hold that may be needed.
    pub(super) async fn end_lanes(&self, watch: Watcher<'_>) -> Result<Lanes, RestoreError> {
        let sealer = random_id().as_u64_pair().0;
        let in_use = object::lanes_in_use(&self.bucket).await?;
        let (total, mut done, mut lanes) = (in_use.len(), 0, Lanes::default());
        let end = |lane: Uuid| async move {
            object::seal(&self.bucket, lane, sealer, &self.fail).await?;
            self.fail.hit("restore.lane_ended")?;
            Ok::<_, RestoreError>(SealedLane::open(&self.bucket, lane).await?)
        };
        let ends = in_use.iter().map(|header| end(header.lane)).collect::<Vec<_>>();
        // All are ended, however many of them are damaged: only then nobody of before acknowledges anything.
        let mut damaged = None;
        let mut ends = stream::iter(ends).buffered(AT_ONCE);
        while let Some(lane) = ends.try_next().await? {
            if !lane.damaged().is_empty() {
                damaged.get_or_insert((lane.lane(), lane.damaged().to_vec()));
            }
            // Sealed before it was begun: there is nothing in it.
            if lane.session() != 0 {
                lanes.add(&lane);
            }
            done += 1;
            watch(Progress { what: "ending lanes", done, total });
        }
        match damaged {
            Some((lane, slots)) => Err(RestoreError::LaneDamaged { lane, slots }),
            None => Ok(lanes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(session: u64, epoch: i32, end: i64) -> Part {
        Part { session, epoch: LeaderEpoch(epoch), end: Offset(end) }
    }

    fn named(session: u64, end: i64) -> TailSession {
        TailSession { session, durability: Durability::Object, from: Offset(10), to: Some(Offset(end)) }
    }

    #[test]
    fn the_tail_is_what_is_in_no_segment_in_the_order_of_epochs() {
        let parts = [part(3, 7, 40), part(1, 2, 10), part(2, 5, 20)];
        assert_eq!(tail(&parts, Offset(10)), [named(2, 20), named(3, 40)]);
        assert_eq!(tail(&parts, Offset(40)), []);
        // A session with two lanes.
        assert_eq!(tail(&[part(3, 7, 40), part(3, 6, 30)], Offset(10)), [named(3, 40)]);
    }
}
