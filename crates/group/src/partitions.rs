//! Sets of partitions, which is what assignments are.

use std::collections::{BTreeMap, BTreeSet};

use runnel_record::TopicId;
use serde::{Deserialize, Serialize};

/// Partitions of topics. As text: a list of topics, each with its partitions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Vec<(String, Vec<i32>)>", try_from = "Vec<(String, Vec<i32>)>")]
pub struct Partitions(BTreeMap<TopicId, BTreeSet<i32>>);

impl From<Partitions> for Vec<(String, Vec<i32>)> {
    fn from(partitions: Partitions) -> Self {
        partitions.topics().map(|(topic, partitions)| (topic.to_string(), partitions)).collect()
    }
}

impl TryFrom<Vec<(String, Vec<i32>)>> for Partitions {
    type Error = String;

    fn try_from(topics: Vec<(String, Vec<i32>)>) -> Result<Self, String> {
        let mut all = Self::default();
        for (topic, partitions) in topics {
            let topic: TopicId = topic.parse().map_err(|_| format!("`{topic}` is no topic id"))?;
            partitions.into_iter().for_each(|partition| all.insert(topic, partition));
        }
        Ok(all)
    }
}

impl Partitions {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }

    /// Adds one.
    pub fn insert(&mut self, topic: TopicId, partition: i32) {
        self.0.entry(topic).or_default().insert(partition);
    }

    /// Whether it has this one.
    pub fn contains(&self, topic: TopicId, partition: i32) -> bool {
        self.0.get(&topic).is_some_and(|partitions| partitions.contains(&partition))
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = (TopicId, i32)> {
        self.0.iter().flat_map(|(topic, partitions)| partitions.iter().map(|partition| (*topic, *partition)))
    }

    /// By topic.
    pub fn topics(&self) -> impl Iterator<Item = (TopicId, Vec<i32>)> {
        self.0.iter().map(|(topic, partitions)| (*topic, partitions.iter().copied().collect()))
    }

    /// Those of these that are such.
    pub(crate) fn filtered(&self, keep: impl Fn(TopicId, i32) -> bool) -> Self {
        self.iter().filter(|(topic, partition)| keep(*topic, *partition)).collect()
    }

    /// Whether all of them are in `other`.
    pub(crate) fn is_subset(&self, other: &Self) -> bool {
        self.iter().all(|(topic, partition)| other.contains(topic, partition))
    }

    /// Whether some are in both.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        self.iter().any(|(topic, partition)| other.contains(topic, partition))
    }

    pub(crate) fn as_record(&self) -> Vec<(TopicId, Vec<i32>)> {
        self.topics().collect()
    }
}

impl FromIterator<(TopicId, i32)> for Partitions {
    fn from_iter<I: IntoIterator<Item = (TopicId, i32)>>(items: I) -> Self {
        let mut all = Self::default();
        for (topic, partition) in items {
            all.insert(topic, partition);
        }
        all
    }
}

impl FromIterator<(TopicId, Vec<i32>)> for Partitions {
    fn from_iter<I: IntoIterator<Item = (TopicId, Vec<i32>)>>(items: I) -> Self {
        items.into_iter().flat_map(|(topic, partitions)| partitions.into_iter().map(move |p| (topic, p))).collect()
    }
}
