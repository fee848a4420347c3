//! Every name in the bucket. Layout and rules: `docs/formats/bucket-layout.md`.

use chrono::{Datelike, NaiveDate};
use runnel_record::ids::{LeaderEpoch, Offset, TopicId, TopicPartition};
use uuid::Uuid;

/// Days from 0001-01-01 to 1970-01-01, plus one: what `chrono` calls day 719,163 of the common era.
const EPOCH_DAY: i32 = 719_163;
/// Where all object lanes are.
const LANES: &str = "wal/";

/// The name of an object, below the storage prefix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// Identity of the cluster. Register.
    ClusterId,
    /// The file whose lock holds a `file://` bucket.
    ClusterLock,
    /// Scratch object of the probe for conditional writes.
    Probe(Uuid),
    /// Blocks of producer ids. Register.
    Pids,
    /// Settings of brokers, groups and clients. Register.
    Settings,
    /// Which topic has a name. Register.
    TopicName(String),
    /// A topic. Register.
    Topic(TopicId),
    /// A topic that was deleted; kept for ever.
    Tombstone(TopicId),
    /// The root of a partition. Register.
    Root(TopicPartition),
    /// A page of older segment references. Immutable.
    Chunk {
        /// The partition.
        tp: TopicPartition,
        /// The leader epoch that wrote it.
        epoch: LeaderEpoch,
        /// Unique part.
        id: Uuid,
    },
    /// A producer snapshot too large for the root. Immutable.
    ProducerState {
        /// The partition.
        tp: TopicPartition,
        /// The leader epoch that wrote it.
        epoch: LeaderEpoch,
        /// Unique part.
        id: Uuid,
    },
    /// A Parquet segment. Immutable.
    Segment {
        /// The topic's name; legal Kafka names need no escaping.
        topic_name: String,
        /// The partition.
        tp: TopicPartition,
        /// Append day, UTC, days since 1970-01-01.
        day: i32,
        /// First offset.
        base: Offset,
        /// Last offset, inclusive.
        last: Offset,
        /// The leader epoch that wrote it.
        epoch: LeaderEpoch,
        /// Unique part.
        id: Uuid,
    },
    /// One write of an object lane, or its end. Immutable.
    Slot {
        /// The lane.
        lane: Uuid,
        /// Number of the slot, from 0.
        slot: u64,
    },
    /// Where an object lane starts and ends; kept for ever. Register.
    LaneHeader {
        /// The lane.
        lane: Uuid,
    },
}

impl Key {
    /// The object's name, relative to the storage prefix.
    pub fn path(&self) -> String {
        match self {
            Self::ClusterId => "cluster/id".to_owned(),
            Self::ClusterLock => "cluster/lock".to_owned(),
            Self::Probe(id) => format!("cluster/probe/{}", id.simple()),
            Self::Pids => "meta/pids".to_owned(),
            Self::Settings => "meta/settings".to_owned(),
            Self::TopicName(name) => format!("meta/names/{name}"),
            Self::Topic(id) => format!("meta/topics/{id}"),
            Self::Tombstone(id) => format!("meta/tombstones/{id}"),
            Self::Root(tp) => format!("{}root", partition_prefix(*tp)),
            Self::Chunk { tp, epoch, id } => format!("{}{epoch}-{}", chunk_prefix(*tp), id.simple()),
            Self::ProducerState { tp, epoch, id } => format!("{}{epoch}-{}", producer_prefix(*tp), id.simple()),
            Self::Segment { topic_name, tp, day, base, last, epoch, id } => format!(
                "{}date={}/{:020}-{:020}-{epoch}-{}-{}.parquet",
                segment_prefix(topic_name, tp.partition),
                date(*day),
                base.0,
                last.0,
                tp.topic,
                id.simple()
            ),
            Self::Slot { lane, slot } => format!("{}{slot:020}", lane_prefix(*lane)),
            Self::LaneHeader { lane } => format!("{}hdr", lane_prefix(*lane)),
        }
    }

