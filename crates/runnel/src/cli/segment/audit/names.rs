//! All names: each is where it should be, and of something that exists, or that was deleted.

use runnel_blob::Key;
use runnel_format::meta::NameClaim;
use runnel_record::{TopicId, TopicPartition};

use super::Audit;
use crate::cli::progress::counter;

/// What a name alone tells.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// It is looked at elsewhere.
    Fine,
    /// Of a partition.
    Of(TopicPartition, Option<String>),
    /// The metadata of a topic.
    Topic(TopicId),
    /// The claim of a topic's name.
    Name(String),
    /// Of a lane.
    Lane(uuid::Uuid),
    /// Nobody of us writes such a name, or leaves it there.
    Stray(&'static str),
}

fn place(path: &str) -> Place {
    let foreign = Place::Stray("is no name that runnel writes");
    let (folder, rest) = path.split_once('/').unwrap_or((path, ""));
    match folder {
        "topics" => match Key::parse_segment(path) {
            Some(Key::Segment { tp, topic_name, .. }) => Place::Of(tp, Some(topic_name)),
            _ => foreign,
        },
        "p" => of_partition(path).map_or(foreign, |tp| Place::Of(tp, None)),
        "wal" => match Key::parse_lane_object(path) {
            Some(Key::Slot { lane, .. } | Key::LaneHeader { lane }) => Place::Lane(lane),
            _ => foreign,
        },
        "meta" => match rest.split_once('/') {
            Some(("topics", id)) => id.parse().map_or(foreign, Place::Topic),
            Some(("names", name)) => Place::Name(name.to_owned()),
            Some(("tombstones", _)) => Place::Fine,
            None if path == Key::Pids.path() || path == Key::Settings.path() => Place::Fine,
            _ => foreign,
        },
        "cluster" if path == Key::ClusterId.path() || path == Key::ClusterLock.path() => Place::Fine,
        "cluster" if rest.starts_with("probe/") => Place::Stray("is of a start that is under way, or was cut off"),
        _ => foreign,
    }
}

/// The partition of a name below `p/`.
fn of_partition(path: &str) -> Option<TopicPartition> {
    let mut parts = path.split('/').skip(2);
    let tp = TopicPartition { topic: parts.next()?.parse().ok()?, partition: parts.next()?.parse().ok()? };
    let is_ours = path == Key::Root(tp).path() || Key::parse_partition_object(tp, path).is_some();
    is_ours.then_some(tp)
}

impl Audit {
    pub(super) async fn all_names(&mut self) -> anyhow::Result<()> {
        let (mut walk, bar) = (self.bucket.walk("")?, counter("objects")?);
        loop {
            let page = walk.next().await?;
            if page.is_empty() {
                return Ok(());
            }
            self.report.objects += page.len();
            bar.inc(page.len() as u64);
            for object in page {
                match place(&object.path) {
                    Place::Fine => {}
                    Place::Lane(lane) => drop(self.lanes.insert(lane)),
                    Place::Stray(what) => self.report.stray(object.path, what),
                    Place::Topic(id) if self.deleted.contains(&id) => {
                        self.report.collectable(object.path, "is of a deleted topic");
                    }
                    Place::Topic(_) => {}
                    Place::Name(name) => self.claim(object.path, name).await?,
                    Place::Of(tp, name) => self.of_partition(object.path, tp, name.as_deref()).await?,
                }
            }
        }
    }

    /// What a name is claimed for exists or was deleted. If not, nothing tells whether it ever did.
    async fn claim(&mut self, path: String, name: String) -> anyhow::Result<()> {
        if self.topics.values().any(|topic| topic.name == name) {
            return Ok(());
        }
        let key = Key::TopicName(name);
        let claim = match self.bucket.read_register(&key).await {
            Ok(found) => found.map(|found| NameClaim::decode(&found.payload)).transpose(),
            Err(error) => return self.unreadable(&key, error),
        };
        match claim {
            Ok(Some(claim)) if !self.exists(claim.id).await? && !self.deleted.contains(&claim.id) => {
                let what =
                    format!("names topic {}, which is not there: its creation was cut off, or it is lost", claim.id);
                self.report.stray(path, what);
            }
            Ok(_) => {}
            Err(error) => self.report.broken(path, error.to_string()),
        }
        Ok(())
    }

    /// Whether there is a topic of this id that may have been made after the others were looked at; notes it if it was
    /// deleted instead.
    async fn exists(&mut self, id: TopicId) -> anyhow::Result<bool> {
        if self.deleted.contains(&id) {
            return Ok(false);
        }
        let exists = self.bucket.read_register(&Key::Topic(id)).await?.is_some();
        if !exists && self.bucket.read_register(&Key::Tombstone(id)).await?.is_some() {
            self.deleted.insert(id);
        }
        Ok(exists)
    }

    /// What a partition that exists refers to was looked at with the partition.
    async fn of_partition(&mut self, path: String, tp: TopicPartition, name: Option<&str>) -> anyhow::Result<()> {
        if let Some(topic) = self.topics.get(&tp.topic) {
            let is_there = (0..topic.partitions).contains(&tp.partition) && name.is_none_or(|name| name == topic.name);
            // A topic may have got more partitions meanwhile.
            if !is_there && name.is_some_and(|name| name != topic.name) {
                self.report.stray(path, "has another name than the topic of its id");
            }
            return Ok(());
        }
        if self.exists(tp.topic).await? {
            return Ok(());
        }
        if self.deleted.contains(&tp.topic) {
            self.report.collectable(path, "is of a deleted topic");
        } else {
            self.report.broken(path, format!("is of topic {}, whose object below meta/ is gone", tp.topic));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use runnel_blob::lane_prefix;
    use runnel_record::{LeaderEpoch, Offset};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn names_tell_what_they_are_of() {
        let id = Uuid::from_u128(5);
        let tp = TopicPartition { topic: TopicId(Uuid::from_u128(7)), partition: 12 };
        let epoch = LeaderEpoch(3);
        let segment =
            Key::Segment { topic_name: "t".to_owned(), tp, day: 20_000, base: Offset(1), last: Offset(2), epoch, id };
        assert_eq!(place(&segment.path()), Place::Of(tp, Some("t".to_owned())));
        for key in [Key::Root(tp), Key::Chunk { tp, epoch, id }, Key::ProducerState { tp, epoch, id }] {
            assert_eq!(place(&key.path()), Place::Of(tp, None), "{key:?}");
        }
        for key in [Key::Slot { lane: id, slot: 4 }, Key::LaneHeader { lane: id }] {
            assert_eq!(place(&key.path()), Place::Lane(id));
        }
        assert_eq!(place(&Key::Topic(tp.topic).path()), Place::Topic(tp.topic));
        assert_eq!(place(&Key::TopicName("a.b".to_owned()).path()), Place::Name("a.b".to_owned()));
        for key in [Key::ClusterId, Key::ClusterLock, Key::Pids, Key::Settings, Key::Tombstone(tp.topic)] {
            assert_eq!(place(&key.path()), Place::Fine, "{key:?}");
        }
        let lane = format!("{}x", lane_prefix(id));
        for stray in ["a", "topics/t", "p/00/x/1/root", "meta/x", "cluster/probe/1", "cluster/x", &lane] {
            assert!(matches!(place(stray), Place::Stray(_)), "{stray}");
        }
    }
}
