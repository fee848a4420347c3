//! Roots taken over, and the records of what was found.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use runnel_blob::{Key, segment_prefix};
use runnel_format::manifest::Root;
use runnel_format::meta::{ClusterRecord, ClusterSettings, PartitionRecord, TopicRecord};
use runnel_metastore::{Compare, Op};
use runnel_record::{LeaderEpoch, TopicPartition};
use runnel_segment::manifest::{IfAbsent, Manifest};
use uuid::Uuid;

use super::carry_out::KEYS_AT_ONCE;
use super::lanes::{self, Lanes, Part};
use super::{AT_ONCE, Progress, Restore, RestoreError, Watcher};
use crate::open::partition_key;
use crate::sessions;
use crate::settings::SETTINGS;
use crate::topics::{created_key, topic_key};

/// How far epochs jump: past all that leaders of before may have been given since they last wrote a root or a record,
/// which is one for each change of leaders.
const JUMP: i32 = 1 << 16;

/// Names of one listing.
const PAGE: usize = 1000;

/// A partition as it will be in the store.
pub(super) type Found = (TopicPartition, PartitionRecord);

/// What became of one root.
enum Fenced {
    Found(Found, u64),
    Missing(String),
}

impl Restore {
    /// Takes over all roots; returns the records of all partitions, and how many offsets are in lanes alone.
    pub(super) async fn fence_roots(
        &self,
        next: &ClusterRecord,
        topics: &[TopicRecord],
        lanes: &Lanes,
        watch: Watcher<'_>,
    ) -> Result<(Vec<Found>, u64), RestoreError> {
        let id = takeover(next);
        let all = topics.iter().flat_map(|topic| (0..topic.partitions).map(move |n| (topic, n)));
        let fences = all.map(|(topic, n)| Box::pin(self.fence_root(id, topic, n, lanes))).collect::<Vec<_>>();
        let (total, mut done) = (fences.len(), 0);
        let (mut found, mut missing, mut unshipped) = (Vec::with_capacity(total), Vec::new(), 0);
        let mut fences = stream::iter(fences).buffered(AT_ONCE);
        while let Some(fenced) = fences.try_next().await? {
            match fenced {
                Fenced::Found(record, of_lanes) => {
                    found.push(record);
                    unshipped += of_lanes;
                }
                Fenced::Missing(path) => missing.push(path),
            }
            done += 1;
            watch(Progress { what: "taking over roots", done, total });
        }
        if missing.is_empty() { Ok((found, unshipped)) } else { Err(RestoreError::RootsMissing(missing)) }
    }

    async fn fence_root(
        &self,
        id: Uuid,
        topic: &TopicRecord,
        partition: i32,
        lanes: &Lanes,
    ) -> Result<Fenced, RestoreError> {
        let tp = TopicPartition { topic: topic.id, partition };
        let parts = lanes.parts(tp);
        let (bucket, fail) = (&self.bucket, self.fail.clone());
        let mut manifest = Manifest::load(bucket, tp, &topic.name, IfAbsent::Empty, fail).await?;
        // A leader swaps the root before it serves. So one that never served has none, and holds nothing anywhere.
        if manifest.root().version == 0 && (!parts.is_empty() || self.has_segments(topic, tp).await?) {
            return Ok(Fenced::Missing(Key::Root(tp).path()));
        }
        if above(manifest.root(), parts).is_none() {
            return Err(RestoreError::EpochsUsedUp(tp));
        }
        manifest.fence(id, |root| above(root, parts).unwrap_or(LeaderEpoch(i32::MAX))).await?;
        self.fail.hit("restore.root_fenced")?;
        let root = manifest.root();
        let tail = lanes::tail(parts, root.end);
        let unshipped = tail.iter().filter_map(|part| part.to).max().map_or(0, |end| (end.0 - root.end.0).max(0));
        let record = PartitionRecord {
            epoch: root.epoch,
            leader: None,
            never_shipped: false,
            // The root knows them all.
            starts: Vec::new(),
            last_root: None,
            tail,
        };
        Ok(Fenced::Found((tp, record), unshipped.unsigned_abs()))
    }

    async fn has_segments(&self, topic: &TopicRecord, tp: TopicPartition) -> Result<bool, RestoreError> {
        let (folder, mut after) = (segment_prefix(&topic.name, tp.partition), String::new());
        loop {
            let page = self.bucket.list_after(&folder, &after, PAGE).await?;
            // Topics of before that had the same name have theirs in the same folder.
            let is_own = |key: &Key| matches!(key, Key::Segment { tp: of, .. } if *of == tp);
            if page.iter().any(|object| Key::parse_segment(&object.path).is_some_and(|key| is_own(&key))) {
                return Ok(true);
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after.clone_from(&last.path),
                _ => return Ok(false),
            }
        }
    }

