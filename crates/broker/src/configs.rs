//! Configuration of topics, and of what gives them their defaults: Kafka's names where they exist, the prefix `runnel.` for ours.
//!
//! The table in [`table`] is the only place that knows an entry; everything else (validation, DescribeConfigs, the
//! typed view) is derived from it. Pure.

mod table;

use std::collections::BTreeMap;
use std::time::Duration;

use runnel_api::{AlterConfigOp, ConfigChange, ConfigEntry, ConfigSource, ConfigType, Error, ErrorKind};
use runnel_format::meta::Durability;
use runnel_partition::SegmentLimits;
use runnel_segment::Policy;

use crate::options::Options;
use table::{BROKER_TABLE, Check, Entry, GROUP_TABLE, TABLE, THROTTLES, server_name};

/// How `runnel.durability` says that records are acknowledged once they are in the bucket.
const OBJECT: &str = "object";

/// The one policy of `cleanup.policy` for topics of users.
const DELETE: &str = "delete";

/// The values that a broker's settings give to topics that do not set them.
#[derive(Debug, Clone)]
pub(crate) struct Defaults {
    retention_ms: i64,
    segment_max_bytes: u64,
    segment_max_age: Duration,
    durability: Durability,
    /// What a request has set on this broker, and on all brokers, by Kafka's names.
    own: BTreeMap<String, String>,
    all: BTreeMap<String, String>,
}

impl Defaults {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            retention_ms: options.topics.default_retention_ms,
            segment_max_bytes: options.segment.max_bytes,
            segment_max_age: options.segment.max_age,
            durability: if options.wal.in_bucket { Durability::Object } else { Durability::Local },
            own: BTreeMap::new(),
            all: BTreeMap::new(),
        }
    }

    /// The same with what requests have set on brokers.
    pub(crate) fn with_brokers(self, own: BTreeMap<String, String>, all: BTreeMap<String, String>) -> Self {
        Self { own, all, ..self }
    }

    /// The values that a topic config has without being set, nearest first: name, value, source.
    fn chain(&self, entry: &Entry) -> Vec<(String, String, ConfigSource)> {
        let broker = BROKER_TABLE.iter().find(|(_, topic)| *topic == entry.name).map_or("", |(broker, _)| broker);
        let mut chain = self.set_on_brokers(broker, entry);
        if let Some((value, setting)) = self.setting(entry.name) {
            chain.pop();
            chain.push((setting.to_owned(), value, ConfigSource::Broker));
        }
        chain
    }

    /// The values of a broker setting: of this broker, of all, and the default of `entry`.
    fn set_on_brokers(&self, name: &str, entry: &Entry) -> Vec<(String, String, ConfigSource)> {
        let set = |set: &BTreeMap<String, String>, source| {
            set.get(name).map(|value| (name.to_owned(), value.clone(), source))
        };
        let default = (server_name(entry.name), entry.default.to_owned(), ConfigSource::Default);
        let own = set(&self.own, ConfigSource::DynamicBroker);
        let all = set(&self.all, ConfigSource::DynamicDefault);
        own.into_iter().chain(all).chain([default]).collect()
    }

    /// The value from the broker's settings and the setting's name, where there is one.
    fn setting(&self, name: &str) -> Option<(String, &'static str)> {
        match name {
            "retention.ms" => Some((self.retention_ms.to_string(), "topics.default_retention")),
            "runnel.durability" => {
                let name = if self.durability == Durability::Object { OBJECT } else { "local" };
                Some((name.to_owned(), "wal.durability"))
            }
            "runnel.segment.max_bytes" => Some((self.segment_max_bytes.to_string(), "segment.max_bytes")),
            "runnel.segment.max_age" => Some((self.segment_max_age.as_millis().to_string(), "segment.max_age")),
            _ => None,
        }
    }
}

