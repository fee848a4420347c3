//! What groups take of memory, roughly: each has limits of its own, and there may be many.

use crate::consumer::ConsumerGroup;
use crate::group::Group;

/// A group without anything.
const GROUP: usize = 1024;

/// A member, besides what it brings.
pub(crate) const MEMBER: usize = 512;

/// A committed offset, besides its metadata.
pub(crate) const OFFSET: usize = 128;

/// A partition that a member of the consumer protocol holds: in its assignment, in the target, and by owner.
const PARTITION: usize = 256;

/// What the groups of a coordinator, or of several, take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weight {
    /// How many there are.
    pub groups: usize,
    /// Bytes.
    pub bytes: usize,
}

impl Weight {
    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        let (groups, bytes) = (self.groups.saturating_add(other.groups), self.bytes.saturating_add(other.bytes));
        Self { groups, bytes }
    }

    /// Without `part`.
    #[must_use]
    pub const fn minus(self, part: Self) -> Self {
        let (groups, bytes) = (self.groups.saturating_sub(part.groups), self.bytes.saturating_sub(part.bytes));
        Self { groups, bytes }
    }
}

impl Group {
    /// Members of the classic protocol are weighed when they may have changed; the rest is known at any time.
    pub(crate) fn weight(&self) -> usize {
        let consumer = self.consumer.as_ref().map_or(0, |consumer| consumer.weight());
        GROUP + self.members_weight + consumer + self.offsets.bytes()
    }
}

impl ConsumerGroup {
    fn weight(&self) -> usize {
        self.bytes() + MEMBER * self.len() + PARTITION * self.held()
    }
}
