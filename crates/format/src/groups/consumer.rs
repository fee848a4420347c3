//! Records of groups in the consumer protocol (KIP-848). All values are version 0, which is flexible.

use bytes::{Bytes, BytesMut};
use runnel_record::TopicId;

use super::wire::{Get, Put};
use crate::Error;

/// The only version of these values.
const VERSION: i16 = 0;

/// Tag of what a member of the classic protocol brought.
const CLASSIC: u32 = 0;

/// Tag of the epochs at which a member was given its partitions.
const SINCE: u32 = 0;

/// Topics and their partitions.
pub type TopicPartitions = Vec<(TopicId, Vec<i32>)>;

/// A topic that a group reads, as it was when the group last looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscribedTopic {
    /// The incarnation.
    pub id: TopicId,
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: i32,
}

/// The topics that a group reads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubscribedTopics(pub Vec<SubscribedTopic>);

/// An epoch: of a group, or of its target assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochValue(pub i32);

/// A member's own settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerMemberValue {
    /// `group.instance.id`.
    pub instance_id: Option<String>,
    /// Its rack.
    pub rack: Option<String>,
    /// Client id.
    pub client_id: String,
    /// Host that it connected from.
    pub client_host: String,
    /// Topics that it names.
    pub topics: Vec<String>,
    /// Regular expression of topics.
    pub pattern: Option<String>,
    /// Rebalance timeout, ms.
    pub rebalance_timeout: i32,
    /// The assignor that it asks for.
    pub assignor: Option<String>,
    /// What it brought if it speaks the classic protocol.
    pub classic: Option<ClassicMemberValue>,
}

/// What a member of the classic protocol brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassicMemberValue {
    /// Session timeout, ms.
    pub session_timeout: i32,
    /// What it supports, best first: name and metadata.
    pub protocols: Vec<(String, Bytes)>,
}

/// What a member is to have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TargetMemberValue(pub TopicPartitions);

/// Partitions of a topic that a member has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldPartitions {
    /// The topic.
    pub topic: TopicId,
    /// Partition numbers.
    pub partitions: Vec<i32>,
    /// For each partition the epoch at which the member was given it (KIP-1251); none in records of before.
    pub since: Option<Vec<i32>>,
}

/// What a member has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrentAssignmentValue {
    /// Its epoch.
    pub epoch: i32,
    /// The one before.
    pub previous_epoch: i32,
    /// 0 stable, 1 has to let partitions go, 2 waits for partitions of others.
    pub state: i8,
    /// What it may read.
    pub assigned: Vec<HeldPartitions>,
    /// What it has to let go.
    pub revoking: Vec<HeldPartitions>,
}

/// The topics of a regular expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternValue {
    /// Their names.
    pub topics: Vec<String>,
    /// Version of the metadata that was looked at.
    pub version: i64,
    /// When, ms since the Unix epoch.
    pub timestamp: i64,
}

impl SubscribedTopics {
    /// The bytes of a record's value.
    pub fn encode(&self) -> Bytes {
        let mut out = begin();
        out.count(self.0.len());
        for topic in &self.0 {
            out.uuid(topic.id.0);
            out.compact(&topic.name);
            out.int32(topic.partitions);
            // Racks of partitions, which nobody writes any more.
            out.count(0);
            out.no_tags();
        }
        end(out)
    }

    /// Reads a record's value.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut get = Get::new("the topics of a group", bytes);
        get.version(VERSION)?;
        let mut topics = Vec::new();
        for _ in 0..get.count()? {
            let topic = SubscribedTopic { id: TopicId(get.uuid()?), name: get.string()?, partitions: get.int32()? };
            for _ in 0..get.count()? {
                get.int32()?;
                get.strings()?;
                get.tags()?;
            }
            get.tags()?;
            topics.push(topic);
        }
        Ok(Self(topics))
    }
}

impl EpochValue {
    /// The bytes of a record's value.
    pub fn encode(self) -> Bytes {
        let mut out = begin();
        out.int32(self.0);
        end(out)
    }

    /// Reads a record's value; what later releases add in tags is passed over.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut get = Get::new("the epoch of a group", bytes);
        get.version(VERSION)?;
        Ok(Self(get.int32()?))
    }
}

impl ConsumerMemberValue {
    /// The bytes of a record's value.
    pub fn encode(&self) -> Bytes {
        let mut out = begin();
        out.compact_nullable(self.instance_id.as_deref());
        out.compact_nullable(self.rack.as_deref());
        out.compact(&self.client_id);
        out.compact(&self.client_host);
        out.strings(&self.topics);
        out.compact_nullable(self.pattern.as_deref());
        out.int32(self.rebalance_timeout);
        out.compact_nullable(self.assignor.as_deref());
        match &self.classic {
            None => out.no_tags(),
            Some(classic) => {
                // A struct that may be null has a byte before it that says whether it is.
                let mut content = BytesMut::new();
                content.int8(1);
                classic.put(&mut content);
                out.tag(CLASSIC, &content);
            }
        }
        out.freeze()
    }