    /// Reads the name of a segment; `None` for anything that is not exactly one.
    pub fn parse_segment(path: &str) -> Option<Self> {
        let mut folders = path.strip_prefix("topics/topic=")?.split('/');
        let topic_name = folders.next()?.to_owned();
        let partition = folders.next()?.strip_prefix("partition=")?.parse().ok()?;
        let date = NaiveDate::parse_from_str(folders.next()?.strip_prefix("date=")?, "%Y-%m-%d").ok()?;
        let mut fields = folders.next()?.strip_suffix(".parquet")?.split('-');
        let base = Offset(fields.next()?.parse().ok()?);
        let last = Offset(fields.next()?.parse().ok()?);
        let epoch = LeaderEpoch(fields.next()?.parse().ok()?);
        let topic: TopicId = fields.next()?.parse().ok()?;
        let id = fields.next()?.parse().ok()?;
        let tp = TopicPartition { topic, partition };
        let key = Self::Segment { topic_name, tp, day: date.num_days_from_ce() - EPOCH_DAY, base, last, epoch, id };
        // The one spelling that `path` writes: what reads alike but is spelled otherwise is not ours.
        (key.path() == path).then_some(key)
    }

    /// Reads the name of a chunk or a producer snapshot of `tp`; `None` for anything else.
    pub fn parse_partition_object(tp: TopicPartition, path: &str) -> Option<Self> {
        let fields = |rest: &str| {
            let (epoch, id) = rest.split_once('-')?;
            Some((LeaderEpoch(epoch.parse().ok()?), id.parse::<Uuid>().ok()?))
        };
        let key = if let Some(rest) = path.strip_prefix(&chunk_prefix(tp)) {
            let (epoch, id) = fields(rest)?;
            Self::Chunk { tp, epoch, id }
        } else {
            let (epoch, id) = fields(path.strip_prefix(&producer_prefix(tp))?)?;
            Self::ProducerState { tp, epoch, id }
        };
        (key.path() == path).then_some(key)
    }

    /// Reads the name of a slot or of a lane's header; `None` for anything else.
    pub fn parse_lane_object(path: &str) -> Option<Self> {
        let (_, rest) = path.strip_prefix(LANES)?.split_once('/')?;
        let (lane, name) = rest.split_once('/')?;
        let lane = lane.parse().ok()?;
        let key = match name {
            "hdr" => Self::LaneHeader { lane },
            slot => Self::Slot { lane, slot: slot.parse().ok()? },
        };
        (key.path() == path).then_some(key)
    }
}

/// Where the slots and the header of an object lane are. The two digits in front spread the lanes over the key space
/// of the store.
pub fn lane_prefix(lane: Uuid) -> String {
    format!("{LANES}{:02x}/{}/", crc32c::crc32c(lane.as_bytes()) & 0xff, lane.simple())
}

/// Where the segments of a partition number of a topic name are, of every incarnation of the topic.
pub fn segment_prefix(topic_name: &str, partition: i32) -> String {
    format!("topics/topic={topic_name}/partition={partition}/")
}

/// Where root, chunks and producer snapshots of a partition are. The two digits in front spread the partitions over
/// the key space of the store.
pub fn partition_prefix(tp: TopicPartition) -> String {
    let spread = crc32c::crc32c_append(crc32c::crc32c(tp.topic.0.as_bytes()), &tp.partition.to_be_bytes()) & 0xff;
    format!("p/{spread:02x}/{}/{}/", tp.topic, tp.partition)
}

/// Where the chunks of a partition are.
pub fn chunk_prefix(tp: TopicPartition) -> String {
    format!("{}c/", partition_prefix(tp))
}

/// Where the producer snapshots of a partition are.
pub fn producer_prefix(tp: TopicPartition) -> String {
    format!("{}ps/", partition_prefix(tp))
}

