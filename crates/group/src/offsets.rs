//! The committed offsets of one group, and when they expire (KIP-211).

use std::collections::BTreeMap;
use std::time::Duration;

use runnel_format::groups::OffsetCommitValue;

use crate::requests::CommittedOffset;

/// By topic, then partition.
#[derive(Debug, Default)]
pub(crate) struct Offsets(BTreeMap<String, BTreeMap<i32, OffsetCommitValue>>);

impl Offsets {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn set(&mut self, topic: &str, partition: i32, value: OffsetCommitValue) {
        match self.0.get_mut(topic) {
            Some(partitions) => partitions.insert(partition, value),
            None => self.0.entry(topic.to_owned()).or_default().insert(partition, value),
        };
    }

    /// Whether there was one.
    pub(crate) fn remove(&mut self, topic: &str, partition: i32) -> bool {
        let Some(partitions) = self.0.get_mut(topic) else { return false };
        let found = partitions.remove(&partition).is_some();
        if partitions.is_empty() {
            self.0.remove(topic);
        }
        found
    }

    /// The partitions of a topic that something is committed for.
    pub(crate) fn of_topic(&self, topic: &str) -> Vec<i32> {
        self.0.get(topic).map(|partitions| partitions.keys().copied().collect()).unwrap_or_default()
    }

    /// What is committed for these partitions, or for all; −1 where nothing is.
    pub(crate) fn fetch(&self, topics: Option<&[(String, Vec<i32>)]>) -> Vec<CommittedOffset> {
        match topics {
            None => self.iter().map(|(topic, partition, value)| committed(topic, partition, Some(value))).collect(),
            Some(topics) => topics
                .iter()
                .flat_map(|(topic, partitions)| {
                    let known = self.0.get(topic);
                    partitions.iter().map(move |p| committed(topic, *p, known.and_then(|known| known.get(p))))
                })
                .collect(),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, i32, &OffsetCommitValue)> {
        self.0.iter().flat_map(|(topic, partitions)| partitions.iter().map(move |(p, v)| (topic.as_str(), *p, v)))
    }

    /// Those that have expired at `now` (ms since the Unix epoch). An offset lives for `retention` from the moment that
    /// `idle_since` gives, unless its committer said when it expires.
    pub(crate) fn expired(
        &self,
        now: i64,
        retention: Duration,
        idle_since: impl Fn(&str, &OffsetCommitValue) -> Option<i64>,
    ) -> Vec<(String, i32)> {
        let retention = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        let is_over = |topic: &str, value: &OffsetCommitValue| {
            let Some(since) = idle_since(topic, value) else { return false };
            value.expire_timestamp.unwrap_or_else(|| since.saturating_add(retention)) <= now
        };
        self.iter().filter(|(topic, _, value)| is_over(topic, value)).map(|(t, p, _)| (t.to_owned(), p)).collect()
    }
}

fn committed(topic: &str, partition: i32, value: Option<&OffsetCommitValue>) -> CommittedOffset {
    CommittedOffset {
        topic: topic.to_owned(),
        partition,
        offset: value.map_or(-1, |v| v.offset),
        leader_epoch: value.map_or(-1, |v| v.leader_epoch),
        metadata: value.map(|v| v.metadata.clone()).unwrap_or_default(),
    }
}