/// What the data path needs to know of a topic's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicConfig {
    pub(crate) max_message_bytes: usize,
    pub(crate) log_append_time: bool,
    pub(crate) timestamp_before_max_ms: i64,
    pub(crate) timestamp_after_max_ms: i64,
    pub(crate) segment_max_bytes: u64,
    pub(crate) segment_max_age: Duration,
    pub(crate) retention: Policy,
    /// What an acknowledgement promises.
    pub(crate) durability: Durability,
    /// How long objects stay when they are no longer needed.
    pub(crate) delete_delay: Duration,
}

impl TopicConfig {
    /// The typed view of a validated map.
    pub(crate) fn new(set: &BTreeMap<String, String>, defaults: &Defaults) -> Self {
        let text = |name: &str| -> String {
            let unset = || find(name).and_then(|entry| defaults.chain(entry).into_iter().next());
            set.get(name).cloned().or_else(|| unset().map(|(_, value, _)| value)).unwrap_or_default()
        };
        let number = |name: &str| -> i64 { text(name).trim().parse().unwrap_or(0) };
        // Anything but a number means for ever: what cannot be read must not delete.
        let limit = |name: &str| text(name).trim().parse::<u64>().ok();
        let positive = |name: &str| u64::try_from(number(name)).unwrap_or(0);
        // Kafka's own names are often set to 1 GiB and 7 days by frameworks: they can only lower ours.
        let segment_max_bytes = positive("runnel.segment.max_bytes").min(positive("segment.bytes"));
        let segment_max_age = positive("runnel.segment.max_age").min(positive("segment.ms"));
        // Without the policy `delete` neither limit holds, as in Kafka.
        let retention = if items(&text("cleanup.policy")).contains(&DELETE) {
            Policy { ms: limit("retention.ms"), bytes: limit("retention.bytes") }
        } else {
            Policy::default()
        };
        Self {
            max_message_bytes: usize::try_from(number("max.message.bytes")).unwrap_or(0),
            log_append_time: text("message.timestamp.type") == "LogAppendTime",
            timestamp_before_max_ms: number("message.timestamp.before.max.ms"),
            timestamp_after_max_ms: number("message.timestamp.after.max.ms"),
            segment_max_bytes,
            segment_max_age: Duration::from_millis(segment_max_age),
            retention,
            durability: if text("runnel.durability") == OBJECT { Durability::Object } else { Durability::Local },
            delete_delay: Duration::from_millis(positive("file.delete.delay.ms")),
        }
    }
}

impl TopicConfig {
    pub(crate) const fn segment_limits(&self) -> SegmentLimits {
        SegmentLimits { max_bytes: self.segment_max_bytes, max_age: self.segment_max_age }
    }
}

fn find(name: &str) -> Option<&'static Entry> {
    TABLE.iter().find(|e| e.name == name)
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}

/// Checks the value of a topic config; the error says what would be accepted.
fn check_topic(name: &str, value: &str) -> Result<(), Error> {
    let entry = find(name).ok_or_else(|| {
        invalid(format!("unknown topic config `{name}`: DescribeConfigs of any topic lists the names that exist"))
    })?;
    check(entry, name, value)
}

/// Checks a value of `entry`, which goes by `name` here.
fn check(entry: &Entry, name: &str, value: &str) -> Result<(), Error> {
    let bad = |expected: &str| Err(invalid(format!("invalid value `{value}` for `{name}`: expected {expected}")));
    match &entry.check {
        Check::Range { min, max } => match value.trim().parse::<i64>() {
            Ok(n) if (*min..=*max).contains(&n) => Ok(()),
            _ => bad(&format!("a whole number from {min} to {max}")),
        },
        Check::Ratio => match value.trim().parse::<f64>() {
            Ok(n) if (0.0..=1.0).contains(&n) => Ok(()),
            _ => bad("a number from 0 to 1"),
        },
        Check::OneOf(allowed) if allowed.contains(&value) => Ok(()),
        Check::OneOf(allowed) => bad(&format!("one of {}", allowed.join(", "))),
        Check::Boolean if matches!(value, "true" | "false") => Ok(()),
        Check::Boolean => bad("true or false"),
        Check::Any => Ok(()),
        Check::CleanupPolicy if items(value).iter().all(|policy| *policy == DELETE) => Ok(()),
        Check::CleanupPolicy if items(value).contains(&"compact") => {
            Err(invalid("cleanup.policy=compact is not supported yet: use `delete`".to_owned()))
        }
        Check::CleanupPolicy => bad("`delete`, or nothing to keep everything"),
    }
}

