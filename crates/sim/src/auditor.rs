//! An auditor who looks at the whole bucket once all is over: everything that is referred to is there and whole, and
//! everything that is there is referred to, or somebody will delete it. Nobody works meanwhile, so that there are no excuses.

use std::collections::{BTreeMap, BTreeSet};

use runnel_blob::{Bucket, Key, lane_prefix};
use runnel_format::manifest::SegmentRef;
use runnel_format::meta::TopicRecord;
use runnel_format::wal::{LaneHeader, SLOT_HEADER_LEN, SlotHeader, SlotKind};
use runnel_record::{LeaderEpoch, Offset, TopicId, TopicPartition};
use runnel_runtime::FailPoints;
use runnel_segment::Segment;
use runnel_segment::manifest::{IfAbsent, Manifest};
use uuid::Uuid;

/// A writer has at most so many slots on their way: so close to the end of a lane that goes on one may be missing.
const IN_FLIGHT: u64 = 16;

/// What keeps the auditor from an opinion.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the bucket cannot be read: {0}")]
    Bucket(#[from] runnel_blob::Error),
    #[error("a segment cannot be read: {0}")]
    Segment(#[from] runnel_segment::Error),
    #[error("a record cannot be read: {0}")]
    Format(#[from] runnel_format::Error),
    #[error("a batch cannot be read: {0}")]
    Batch(#[from] runnel_record::Error),
}

/// How much was looked at.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) segments: usize,
    /// Chunks of references, and producers that are not in a root.
    pub(crate) others: usize,
    pub(crate) slots: usize,
    /// What nobody refers to, and somebody will delete.
    pub(crate) leftovers: usize,
}

/// What the bucket holds.
struct Audit<'a> {
    bucket: &'a Bucket,
    /// The sizes of all objects.
    objects: BTreeMap<String, u64>,
    seen: Seen,
    wrong: Vec<String>,
}

/// Looks at everything. What is wrong is said in a line each.
pub(crate) async fn look(bucket: &Bucket) -> Result<(Seen, Vec<String>), Error> {
    let objects = bucket.list("").await?.into_iter().map(|object| (object.path, object.bytes)).collect();
    let mut audit = Audit { bucket, objects, seen: Seen::default(), wrong: Vec::new() };
    let deleted: BTreeSet<TopicId> = audit.named("meta/tombstones/").filter_map(|id| id.parse().ok()).collect();
    let topics: Vec<TopicId> = audit.named("meta/topics/").filter_map(|id| id.parse().ok()).collect();
    let mut known = BTreeMap::new();
    for id in topics.into_iter().filter(|id| !deleted.contains(id)) {
        let Some(found) = bucket.read_register(&Key::Topic(id)).await? else { continue };
        let topic = TopicRecord::decode(&found.payload)?;
        for partition in 0..topic.partitions {
            let tp = TopicPartition { topic: id, partition };
            known.insert(tp, audit.partition(&topic.name, tp).await?);
        }
    }
    audit.owners(&known, &deleted);
    audit.lanes().await?;
    Ok((audit.seen, audit.wrong))
}

/// What a root refers to, and its epoch.
struct Referred {
    epoch: LeaderEpoch,
    ids: BTreeSet<Uuid>,
}

impl Audit<'_> {
    /// What follows a prefix in the names of objects.
    fn named<'b>(&'b self, prefix: &'b str) -> impl Iterator<Item = &'b str> {
        self.objects.keys().filter_map(move |path| path.strip_prefix(prefix))
    }

    /// What the root of a partition refers to is there, and what it says of it is so.
    async fn partition(&mut self, name: &str, tp: TopicPartition) -> Result<Referred, Error> {
        let manifest = Manifest::load(self.bucket, tp, name, IfAbsent::Empty, FailPoints::default()).await?;
        let snapshot = manifest.snapshot();
        snapshot.producers().await?;
        let references = snapshot.references().await?;
        let mut at = None;
        for reference in references.iter().filter(|reference| reference.is_needed) {
            let path = reference.key.path();
            let there = self.objects.get(&path).copied();
            if there.is_none() || there != reference.bytes {
                self.wrong.push(format!("{path} has {there:?} bytes, and the root says {:?}", reference.bytes));
                continue;
            }
            let Some(segment) = &reference.segment else {
                self.seen.others += 1;
                continue;
            };
            self.seen.segments += 1;
            if at.is_some_and(|at| at != segment.base) {
                self.wrong.push(format!("{path} does not begin where the one before it ends"));
            }
            at = Some(segment.next);
            if let Some(why) = self.segment(&reference.key, segment).await? {
                self.wrong.push(format!("{path} {why}"));
            }
        }
        if at.is_some_and(|at| at != snapshot.root().end) {
            self.wrong.push(format!("the segments of {tp} end at {at:?}, and its root at {}", snapshot.root().end));
        }
        let ids = references.into_iter().map(|reference| reference.id).collect();
        Ok(Referred { epoch: snapshot.root().epoch, ids })
    }

    /// What is wrong with a segment: all of its bytes, and every batch in it.
    async fn segment(&self, key: &Key, reference: &SegmentRef) -> Result<Option<String>, Error> {
        let object = self.bucket.get(key).await?.unwrap_or_default();
        if crc32c::crc32c(&object) != reference.crc32c {
            return Ok(Some("is not what was committed".to_owned()));
        }
        let segment = Segment::open(self.bucket, key, reference.bytes).await?;
        let mut next: Offset = reference.base;
        for run in segment.runs() {
            for source in segment.read_run(run.index).await? {
                source.batch.verify_crc()?;
                if source.batch.base_offset() != next {
                    return Ok(Some(format!("has nothing at offset {next}")));
                }
                next = source.batch.next_offset();
            }
        }
        Ok((next != reference.next).then(|| format!("ends at {next}, not at {}", reference.next)))
    }

    /// Every object of a partition is one that is referred to, or that somebody will delete: of no epoch to come, and of no
    /// topic that nobody knows.
    fn owners(&mut self, known: &BTreeMap<TopicPartition, Referred>, deleted: &BTreeSet<TopicId>) {
        for path in self.objects.keys() {
            let Some((tp, epoch, id)) = object_of(path) else { continue };
            match known.get(&tp) {
                Some(referred) if referred.ids.contains(&id) => {}
                Some(referred) if epoch <= referred.epoch => self.seen.leftovers += 1,
                Some(referred) => {
                    self.wrong.push(format!("{path} is of a later epoch than the root, of {}", referred.epoch));
                }
                None if deleted.contains(&tp.topic) => self.seen.leftovers += 1,
                None => self.wrong.push(format!("{path} is of a partition that nobody knows")),
            }
        }
    }

    /// Every slot that may hold what is in no segment is there.
    async fn lanes(&mut self) -> Result<(), Error> {
        let mut lanes: BTreeMap<Uuid, BTreeMap<u64, u64>> = BTreeMap::new();
        for (path, bytes) in &self.objects {
            match Key::parse_lane_object(path) {
                Some(Key::Slot { lane, slot }) => drop(lanes.entry(lane).or_default().insert(slot, *bytes)),
                Some(Key::LaneHeader { lane }) => drop(lanes.entry(lane).or_default()),
                _ => {}
            }
        }
        for (lane, slots) in lanes {
            let Some(found) = self.bucket.read_register(&Key::LaneHeader { lane }).await? else {
                self.wrong.push(format!("{} has slots and no header", lane_prefix(lane)));
                continue;
            };
            let header = LaneHeader::decode(&found.payload)?;
            let has_data = |bytes: &u64| *bytes > SLOT_HEADER_LEN as u64;
            let last = slots.iter().rfind(|(_, bytes)| has_data(bytes)).map_or(header.trim, |(slot, _)| slot + 1);
            let end = header.end.unwrap_or_else(|| last.saturating_sub(IN_FLIGHT));
            for slot in header.trim..end {
                self.seen.slots += 1;
                if let Some(why) = self.slot(lane, slot, slots.get(&slot).copied()).await? {
                    self.wrong.push(format!("slot {slot} of {} {why}", lane_prefix(lane)));
                }
            }
        }
        Ok(())
    }

    /// What is wrong with a slot that is needed.
    async fn slot(&self, lane: Uuid, slot: u64, bytes: Option<u64>) -> Result<Option<String>, Error> {
        let Some(bytes) = bytes else { return Ok(Some("is gone".to_owned())) };
        let object = self.bucket.get(&Key::Slot { lane, slot }).await?.unwrap_or_default();
        let header = SlotHeader::decode(&object, lane, slot)?;
        let is_whole = header.kind == SlotKind::Data && header.total_len == bytes;
        Ok((!is_whole).then(|| format!("has {bytes} bytes and says {header:?}")))
    }
}

/// The partition, the epoch and the id in the name of an object that a root may refer to.
fn object_of(path: &str) -> Option<(TopicPartition, LeaderEpoch, Uuid)> {
    let of_partition = || {
        let mut parts = path.strip_prefix("p/")?.split('/').skip(1);
        let tp = TopicPartition { topic: parts.next()?.parse().ok()?, partition: parts.next()?.parse().ok()? };
        Key::parse_partition_object(tp, path)
    };
    match Key::parse_segment(path).or_else(of_partition)? {
        Key::Segment { tp, epoch, id, .. } | Key::Chunk { tp, epoch, id } | Key::ProducerState { tp, epoch, id } => {
            Some((tp, epoch, id))
        }
        _ => None,
    }
}
