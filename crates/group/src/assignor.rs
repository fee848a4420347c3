//! Assignors: who is to read what. They know nothing of epochs, and of what is held only as much as stickiness needs.

mod range;
mod uniform;

use std::collections::BTreeMap;

use runnel_record::TopicId;

use crate::partitions::Partitions;

/// The assignors of the coordinator, by Kafka's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Assignor {
    /// Balanced over all topics, and as much as possible stays where it is. The default, as in Kafka.
    Uniform,
    /// Each topic is cut into ranges of neighbours, so that topics of one size are cut alike.
    Range,
}

impl Assignor {
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Uniform, Self::Range].into_iter().find(|assignor| assignor.name() == name)
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// What each subscriber is to have, in their order. `sizes` has the partitions of every topic that somebody reads.
    pub(crate) fn assign(self, subscribers: &[Subscriber<'_>], sizes: &BTreeMap<TopicId, i32>) -> Vec<Partitions> {
        match self {
            Self::Uniform => uniform::assign(subscribers, sizes),
            Self::Range => range::assign(subscribers, sizes),
        }
    }
}

/// A member as assignors see it.
pub(crate) struct Subscriber<'a> {
    pub(crate) id: &'a str,
    pub(crate) instance_id: Option<&'a str>,
    /// What it wants to read, in order, each topic once.
    pub(crate) topics: Vec<TopicId>,
    /// What it was to have.
    pub(crate) held: &'a Partitions,
}

#[cfg(test)]
mod tests;
