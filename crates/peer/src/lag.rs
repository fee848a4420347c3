//! How far groups are behind, as metrics: the coordinator of a group knows what is committed, and those who lead its partitions
//! where they end.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::time::Duration;

use runnel_api::error::Result;
use runnel_api::groups::FetchOffsets;
use runnel_api::{Groups, Offsets, TopicKey};
use runnel_record::Offset;

/// How often it is looked at.
const LOOK: Duration = Duration::from_secs(5);

/// Groups that are shown, by name: each is a row of series that a scraper keeps.
const MOST_GROUPS: usize = 1000;

/// A topic's name and a partition.
type Place = (String, i32);

/// What is shown.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Shown {
    members: BTreeMap<String, usize>,
    /// By group and topic: records that were appended and not committed.
    lags: BTreeMap<(String, String), i64>,
}

/// Publishes members and lag of the groups that `here` coordinates, for as long as it is polled. `everywhere` knows the ends of
/// partitions, whoever leads them.
pub async fn show_lag(here: &dyn Groups, everywhere: &dyn Offsets) -> Infallible {
    let (mut shown, mut ends) = (Shown::default(), BTreeMap::new());
    loop {
        tokio::time::sleep(LOOK).await;
        // What is gone is shown as nothing once, and what cannot be asked now stays as it was.
        let Ok(found) = look(here, everywhere, &mut ends).await else { continue };
        let gone = shown.lags.into_keys().filter(|key| !found.lags.contains_key(key)).map(|key| (key, 0));
        for ((group, topic), lag) in gone.chain(found.lags.clone()) {
            metrics::gauge!("runnel_group_lag_records", "group" => group, "topic" => topic).set(lag as f64);
        }
        let gone = shown.members.into_keys().filter(|group| !found.members.contains_key(group)).map(|group| (group, 0));
        for (group, count) in gone.chain(found.members.clone()) {
            metrics::gauge!("runnel_group_members", "group" => group).set(count as f64);
        }
        shown = found;
    }
}

/// Looks once. `ends` are those that were seen before: one that nobody tells at this moment has not moved back.
async fn look(here: &dyn Groups, everywhere: &dyn Offsets, ends: &mut BTreeMap<Place, Offset>) -> Result<Shown> {
    let (mut shown, mut committed) = (Shown::default(), Vec::new());
    for listed in here.list_groups().await?.into_iter().take(MOST_GROUPS) {
        let all = FetchOffsets { group: listed.group.clone(), topics: None, member: None };
        let offsets = here.fetch_offsets(all).await?.into_iter();
        committed.extend(offsets.map(|one| (listed.group.clone(), (one.topic, one.partition), one.offset)));
        shown.members.insert(listed.group, listed.members);
    }
    // Groups that read the same partition share the question.
    let places: BTreeSet<&Place> = committed.iter().map(|(_, place, _)| place).collect();
    let asked: Vec<_> = places.iter().map(|(topic, partition)| (TopicKey::Name(topic.clone()), *partition)).collect();
    let found = everywhere.ends(&asked).await;
    let told = places.into_iter().zip(found);
    *ends = told.filter_map(|(place, end)| Some((place.clone(), end.or(ends.get(place).copied())?))).collect();
    for (group, place, offset) in committed {
        if let Some(end) = ends.get(&place) {
            *shown.lags.entry((group, place.0)).or_default() += end.0.saturating_sub(offset).max(0);
        }
    }
    Ok(shown)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Mutex;

    use async_trait::async_trait;
    use runnel_api::groups::{CommitOffset, CommitOffsets, Membership};
    use runnel_api::{EpochEnd, Error, ErrorKind, Isolation, ListedOffset, OffsetSpec, Standing};
    use runnel_record::LeaderEpoch;
    use runnel_testkit::MemoryBroker;

    use super::*;

    /// Partitions of one topic whose leaders answer, or do not.
    struct Leaders(Mutex<Vec<Option<Offset>>>);

    #[async_trait]
    impl Offsets for Leaders {
        async fn list_offset(
            &self,
            _topic: &TopicKey,
            _partition: i32,
            _spec: OffsetSpec,
            _isolation: Isolation,
            _epoch: Option<LeaderEpoch>,
        ) -> Result<Option<ListedOffset>> {
            Ok(None)
        }

        async fn epoch_end(
            &self,
            _topic: &TopicKey,
            _partition: i32,
            _epoch: LeaderEpoch,
            _current: Option<LeaderEpoch>,
        ) -> Result<Option<EpochEnd>> {
            Ok(None)
        }

        async fn standing(&self, _topic: &TopicKey, _partition: i32, _epoch: LeaderEpoch) -> Result<Standing> {
            Err(Error::new(ErrorKind::NotLeader, "nobody asks"))
        }

        async fn ends(&self, partitions: &[(TopicKey, i32)]) -> Vec<Option<Offset>> {
            let ends = self.0.lock().unwrap();
            partitions.iter().map(|(_, partition)| ends[usize::try_from(*partition).unwrap()]).collect()
        }
    }

    async fn commit(broker: &MemoryBroker, group: &str, partition: i32, offset: i64) {
        let offset =
            CommitOffset { topic: "t".to_owned(), partition, offset, leader_epoch: -1, metadata: String::new() };
        let commit = CommitOffsets {
            group: group.to_owned(),
            member: Membership { member_id: String::new(), generation: -1, instance_id: None },
            knows_epochs: false,
            retention: None,
            offsets: vec![offset],
        };
        broker.commit_offsets(commit).await.unwrap().remove(0).unwrap();
    }

    #[tokio::test]
    async fn a_leader_that_does_not_answer_counts_with_what_it_said_last() {
        let broker = MemoryBroker::with_topic("t", 3);
        for partition in 0..3 {
            commit(&broker, "g", partition, 10).await;
        }
        commit(&broker, "h", 0, 90).await;
        let (leaders, mut ends) =
            (Leaders(Mutex::new(vec![Some(Offset(100)), Some(Offset(5)), None])), BTreeMap::new());
        let of = |shown: &Shown, group: &str| shown.lags[&(group.to_owned(), "t".to_owned())];
        let shown = look(&*broker, &leaders, &mut ends).await.unwrap();
        assert_eq!(
            (of(&shown, "g"), of(&shown, "h")),
            (90, 10),
            "one is behind its offset, and of one nothing is known"
        );
        assert_eq!(shown.members, [("g".to_owned(), 0), ("h".to_owned(), 0)].into());
        *leaders.0.lock().unwrap() = vec![None, None, Some(Offset(17))];
        let shown = look(&*broker, &leaders, &mut ends).await.unwrap();
        assert_eq!((of(&shown, "g"), of(&shown, "h")), (97, 10));
    }
}
