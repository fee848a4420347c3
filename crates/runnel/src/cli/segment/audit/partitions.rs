//! One partition: what its root refers to is there, in the size that it should have, and what else is there will go.

use std::collections::BTreeMap;

use runnel_blob::{Key, chunk_prefix, producer_prefix, segment_prefix};
use runnel_format::manifest::Root;
use runnel_format::meta::TopicRecord;
use runnel_record::{LeaderEpoch, TopicPartition};
use runnel_segment::ErrorKind;
use runnel_segment::manifest::{IfAbsent, Manifest, Reference, Snapshot};
use uuid::Uuid;

use super::super::verify::check;
use super::{Audit, no_fail_points};

/// How often a root is read anew because it was replaced while it was looked at.
const LOOKS: usize = 3;

/// What a root refers to, and what was seen of it.
struct Referred {
    snapshot: Snapshot,
    by_id: BTreeMap<Uuid, (Reference, Seen)>,
}

/// What the listing shows of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    No,
    Yes,
    /// In another size.
    Other(u64),
}

impl Audit {
    pub(super) async fn partition(&mut self, topic: &TopicRecord, partition: i32) -> anyhow::Result<()> {
        let tp = TopicPartition { topic: topic.id, partition };
        self.report.partitions += 1;
        let Some(mut referred) = self.referred(topic, tp).await? else { return Ok(()) };
        let mut unreferred = Vec::new();
        for folder in [segment_prefix(&topic.name, partition), chunk_prefix(tp), producer_prefix(tp)] {
            let mut walk = self.bucket.walk(&folder)?;
            loop {
                let page = walk.next().await?;
                if page.is_empty() {
                    break;
                }
                for object in page {
                    let Some((epoch, id)) = of(tp, &object.path) else { continue };
                    match referred.by_id.get_mut(&id) {
                        Some((reference, seen)) => *seen = seen_as(reference, object.bytes),
                        None => unreferred.push((object.path, epoch)),
                    }
                }
            }
        }
        let root = referred.snapshot.root();
        self.report.segments += referred.by_id.values().filter(|(reference, _)| reference.segment.is_some()).count();
        if root.version == 0 && self.cluster.session.is_none() && !unreferred.is_empty() {
            // Where brokers share partitions, each that leads one begins with its root.
            if self.bucket.read_register(&Key::Root(tp)).await?.is_none() {
                self.report.broken(Key::Root(tp).path(), "is gone, and the partition has segments");
            }
            return Ok(());
        }
        for (path, epoch) in unreferred {
            let what = unreferred_because(root, &path, epoch);
            self.report.collectable(path, what);
        }
        let suspects = referred.by_id.into_values().filter(|(reference, _)| reference.is_needed);
        let mut found = Vec::new();
        for (reference, seen) in suspects {
            match (self.problem(&reference, seen).await?, seen) {
                (None, Seen::Yes | Seen::No) => {}
                (Some(problem), _) => found.push((reference, problem)),
                (None, Seen::Other(bytes)) => found.push((reference, format!("has {bytes} bytes"))),
            }
        }
        self.confirm(topic, tp, found).await
    }

    /// What the root refers to. The chunks, and the producers where they are not in the root, are read and checked. `None`
    /// if that cannot be, which is told.
    async fn referred(&mut self, topic: &TopicRecord, tp: TopicPartition) -> anyhow::Result<Option<Referred>> {
        let mut problem = String::new();
        for _ in 0..LOOKS {
            let read = async {
                let none = no_fail_points();
                let manifest = Manifest::load(&self.bucket, tp, &topic.name, IfAbsent::Empty, none).await?;
                let snapshot = manifest.snapshot();
                let references = snapshot.references().await?;
                snapshot.producers().await?;
                Ok::<_, runnel_segment::Error>((snapshot, references))
            };
            match read.await {
                Ok((snapshot, references)) => {
                    let by_id = references.into_iter().map(|one| (one.id, (one, Seen::No))).collect();
                    return Ok(Some(Referred { snapshot, by_id }));
                }
                // A chunk that is gone may have been replaced meanwhile, and the root with it.
                Err(error) if is_damage(&error) => problem = format!("{:#}", anyhow::Error::from(error)),
                Err(error) => return Err(error.into()),
            }
        }
        self.report.broken(Key::Root(tp).path(), problem);
        Ok(None)
    }