    /// Writes everything to the store. `ours` must hold for each change.
    pub(super) async fn write(
        &self,
        ours: &Compare,
        lanes: &Lanes,
        partitions: Vec<Found>,
        topics: &[TopicRecord],
        settings: Option<ClusterSettings>,
        watch: Watcher<'_>,
    ) -> Result<(), RestoreError> {
        let put = |key: String, value: Bytes| Op::Put(key, value, None);
        let sessions =
            lanes.sessions.iter().map(|(session, of)| put(sessions::key(*session), lanes::ended(of).encode()));
        let partitions = partitions.into_iter().map(|(tp, record)| put(partition_key(tp), record.encode()));
        let topics = topics.iter().flat_map(|topic| {
            // Every partition that there is has a record, so one that comes without is new.
            [put(created_key(topic.id), Bytes::new()), put(topic_key(topic.id), topic.encode())]
        });
        let settings = settings.map(|settings| put(SETTINGS.to_owned(), settings.encode()));
        let all: Vec<Op> = sessions.chain(partitions).chain(topics).chain(settings).collect();
        let (total, mut done) = (all.len(), 0);
        for some in batches(&all) {
            if !self.meta.txn(vec![ours.clone()], some.to_vec()).await?.is_committed() {
                return Err(RestoreError::Changed("metadata store"));
            }
            self.fail.hit("restore.recorded")?;
            done += some.len();
            watch(Progress { what: "writing metadata", done, total });
        }
        Ok(())
    }
}

/// Names the takeover of the roots for an era: the same one, however often a restore is run.
fn takeover(next: &ClusterRecord) -> Uuid {
    Uuid::from_u128(next.cluster_id.as_u128() ^ u128::from(next.era))
}

/// An epoch above every one that was given out.
fn above(root: &Root, parts: &[Part]) -> Option<LeaderEpoch> {
    let in_root = (root.version > 0).then_some(root.epoch);
    let known = parts.iter().map(|part| part.epoch).chain(in_root).max().unwrap_or(LeaderEpoch::ZERO);
    known.0.checked_add(JUMP).map(LeaderEpoch)
}

/// Changes that fit into one transaction each.
fn batches(all: &[Op]) -> impl Iterator<Item = &[Op]> {
    // Half of what a transaction may carry.
    const MOST_BYTES: usize = 512 << 10;
    let mut rest = all;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |op: &&Op| {
            bytes += op.key().len() + if let Op::Put(_, value, _) = op { value.len() } else { 0 };
            bytes <= MOST_BYTES
        };
        // One always: none is larger than a register.
        let count = rest.iter().take(KEYS_AT_ONCE).take_while(fits).count().max(1).min(rest.len());
        let (now, later) = rest.split_at(count);
        rest = later;
        (!now.is_empty()).then_some(now)
    })
}

#[cfg(test)]
mod tests {
    use runnel_record::{Offset, TopicId};

    use super::*;

    #[test]
    fn epochs_jump_past_all_that_were_given_out() {
        let mut root = Root::empty(TopicPartition { topic: TopicId(Uuid::nil()), partition: 0 });
        assert_eq!(above(&root, &[]), Some(LeaderEpoch(JUMP)));
        (root.version, root.epoch) = (3, LeaderEpoch(7));
        assert_eq!(above(&root, &[]), Some(LeaderEpoch(JUMP + 7)));
        let part = Part { session: 1, epoch: LeaderEpoch(9), end: Offset(1) };
        assert_eq!(above(&root, &[part]), Some(LeaderEpoch(JUMP + 9)));
        root.epoch = LeaderEpoch(i32::MAX - 1);
        assert_eq!(above(&root, &[part]), None);
    }

    #[test]
    fn a_takeover_is_the_same_for_the_same_era_only() {
        let era = |era| ClusterRecord { cluster_id: Uuid::from_u128(7 << 40), era, level: 1, session: None };
        assert_eq!(takeover(&era(1)), takeover(&era(1)));
        assert_ne!(takeover(&era(1)), takeover(&era(2)));
    }

    #[test]
    fn changes_fit_into_transactions() {
        let op = |at: usize, bytes: usize| Op::Put(format!("k{at}"), Bytes::from(vec![0; bytes]), None);
        let sizes = |all: &[Op]| batches(all).map(<[Op]>::len).collect::<Vec<_>>();
        assert_eq!(sizes(&(0..250).map(|at| op(at, 1)).collect::<Vec<_>>()), [100, 100, 50]);
        assert_eq!(sizes(&[op(0, 300 << 10), op(1, 300 << 10), op(2, 1)]), [1, 2]);
        assert_eq!(sizes(&[op(0, 600 << 10)]), [1]);
        assert_eq!(sizes(&[]), [0; 0]);
    }
}
