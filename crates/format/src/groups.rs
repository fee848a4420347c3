//! The records of `__consumer_offsets`, in Kafka's own format, since tools read them.
//!
//! Source: Kafka's `OffsetCommitKey`, `OffsetCommitValue`, `GroupMetadataKey`, `GroupMetadataValue` and the keys and values
//! that begin with `ConsumerGroup`, which are in `groups/consumer.rs`. A key and a value each begin with their version
//! (int16, big-endian); the version of a key also says what the record is about. Table:
//! `docs/formats/consumer-offsets.md`.

mod consumer;
mod wire;

pub use consumer::{
    ClassicMemberValue, ConsumerMemberValue, CurrentAssignmentValue, EpochValue, HeldPartitions, PatternValue,
    SubscribedTopic, SubscribedTopics, TargetMemberValue, TopicPartitions,
};

use bytes::{Bytes, BytesMut};
use runnel_record::TopicId;

use crate::Error;
use wire::{Get, Put};

/// Version of an [`OffsetCommitValue`] that is written without a topic id; with one it is [`FLEXIBLE`]. One with an expiry
/// of its own has the only version that can say so.
const OFFSET_VALUE: i16 = 3;
const OFFSET_VALUE_WITH_EXPIRY: i16 = 1;
/// Version of a [`GroupMetadataValue`] that is written.
const GROUP_VALUE: i16 = 3;
/// Newest version of both values that is read; the first flexible one.
const FLEXIBLE: i16 = 4;
/// Tag of the topic id of an [`OffsetCommitValue`].
const OFFSET_TOPIC_ID: u32 = 0;

const OFFSET_KEY: i16 = 1;
const GROUP_KEY: i16 = 2;
const EPOCH_KEY: i16 = 3;
const TOPICS_KEY: i16 = 4;
const MEMBER_KEY: i16 = 5;
const TARGET_EPOCH_KEY: i16 = 6;
const TARGET_MEMBER_KEY: i16 = 7;
const CURRENT_KEY: i16 = 8;
const PATTERN_KEY: i16 = 16;

/// What a record of `__consumer_offsets` is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupKey {
    /// An offset that a group committed.
    Offset {
        /// The group.
        group: String,
        /// Topic name.
        topic: String,
        /// Partition number.
        partition: i32,
    },
    /// The group itself, in the classic protocol.
    Group {
        /// The group.
        group: String,
    },
    /// The epoch of a group in the consumer protocol: there is such a group while there is one.
    Epoch {
        /// The group.
        group: String,
    },
    /// The topics that it reads.
    Topics {
        /// The group.
        group: String,
    },
    /// A member's own settings.
    Member {
        /// The group.
        group: String,
        /// The member.
        member: String,
    },
    /// The epoch of the target assignment.
    TargetEpoch {
        /// The group.
        group: String,
    },
    /// What a member is to have.
    TargetMember {
        /// The group.
        group: String,
        /// The member.
        member: String,
    },
    /// What a member has.
    Current {
        /// The group.
        group: String,
        /// The member.
        member: String,
    },
    /// What a regular expression stands for.
    Pattern {
        /// The group.
        group: String,
        /// The expression.
        pattern: String,
    },
}

/// A committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetCommitValue {
    /// Next offset to read.
    pub offset: i64,
    /// Epoch of the last record read, −1 for none (KIP-320).
    pub leader_epoch: i32,
    /// Whatever the committer wants to keep with it.
    pub metadata: String,
    /// When it was committed, ms since the Unix epoch.
    pub commit_timestamp: i64,
    /// When it expires, if the committer said so (before KIP-211), ms since the Unix epoch.
    pub expire_timestamp: Option<i64>,
    /// The topic: one that is made later under the same name is another. Not stored beside an expiry.
    pub topic_id: Option<TopicId>,
}

/// A group between two rebalances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMetadataValue {
    /// `consumer`, `connect`, ...; empty for none.
    pub protocol_type: String,
    /// The generation.
    pub generation: i32,
    /// The protocol that the members agreed on.
    pub protocol: Option<String>,
    /// Member id of the leader.
    pub leader: Option<String>,
    /// When the group came into its state, ms since the Unix epoch; −1 if unknown.
    pub state_timestamp: i64,
    /// Its members.
    pub members: Vec<MemberMetadata>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberMetadata {
    /// Member id.
    pub member_id: String,
    /// `group.instance.id` (KIP-345).
    pub instance_id: Option<String>,
    /// Client id.
    pub client_id: String,
    /// Host that it connected from.
    pub client_host: String,
    /// Rebalance timeout, ms.
    pub rebalance_timeout: i32,
    /// Session timeout, ms.
    pub session_timeout: i32,
    /// Its metadata for the protocol agreed on.
    pub subscription: Bytes,
    /// What the leader assigned to it.
    pub assignment: Bytes,
}

fn one(out: &mut BytesMut, version: i16, group: &str) {
    out.int16(version);
    out.string(group);
}

fn two(out: &mut BytesMut, version: i16, group: &str, name: &str) {
    one(out, version, group);
    out.string(name);
}