    /// What is wrong with an object, apart from its size.
    async fn problem(&self, reference: &Reference, seen: Seen) -> anyhow::Result<Option<String>> {
        // A listing may have been made before the object.
        if seen == Seen::No && self.bucket.get_start(&reference.key, 1).await?.is_none() {
            return Ok(Some("is gone".to_owned()));
        }
        match &reference.segment {
            Some(segment) if self.deep => {
                Ok(check(&self.bucket, &reference.key, segment).await.err().map(|problem| format!("{problem:#}")))
            }
            _ => Ok(None),
        }
    }

    /// What looks wrong is so if the root of now refers to it too.
    async fn confirm(
        &mut self,
        topic: &TopicRecord,
        tp: TopicPartition,
        found: Vec<(Reference, String)>,
    ) -> anyhow::Result<()> {
        if found.is_empty() {
            return Ok(());
        }
        let Some(now) = self.referred(topic, tp).await? else { return Ok(()) };
        for (reference, problem) in found {
            if now.by_id.get(&reference.id).is_some_and(|(now, _)| now.is_needed) {
                let expected = reference.bytes.map(|bytes| format!("; {bytes} bytes are expected")).unwrap_or_default();
                self.report.broken(reference.key.path(), format!("{problem}{expected}"));
            }
        }
        Ok(())
    }
}

fn is_damage(error: &runnel_segment::Error) -> bool {
    match error.kind() {
        ErrorKind::Corrupt | ErrorKind::Unsupported => true,
        ErrorKind::Storage => std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source())
            .filter_map(|error| error.downcast_ref::<runnel_blob::Error>())
            .any(|error| matches!(error.kind(), runnel_blob::ErrorKind::NotFound | runnel_blob::ErrorKind::Corrupt)),
        ErrorKind::Conflict | ErrorKind::Fenced | ErrorKind::Invalid | ErrorKind::Internal => false,
    }
}

/// Epoch and id of an object of a partition.
fn of(tp: TopicPartition, path: &str) -> Option<(LeaderEpoch, Uuid)> {
    match Key::parse_segment(path).or_else(|| Key::parse_partition_object(tp, path))? {
        Key::Segment { tp: of, epoch, id, .. }
        | Key::Chunk { tp: of, epoch, id }
        | Key::ProducerState { tp: of, epoch, id }
            if of == tp =>
        {
            Some((epoch, id))
        }
        _ => None,
    }
}

fn seen_as(reference: &Reference, bytes: u64) -> Seen {
    if reference.bytes.is_none_or(|expected| expected == bytes) { Seen::Yes } else { Seen::Other(bytes) }
}

/// Why nobody refers to an object, and who will delete it.
fn unreferred_because(root: &Root, path: &str, epoch: LeaderEpoch) -> &'static str {
    let below = matches!(Key::parse_segment(path), Some(Key::Segment { last, .. }) if last < root.log_start);
    if below {
        "was given up by retention"
    } else if epoch < root.epoch {
        "is an orphan of an earlier leader: the sweep of the next one deletes it"
    } else {
        "is of the present leader: not referred to yet, or replaced by a merge"
    }
}

#[cfg(test)]
mod tests {
    use runnel_record::{Offset, TopicId};

    use super::*;

    #[test]
    fn why_nobody_refers_to_it() {
        let tp = TopicPartition { topic: TopicId(Uuid::from_u128(7)), partition: 0 };
        let mut root = Root::empty(tp);
        (root.epoch, root.log_start) = (LeaderEpoch(5), Offset(10));
        let segment = |base, epoch| Key::Segment {
            topic_name: "t".to_owned(),
            tp,
            day: 20_000,
            base: Offset(base),
            last: Offset(base + 4),
            epoch: LeaderEpoch(epoch),
            id: Uuid::from_u128(1),
        };
        for (base, epoch, expected) in [(5, 5, "retention"), (10, 4, "orphan"), (10, 5, "present leader")] {
            let path = segment(base, epoch).path();
            assert_eq!(of(tp, &path), Some((LeaderEpoch(epoch), Uuid::from_u128(1))));
            assert!(unreferred_because(&root, &path, LeaderEpoch(epoch)).contains(expected));
        }
        let other = TopicPartition { topic: TopicId(Uuid::from_u128(8)), partition: 0 };
        assert_eq!(of(other, &segment(5, 5).path()), None, "another topic of the same name");
    }
}