/// `YYYY-MM-DD` of a day since 1970-01-01. Append times are wall-clock times, so a day outside of `chrono`'s range of
/// 262,000 years is a defect; it gets the first day rather than a panic.
fn date(day: i32) -> NaiveDate {
    day.checked_add(EPOCH_DAY).and_then(NaiveDate::from_num_days_from_ce_opt).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn tp() -> TopicPartition {
        TopicPartition { topic: TopicId(Uuid::from_u128(0xab)), partition: 12 }
    }

    fn segment(topic_name: &str) -> Key {
        Key::Segment {
            topic_name: topic_name.to_owned(),
            tp: tp(),
            day: 20_415,
            base: Offset(1_000),
            last: Offset(1_999),
            epoch: LeaderEpoch(7),
            id: Uuid::from_u128(0xcd),
        }
    }

    #[test]
    fn names_are_a_contract() {
        let id = Uuid::from_u128(0xcd);
        for (key, path) in [
            (Key::ClusterId, "cluster/id"),
            (Key::ClusterLock, "cluster/lock"),
            (Key::Probe(id), "cluster/probe/000000000000000000000000000000cd"),
            (Key::Pids, "meta/pids"),
            (Key::Settings, "meta/settings"),
            (Key::TopicName("a.b_c-D".to_owned()), "meta/names/a.b_c-D"),
            (Key::Topic(tp().topic), "meta/topics/000000000000000000000000000000ab"),
            (Key::Tombstone(tp().topic), "meta/tombstones/000000000000000000000000000000ab"),
            (Key::Root(tp()), "p/80/000000000000000000000000000000ab/12/root"),
            (
                Key::Chunk { tp: tp(), epoch: LeaderEpoch(7), id },
                "p/80/000000000000000000000000000000ab/12/c/7-000000000000000000000000000000cd",
            ),
            (
                Key::ProducerState { tp: tp(), epoch: LeaderEpoch(7), id },
                "p/80/000000000000000000000000000000ab/12/ps/7-000000000000000000000000000000cd",
            ),
            (
                segment("flights"),
                "topics/topic=flights/partition=12/date=2025-11-23/00000000000000001000-00000000000000001999-7-\
                 000000000000000000000000000000ab-000000000000000000000000000000cd.parquet",
            ),
            (Key::Slot { lane: id, slot: 42 }, "wal/fd/000000000000000000000000000000cd/00000000000000000042"),
            (Key::LaneHeader { lane: id }, "wal/fd/000000000000000000000000000000cd/hdr"),
        ] {
            assert_eq!(key.path(), path);
        }
    }

    #[test]
    fn segment_names_read_back() {
        let longest = "x".repeat(249);
        for name in ["flights", "042", "a.b", "a..b", "-", "date=x", "true", &longest] {
            assert_eq!(Key::parse_segment(&segment(name).path()), Some(segment(name)));
        }
        for name in segment(&longest).path().split('/') {
            assert!(name.len() <= 255, "a folder could not hold {name}");
        }
        let path = segment("t").path();
        for bad in [
            path.replace(".parquet", ".parquet.ctl"),
            path.replace("date=2025-11-23", "date=2025-11-2"),
            path.replace("-7-", "-07-"),
            path.replace("-7-", "-+7-"),
            path.replace("partition=12", "partition=012"),
            path.replace("00000000000000001000", "1000"),
            path.replace("000cd.parquet", "000CD.parquet"),
            format!("{path}/x"),
            format!("x/{path}"),
            String::new(),
        ] {
            assert_eq!(Key::parse_segment(&bad), None, "{bad}");
        }
    }

    #[test]
    fn lane_objects_read_back_and_sort_by_number() {
        let lane = Uuid::from_u128(0xcd);
        let slots = [0, 9, 10, u64::MAX].map(|slot| Key::Slot { lane, slot });
        assert!(slots.is_sorted_by_key(Key::path), "a listing is in the order of the lane");
        for key in [&slots[0], &slots[3], &Key::LaneHeader { lane }] {
            let path = key.path();
            assert_eq!(Key::parse_lane_object(&path).as_ref(), Some(key));
            assert!(path.starts_with(&lane_prefix(lane)));
            for bad in
                [format!("{path}x"), path.replace("cd/", "cD/"), path.replace("wal/", "wal/0"), path[4..].to_owned()]
            {
                assert_eq!(Key::parse_lane_object(&bad), None, "{bad}");
            }
        }
        assert_eq!(Key::parse_lane_object(&slots[1].path().replace("0009", "9")), None);
        let spread: std::collections::BTreeSet<String> =
            (0..64).map(|n| lane_prefix(Uuid::from_u128(n))[..6].to_owned()).collect();
        assert!(spread.len() > 40, "{spread:?}");
    }

    #[test]
    fn partition_objects_read_back() {
        let other = TopicPartition { partition: 13, ..tp() };
        let chunk = Key::Chunk { tp: tp(), epoch: LeaderEpoch(7), id: Uuid::from_u128(1) };
        let state = Key::ProducerState { tp: tp(), epoch: LeaderEpoch(7), id: Uuid::from_u128(1) };
        for key in [chunk, state] {
            assert_eq!(Key::parse_partition_object(tp(), &key.path()), Some(key.clone()));
            assert_eq!(Key::parse_partition_object(other, &key.path()), None);
            assert_eq!(Key::parse_partition_object(tp(), &format!("{}x", key.path())), None);
        }
        assert_eq!(Key::parse_partition_object(tp(), &Key::Root(tp()).path()), None);
    }
}