    /// Reads a record's value.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut get = Get::new("a member of a group", bytes);
        get.version(VERSION)?;
        let mut value = Self {
            instance_id: get.nullable()?,
            rack: get.nullable()?,
            client_id: get.string()?,
            client_host: get.string()?,
            topics: get.strings()?,
            pattern: get.nullable()?,
            rebalance_timeout: get.int32()?,
            assignor: get.nullable()?,
            classic: None,
        };
        for (tag, mut content) in get.tagged()? {
            if tag == CLASSIC && content.int8()? >= 0 {
                value.classic = Some(ClassicMemberValue::take(&mut content)?);
            }
        }
        Ok(value)
    }
}

impl ClassicMemberValue {
    fn put(&self, out: &mut BytesMut) {
        out.int32(self.session_timeout);
        out.count(self.protocols.len());
        for (name, metadata) in &self.protocols {
            out.compact(name);
            out.compact_blob(metadata);
            out.no_tags();
        }
        out.no_tags();
    }

    fn take(get: &mut Get<'_>) -> Result<Self, Error> {
        let session_timeout = get.int32()?;
        let mut protocols = Vec::new();
        for _ in 0..get.count()? {
            protocols.push((get.string()?, get.blob()?));
            get.tags()?;
        }
        Ok(Self { session_timeout, protocols })
    }
}

impl TargetMemberValue {
    /// The bytes of a record's value.
    pub fn encode(&self) -> Bytes {
        let mut out = begin();
        put_partitions(&mut out, &self.0);
        end(out)
    }

    /// Reads a record's value.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut get = Get::new("a target assignment", bytes);
        get.version(VERSION)?;
        Ok(Self(take_partitions(&mut get)?))
    }
}

impl CurrentAssignmentValue {
    /// The bytes of a record's value.
    pub fn encode(&self) -> Bytes {
        let mut out = begin();
        out.int32(self.epoch);
        out.int32(self.previous_epoch);
        out.int8(self.state);
        put_held(&mut out, &self.assigned);
        put_held(&mut out, &self.revoking);
        end(out)
    }

    /// Reads a record's value.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut get = Get::new("a current assignment", bytes);
        get.version(VERSION)?;
        Ok(Self {
            epoch: get.int32()?,
            previous_epoch: get.int32()?,
            state: get.int8()?,
            assigned: take_held(&mut get)?,
            revoking: take_held(&mut get)?,
        })
    }
}

impl PatternValue {
    /// The bytes of a record's value.
    pub fn encode(&self) -> Bytes {
        let mut out = begin();
        out.strings(&self.topics);
        out.int64(self.version);
        out.int64(self.timestamp);
        end(out)
    }

    /// Reads a record's value.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut get = Get::new("the topics of a regular expression", bytes);
        get.version(VERSION)?;
        Ok(Self { topics: get.strings()?, version: get.int64()?, timestamp: get.int64()? })
    }
}

fn begin() -> BytesMut {
    let mut out = BytesMut::new();
    out.int16(VERSION);
    out
}

fn end(mut out: BytesMut) -> Bytes {
    out.no_tags();
    out.freeze()
}

fn put_partitions(out: &mut BytesMut, topics: &TopicPartitions) {
    out.count(topics.len());
    for (topic, partitions) in topics {
        out.uuid(topic.0);
        out.numbers(partitions);
        out.no_tags();
    }
}

fn put_held(out: &mut BytesMut, topics: &[HeldPartitions]) {
    out.count(topics.len());
    for HeldPartitions { topic, partitions, since } in topics {
        out.uuid(topic.0);
        out.numbers(partitions);
        match since {
            None => out.no_tags(),
            Some(since) => {
                let mut content = BytesMut::new();
                content.numbers(since);
                out.tag(SINCE, &content);
            }
        }
    }
}

fn take_held(get: &mut Get<'_>) -> Result<Vec<HeldPartitions>, Error> {
    let mut topics = Vec::new();
    for _ in 0..get.count()? {
        let mut held = HeldPartitions { topic: TopicId(get.uuid()?), partitions: get.numbers()?, since: None };
        for (tag, mut content) in get.tagged()? {
            if tag == SINCE {
                held.since = Some(content.numbers()?);
            }
        }
        topics.push(held);
    }
    Ok(topics)
}

fn take_partitions(get: &mut Get<'_>) -> Result<TopicPartitions, Error> {
    let mut topics = Vec::new();
    for _ in 0..get.count()? {
        let (topic, partitions) = (TopicId(get.uuid()?), get.numbers()?);
        get.tags()?;
        topics.push((topic, partitions));
    }
    Ok(topics)
}
