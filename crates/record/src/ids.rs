//! Identifiers, offsets, epochs and time.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// Identity of one incarnation of a topic; never reused, also not by a topic re-created under the same name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub Uuid);

impl TopicId {
    /// The id that means "no id" on the Kafka wire.
    pub const ZERO: Self = Self(Uuid::nil());
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.simple())
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for TopicId {
    type Err = uuid::Error;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(s).map(Self)
    }
}

/// One partition of one topic incarnation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic incarnation.
    pub topic: TopicId,
    /// Partition number, from 0.
    pub partition: i32,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

impl fmt::Debug for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

number! {
    /// Position of a record in its partition, from 0. Ranges are half-open: `next_offset` is exclusive,
    /// `last_offset` inclusive.
    Offset(i64)
}
number! {
    /// Leadership term of a partition; strictly increasing, never negative in a live partition.
    LeaderEpoch(i32)
}
number! {
    /// Identity of an idempotent producer; −1 on the wire means "none".
    ProducerId(i64)
}
number! {
    /// Milliseconds since the Unix epoch, UTC; −1 means "none".
    TimestampMs(i64)
}

impl Offset {
    /// The first offset of every partition.
    pub const ZERO: Self = Self(0);

    /// This offset moved forward by `count` records.
    pub const fn plus(self, count: i64) -> Self {
        Self(self.0 + count)
    }
}

impl LeaderEpoch {
    /// The epoch of a partition that was never led.
    pub const ZERO: Self = Self(0);
}

impl ProducerId {
    /// "Not an idempotent producer" on the wire.
    pub const NONE: Self = Self(-1);
}

impl TimestampMs {
    /// "No timestamp" on the wire.
    pub const NONE: Self = Self(-1);

    /// The later of two; "none" is earlier than any time.
    #[must_use]
    pub fn latest(self, other: Self) -> Self {
        if other == Self::NONE {
            self
        } else if self == Self::NONE {
            other
        } else {
            self.max(other)
        }
    }
}