/// The items of a list. Empty text is a list without any, not one with an empty item.
fn items(list: &str) -> Vec<&str> {
    if list.trim().is_empty() { Vec::new() } else { list.split(',').map(str::trim).collect() }
}

/// A value as it is stored: without white space around it; a policy that is given twice once, as Kafka shows it.
fn normal(name: &str, value: &str) -> String {
    if name != "cleanup.policy" {
        return value.trim().to_owned();
    }
    let mut policies = items(value);
    policies.dedup();
    policies.join(",")
}

/// Checks the configuration of a new topic and gives the map to store. An internal topic may say that it is compacted:
/// that is how tools know it, and what its readers make of it.
pub(crate) fn validate_new(
    configs: &[(String, Option<String>)],
    internal: bool,
) -> Result<BTreeMap<String, String>, Error> {
    let mut set = BTreeMap::new();
    for (name, value) in configs {
        let value = value.as_ref().ok_or_else(|| invalid(format!("`{name}` has no value")))?.trim();
        if !(internal && name == "cleanup.policy" && value == "compact") {
            check_topic(name, value)?;
        }
        if set.insert(name.clone(), normal(name, value)).is_some() {
            return Err(invalid(format!("`{name}` is given twice")));
        }
    }
    Ok(set)
}

/// What a map of settings is set on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    Topic,
    Broker,
    Group,
}

impl Of {
    fn entry(self, name: &str) -> Result<&'static Entry, Error> {
        match self {
            Self::Topic => find(name).ok_or_else(|| invalid(format!("unknown topic config `{name}`"))),
            Self::Group => GROUP_TABLE
                .iter()
                .find(|entry| entry.name == name)
                .ok_or_else(|| invalid(format!("unknown group config `{name}`"))),
            Self::Broker => {
                let of_topics = BROKER_TABLE.iter().find(|(broker, _)| *broker == name);
                let entry = of_topics.and_then(|(_, topic)| find(topic));
                entry.or_else(|| THROTTLES.iter().find(|entry| entry.name == name)).ok_or_else(|| {
                    invalid(format!(
                        "`{name}` is no broker setting that a request may change: the configuration file and the \
                         environment may, at a restart"
                    ))
                })
            }
        }
    }
}

/// Applies changes (KIP-339) and gives the new map, or the first error.
pub(crate) fn apply(
    of: Of,
    set: &BTreeMap<String, String>,
    changes: &[ConfigChange],
) -> Result<BTreeMap<String, String>, Error> {
    let mut set = set.clone();
    for change in changes {
        let name = change.name.as_str();
        if change.op == AlterConfigOp::Delete {
            // Also one that does not exist (any more): it is not set afterwards, as asked.
            set.remove(name);
            continue;
        }
        let entry = of.entry(name)?;
        let value = || change.value.as_deref().ok_or_else(|| invalid(format!("`{name}` has no value")));
        let listed = |op: &str| match entry.kind {
            ConfigType::List => Ok(set.get(name).map_or(entry.default, String::as_str)),
            _ => Err(invalid(format!("`{name}` is not a list: {op} does not apply"))),
        };
        let new = match change.op {
            AlterConfigOp::Delete => continue,
            AlterConfigOp::Set => value()?.trim().to_owned(),
            AlterConfigOp::Append => {
                let old = listed("append")?;
                let added = value()?;
                let mut items: Vec<&str> = old.split(',').filter(|item| !item.is_empty()).collect();
                for item in added.split(',') {
                    if !item.is_empty() && !items.contains(&item) {
                        items.push(item);
                    }
                }
                items.join(",")
            }
            AlterConfigOp::Subtract => {
                let removed = value()?;
                let old = listed("subtract")?;
                old.split(',').filter(|i| !removed.split(',').any(|r| r == *i)).collect::<Vec<_>>().join(",")
            }
        };
        check(entry, name, &new)?;
        set.insert(name.to_owned(), normal(name, &new));
    }
    Ok(set)
}

