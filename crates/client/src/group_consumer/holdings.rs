//! The partitions that a member holds.

use std::collections::{BTreeMap, BTreeSet};

use runnel_proto::consume::v1::AssignedPartitions;
use runnel_proto::consume::v1::read_session_response::Start;

/// What the broker has given and not taken back.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    held: BTreeSet<(String, i32)>,
    /// Of those, what is to be let go.
    revoked: BTreeSet<(String, i32)>,
}

impl Holdings {
    pub(super) fn assigned(&mut self, partitions: &[Start]) {
        self.held.extend(partitions.iter().map(|start| (start.topic.clone(), start.partition)));
    }

    pub(super) fn revoked(&mut self, partitions: &[AssignedPartitions]) {
        let each = |one: &AssignedPartitions| {
            let topic = one.topic.clone();
            one.partitions.clone().into_iter().map(move |partition| (topic.clone(), partition))
        };
        self.revoked = partitions.iter().flat_map(each).collect();
    }

    /// What was revoked is held no more.
    pub(super) fn let_go(&mut self) {
        for partition in std::mem::take(&mut self.revoked) {
            self.held.remove(&partition);
        }
    }

    /// Nothing is held any more; returns what was.
    pub(super) fn lost(&mut self) -> Vec<AssignedPartitions> {
        self.revoked.clear();
        let mut lost: BTreeMap<String, Vec<i32>> = BTreeMap::new();
        for (topic, partition) in std::mem::take(&mut self.held) {
            lost.entry(topic).or_default().push(partition);
        }
        lost.into_iter().map(|(topic, partitions)| AssignedPartitions { topic, partitions }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(topic: &str, partitions: &[i32]) -> AssignedPartitions {
        AssignedPartitions { topic: topic.to_owned(), partitions: partitions.to_vec() }
    }

    #[test]
    fn what_is_lost_is_what_was_given_and_not_let_go() {
        let mut holdings = Holdings::default();
        let start = |topic: &str, partition| Start { topic: topic.to_owned(), partition, ..Start::default() };
        holdings.assigned(&[start("t", 0), start("u", 3), start("t", 1)]);
        holdings.revoked(&[parts("t", &[1]), parts("u", &[3])]);
        holdings.let_go();
        holdings.let_go();
        holdings.assigned(&[start("u", 2)]);
        holdings.revoked(&[parts("u", &[2])]);
        assert_eq!(holdings.lost(), [parts("t", &[0]), parts("u", &[2])], "what is to be let go is still held");
        assert_eq!(holdings.lost(), []);
    }
}
