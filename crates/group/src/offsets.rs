//! The committed offsets of one group, and when they expire (KIP-211).

use std::collections::BTreeMap;
use std::time::Duration;

use runnel_format::groups::OffsetCommitValue;

use crate::requests::CommittedOffset;
use crate::topics::Topics;
use crate::weight;

#[derive(Debug, Default)]
pub(crate) struct Offsets {
    /// By topic, then partition.
    all: BTreeMap<String, BTreeMap<i32, OffsetCommitValue>>,
    /// What they take.
    bytes: usize,
}

fn bytes_of(value: &OffsetCommitValue) -> usize {
    weight::OFFSET + value.metadata.len()
}

impl Offsets {
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn set(&mut self, topic: &str, partition: i32, value: OffsetCommitValue) {
        self.bytes += bytes_of(&value);
        let before = match self.all.get_mut(topic) {
            Some(partitions) => partitions.insert(partition, value),
            None => self.all.entry(topic.to_owned()).or_default().insert(partition, value),
        };
        self.bytes -= before.as_ref().map_or(0, bytes_of);
    }

    /// Whether there was one.
    pub(crate) fn remove(&mut self, topic: &str, partition: i32) -> bool {
        let Some(partitions) = self.all.get_mut(topic) else { return false };
        let found = partitions.remove(&partition);
        self.bytes -= found.as_ref().map_or(0, bytes_of);
        if partitions.is_empty() {
            self.all.remove(topic);
        }
        found.is_some()
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How much more they would take with this one.
    pub(crate) fn growth(&self, topic: &str, partition: i32, metadata: &str) -> usize {
        let before = self.all.get(topic).and_then(|partitions| partitions.get(&partition)).map_or(0, bytes_of);
        (weight::OFFSET + metadata.len()).saturating_sub(before)
    }

    /// The partitions of a topic that something is committed for.
    pub(crate) fn of_topic(&self, topic: &str) -> Vec<i32> {
        self.all.get(topic).map(|partitions| partitions.keys().copied().collect()).unwrap_or_default()
    }

    /// What is committed for these partitions, or for all; −1 where nothing is.
    pub(crate) fn fetch(&self, topics: Option<&[(String, Vec<i32>)]>, existing: &Topics) -> Vec<CommittedOffset> {
        let counts = |topic: &str, value: &&OffsetCommitValue| !is_orphan(topic, value, existing);
        match topics {
            None => self
                .iter()
                .filter(|(topic, _, value)| counts(topic, value))
                .map(|(topic, partition, value)| committed(topic, partition, Some(value)))
                .collect(),
            Some(topics) => topics
                .iter()
                .flat_map(|(topic, partitions)| {
                    let known = self.all.get(topic);
                    let value = move |partition| known?.get(partition).filter(|value| counts(topic, value));
                    partitions.iter().map(move |partition| committed(topic, *partition, value(partition)))
                })
                .collect(),
        }
    }

    /// Those of a topic that was deleted and has a successor of the same name. What is only not there proves nothing.
    pub(crate) fn orphaned(&self, existing: &Topics) -> Vec<(String, i32)> {
        let orphans = self.iter().filter(|(topic, _, value)| is_orphan(topic, value, existing));
        orphans.map(|(topic, partition, _)| (topic.to_owned(), partition)).collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, i32, &OffsetCommitValue)> {
        self.all.iter().flat_map(|(topic, partitions)| partitions.iter().map(move |(p, v)| (topic.as_str(), *p, v)))
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

/// Whether the topic of that name is another by now.
fn is_orphan(topic: &str, value: &OffsetCommitValue, existing: &Topics) -> bool {
    let now = existing.find(topic).map(|(id, _)| id);
    value.topic_id.zip(now).is_some_and(|(committed, now)| committed != now)
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