/// The entries of a topic, all or those named.
pub(crate) fn describe(
    set: &BTreeMap<String, String>,
    defaults: &Defaults,
    names: Option<&[String]>,
) -> Vec<ConfigEntry> {
    let wanted = |e: &&Entry| names.is_none_or(|names| names.iter().any(|n| n == e.name));
    TABLE.iter().filter(wanted).map(|e| describe_one(e, set.get(e.name), defaults)).collect()
}

fn describe_one(entry: &Entry, set: Option<&String>, defaults: &Defaults) -> ConfigEntry {
    let mut synonyms = Vec::new();
    if let Some(value) = set {
        synonyms.push((entry.name.to_owned(), value.clone(), ConfigSource::Topic));
    }
    synonyms.extend(defaults.chain(entry));
    shown(entry.name, entry, synonyms)
}

/// An entry that holds the first of its synonyms.
fn shown(name: &str, entry: &Entry, synonyms: Vec<(String, String, ConfigSource)>) -> ConfigEntry {
    let first = synonyms.first();
    ConfigEntry {
        name: name.to_owned(),
        value: first.map(|(_, value, _)| value.clone()),
        source: first.map_or(ConfigSource::Default, |(_, _, source)| *source),
        read_only: false,
        sensitive: false,
        kind: entry.kind,
        documentation: entry.doc.to_owned(),
        synonyms,
    }
}

/// The broker settings that a request may change: what topics have where they set nothing.
pub(crate) fn describe_broker(defaults: &Defaults) -> Vec<ConfigEntry> {
    let entries = BROKER_TABLE.iter().filter_map(|(name, topic)| {
        let entry = find(topic)?;
        Some(shown(name, entry, defaults.chain(entry)))
    });
    let throttles = THROTTLES.iter().map(|entry| shown(entry.name, entry, defaults.set_on_brokers(entry.name, entry)));
    entries.chain(throttles).collect()
}

/// What a request has set on all brokers.
pub(crate) fn describe_brokers(set: &BTreeMap<String, String>) -> Vec<ConfigEntry> {
    let entries = set.iter().filter_map(|(name, value)| {
        let synonym = (name.clone(), value.clone(), ConfigSource::DynamicDefault);
        Some(shown(name, Of::Broker.entry(name).ok()?, vec![synonym]))
    });
    entries.collect()
}

/// A time that is set on a group. One that an earlier release took is brought into the range.
pub(crate) fn group_time(set: &BTreeMap<String, String>, name: &str) -> Option<Duration> {
    let Check::Range { min, max } = GROUP_TABLE.iter().find(|entry| entry.name == name)?.check else { return None };
    let ms = set.get(name)?.trim().parse::<i64>().ok()?.clamp(min, max);
    Some(Duration::from_millis(u64::try_from(ms).ok()?))
}

/// The entries of a group.
pub(crate) fn describe_group(set: &BTreeMap<String, String>) -> Vec<ConfigEntry> {
    let entries = GROUP_TABLE.iter().map(|entry| {
        let own = set.get(entry.name).map(|value| (entry.name.to_owned(), value.clone(), ConfigSource::Group));
        let default = (entry.name.to_owned(), entry.default.to_owned(), ConfigSource::Default);
        shown(entry.name, entry, own.into_iter().chain([default]).collect())
    });
    entries.collect()
}

#[cfg(test)]
pub(crate) mod tests;
