//! The topics that exist, as a coordinator is told.

use std::collections::BTreeMap;

use runnel_record::TopicId;

/// Which topics there are, by name and by id. A picture of one moment: it never changes.
#[derive(Debug, Default)]
pub struct Topics {
    version: u64,
    by_name: BTreeMap<String, (TopicId, i32)>,
    by_id: BTreeMap<TopicId, String>,
}

impl Topics {
    /// The topics with their ids and numbers of partitions. A later picture has a greater version.
    pub fn new(version: u64, topics: impl IntoIterator<Item = (String, TopicId, i32)>) -> Self {
        let mut new = Self { version, ..Self::default() };
        for (name, id, partitions) in topics {
            new.by_id.insert(id, name.clone());
            new.by_name.insert(name, (id, partitions));
        }
        new
    }

    /// Whether nobody has told yet which topics there are.
    pub fn is_unknown(&self) -> bool {
        self.version == 0
    }

    /// Its version.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Id and number of partitions of a topic.
    pub fn find(&self, name: &str) -> Option<(TopicId, i32)> {
        self.by_name.get(name).copied()
    }

    /// Name of a topic.
    pub fn name(&self, id: TopicId) -> Option<&str> {
        self.by_id.get(&id).map(String::as_str)
    }

    /// Every name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }
}