impl GroupKey {
    /// The bytes of a record's key.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Self::Offset { group, topic, partition } => {
                out.int16(OFFSET_KEY);
                out.string(group);
                out.string(topic);
                out.int32(*partition);
            }
            Self::Group { group } => one(&mut out, GROUP_KEY, group),
            Self::Epoch { group } => one(&mut out, EPOCH_KEY, group),
            Self::Topics { group } => one(&mut out, TOPICS_KEY, group),
            Self::TargetEpoch { group } => one(&mut out, TARGET_EPOCH_KEY, group),
            Self::Member { group, member } => two(&mut out, MEMBER_KEY, group, member),
            Self::TargetMember { group, member } => two(&mut out, TARGET_MEMBER_KEY, group, member),
            Self::Current { group, member } => two(&mut out, CURRENT_KEY, group, member),
            Self::Pattern { group, pattern } => two(&mut out, PATTERN_KEY, group, pattern),
        }
        out.freeze()
    }

    /// Reads a record's key; `None` for a kind that is not known here, as a newer coordinator may have written.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, Error> {
        let mut get = Get::new("a key of __consumer_offsets", bytes);
        Ok(match get.int16()? {
            0 | OFFSET_KEY => {
                Some(Self::Offset { group: get.string()?, topic: get.string()?, partition: get.int32()? })
            }
            GROUP_KEY => Some(Self::Group { group: get.string()? }),
            EPOCH_KEY => Some(Self::Epoch { group: get.string()? }),
            TOPICS_KEY => Some(Self::Topics { group: get.string()? }),
            MEMBER_KEY => Some(Self::Member { group: get.string()?, member: get.string()? }),
            TARGET_EPOCH_KEY => Some(Self::TargetEpoch { group: get.string()? }),
            TARGET_MEMBER_KEY => Some(Self::TargetMember { group: get.string()?, member: get.string()? }),
            CURRENT_KEY => Some(Self::Current { group: get.string()?, member: get.string()? }),
            PATTERN_KEY => Some(Self::Pattern { group: get.string()?, pattern: get.string()? }),
            _ => None,
        })
    }
}

impl OffsetCommitValue {
    /// The bytes of a record's value.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        let version = match (self.expire_timestamp, self.topic_id) {
            (Some(_), _) => OFFSET_VALUE_WITH_EXPIRY,
            (None, None) => OFFSET_VALUE,
            (None, Some(_)) => FLEXIBLE,
        };
        out.int16(version);
        out.int64(self.offset);
        if version >= 3 {
            out.int32(self.leader_epoch);
        }
        if version == FLEXIBLE {
            out.compact(&self.metadata)
        } else {
            out.string(&self.metadata)
        }
        out.int64(self.commit_timestamp);
        match (self.expire_timestamp, self.topic_id) {
            (Some(expire), _) => out.int64(expire),
            (None, Some(id)) => out.tag(OFFSET_TOPIC_ID, id.0.as_bytes()),
            (None, None) => {}
        }
        out.freeze()
    }

    /// Reads a record's value of any version up to the newest.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut get = Get::new("a committed offset", bytes);
        let version = get.version(FLEXIBLE)?;
        let mut value = Self {
            offset: get.int64()?,
            leader_epoch: if version >= 3 { get.int32()? } else { -1 },
            metadata: get.string()?,
            commit_timestamp: get.int64()?,
            expire_timestamp: if version == 1 { Some(get.int64()?).filter(|at| *at >= 0) } else { None },
            topic_id: None,
        };
        for (tag, mut content) in get.tagged()? {
            if tag == OFFSET_TOPIC_ID {
                value.topic_id = Some(TopicId(content.uuid()?)).filter(|id| *id != TopicId::ZERO);
            }
        }
        Ok(value)
    }
}

impl GroupMetadataValue {
    /// The bytes of a record's value.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.int16(GROUP_VALUE);
        out.string(&self.protocol_type);
        out.int32(self.generation);
        out.nullable(self.protocol.as_deref());
        out.nullable(self.leader.as_deref());
        out.int64(self.state_timestamp);
        out.int32(i32::try_from(self.members.len()).unwrap_or(i32::MAX));
        for member in &self.members {
            out.string(&member.member_id);
            out.nullable(member.instance_id.as_deref());
            out.string(&member.client_id);
            out.string(&member.client_host);
            out.int32(member.rebalance_timeout);
            out.int32(member.session_timeout);
            out.blob(&member.subscription);
            out.blob(&member.assignment);
        }
        out.freeze()
    }

    /// Reads a record's value of any version up to the newest.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut get = Get::new("the metadata of a group", bytes);
        let version = get.version(FLEXIBLE)?;
        let (protocol_type, generation) = (get.string()?, get.int32()?);
        let (protocol, leader) = (get.nullable()?, get.nullable()?);
        let state_timestamp = if version >= 2 { get.int64()? } else { -1 };
        let mut members = Vec::new();
        for _ in 0..get.count()? {
            members.push(MemberMetadata::take(&mut get, version)?);
        }
        Ok(Self { protocol_type, generation, protocol, leader, state_timestamp, members })
    }
}

impl MemberMetadata {
    fn take(get: &mut Get<'_>, version: i16) -> Result<Self, Error> {
        let member_id = get.string()?;
        let instance_id = if version >= 3 { get.nullable()? } else { None };
        let (client_id, client_host) = (get.string()?, get.string()?);
        let rebalance_timeout = if version >= 1 { Some(get.int32()?) } else { None };
        let session_timeout = get.int32()?;
        let member = Self {
            member_id,
            instance_id,
            client_id,
            client_host,
            // Before version 1 a member had the one timeout for both.
            rebalance_timeout: rebalance_timeout.unwrap_or(session_timeout),
            session_timeout,
            subscription: get.blob()?,
            assignment: get.blob()?,
        };
        get.tags()?;
        Ok(member)
    }
}

#[cfg(test)]
mod tests;
