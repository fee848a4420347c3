//! Every topic configuration entry: name, type, default, what is accepted, what it does.

use runnel_api::ConfigType::{self, Boolean, Double, Int, List, Long, String as Text};

/// What values an entry accepts.
pub(super) enum Check {
    Range { min: i64, max: i64 },
    Ratio,
    OneOf(&'static [&'static str]),
    Boolean,
    CleanupPolicy,
    Any,
}

/// One row of the table.
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) kind: ConfigType,
    pub(super) default: &'static str,
    pub(super) check: Check,
    pub(super) doc: &'static str,
}

const fn row(name: &'static str, kind: ConfigType, default: &'static str, check: Check, doc: &'static str) -> Entry {
    Entry { name, kind, default, check, doc }
}

const fn int(min: i64) -> Check {
    Check::Range { min, max: i32::MAX as i64 }
}

const fn long(min: i64) -> Check {
    Check::Range { min, max: i64::MAX }
}

const KEPT: &str = "Accepted and reported so that existing tools work; has no effect here.";

/// The entries in alphabetical order.
pub(super) const TABLE: &[Entry] = &[
    row(
        "cleanup.policy",
        List,
        "delete",
        Check::CleanupPolicy,
        "How old records go: `delete`, by `retention.ms` and `retention.bytes`; an empty list keeps everything.",
    ),
    row("compression.gzip.level", Int, "-1", Check::Range { min: -1, max: 9 }, KEPT),
    row("compression.lz4.level", Int, "9", Check::Range { min: 1, max: 17 }, KEPT),
    row(
        "compression.type",
        Text,
        "producer",
        Check::OneOf(&["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"]),
        "Accepted and reported; batches stay as the producer compressed them until they are shipped as Parquet.",
    ),
    row("compression.zstd.level", Int, "3", Check::Range { min: -131_072, max: 22 }, KEPT),
    row("delete.retention.ms", Long, "86400000", long(0), KEPT),
    row(
        "file.delete.delay.ms",
        Long,
        "60000",
        long(0),
        "How long objects stay in the bucket after retention, DeleteRecords or the topic's deletion gave them up, in ms.",
    ),
    row("flush.messages", Long, "9223372036854775807", long(1), KEPT),
    row("flush.ms", Long, "9223372036854775807", long(0), KEPT),
    row("follower.replication.throttled.replicas", List, "", Check::Any, KEPT),
    row("index.interval.bytes", Int, "4096", int(0), KEPT),
    row("leader.replication.throttled.replicas", List, "", Check::Any, KEPT),
    row("local.retention.bytes", Long, "-2", long(-2), KEPT),
    row("local.retention.ms", Long, "-2", long(-2), KEPT),
    row("max.compaction.lag.ms", Long, "9223372036854775807", long(1), KEPT),
    row("max.message.bytes", Int, "1048588", int(0), "Largest record batch accepted, in bytes."),
    row(
        "message.timestamp.after.max.ms",
        Long,
        "3600000",
        long(0),
        "How far a record's timestamp may lie ahead of the broker's clock, in ms.",
    ),
    row(
        "message.timestamp.before.max.ms",
        Long,
        "9223372036854775807",
        long(0),
        "How far a record's timestamp may lie behind the broker's clock, in ms.",
    ),
    row(
        "message.timestamp.type",
        Text,
        "CreateTime",
        Check::OneOf(&["CreateTime", "LogAppendTime"]),
        "Whether a record keeps the producer's timestamp or gets the time of its append.",
    ),
    row("min.cleanable.dirty.ratio", Double, "0.5", Check::Ratio, KEPT),
    row("min.compaction.lag.ms", Long, "0", long(0), KEPT),
    row(
        "min.insync.replicas",
        Int,
        "1",
        int(1),
        "Accepted and reported; an acknowledged record is durable at the topic's `runnel.durability` whatever this says.",
    ),
    row("preallocate", ConfigType::Boolean, "false", Check::Boolean, KEPT),
    row("remote.log.copy.disable", Boolean, "false", Check::Boolean, KEPT),
    row("remote.log.delete.on.disable", Boolean, "false", Check::Boolean, KEPT),
    row("remote.storage.enable", Boolean, "false", Check::Boolean, KEPT),
    row(
        "retention.bytes",
        Long,
        "-1",
        long(-1),
        "Bytes of Parquet in the bucket kept per partition: the oldest segments go while so many stay; −1 keeps everything.",
    ),
    row(
        "retention.ms",
        Long,
        "-1",
        long(-1),
        "How long a segment is kept after its largest record timestamp, in ms; −1 keeps everything.",
    ),
    row(
        "runnel.durability",
        Text,
        "local",
        Check::OneOf(&["local", "object"]),
        "What an acknowledgement promises: `local` survives a crash of the broker, not the loss of its disk before \
         shipping; `object` means that the records are in the bucket.",
    ),
    row(
        "runnel.segment.max_age",
        Long,
        "60000",
        long(100),
        "Age of the first unshipped record at which a segment is sealed and shipped, in ms.",
    ),
    row(
        "runnel.segment.max_bytes",
        Long,
        "67108864",
        Check::Range { min: 1024, max: 1 << 30 },
        "Raw size at which a segment is sealed and shipped, in bytes.",
    ),
    row("segment.bytes", Int, "1073741824", int(14), "Kafka's name; can only lower `runnel.segment.max_bytes`."),
    row("segment.index.bytes", Int, "10485760", int(4), KEPT),
    row("segment.jitter.ms", Long, "0", long(0), KEPT),
    row("segment.ms", Long, "604800000", long(1), "Kafka's name; can only lower `runnel.segment.max_age`."),
    row("unclean.leader.election.enable", Boolean, "false", Check::Boolean, KEPT),
];

/// Broker settings that a request may change, and the topic config of which each is the default. By name.
pub(super) const BROKER_TABLE: &[(&str, &str)] = &[
    ("compression.type", "compression.type"),
    ("log.message.timestamp.after.max.ms", "message.timestamp.after.max.ms"),
    ("log.message.timestamp.before.max.ms", "message.timestamp.before.max.ms"),
    ("log.message.timestamp.type", "message.timestamp.type"),
    ("log.retention.bytes", "retention.bytes"),
    ("log.retention.ms", "retention.ms"),
    ("log.roll.ms", "segment.ms"),
    ("log.segment.bytes", "segment.bytes"),
    ("log.segment.delete.delay.ms", "file.delete.delay.ms"),
    ("message.max.bytes", "max.message.bytes"),
    ("min.insync.replicas", "min.insync.replicas"),
];

/// What Kafka calls a topic's entry in its `server.properties`: the name under which clients are shown the default.
pub(super) fn server_name(topic: &str) -> String {
    let name = match topic {
        "delete.retention.ms" | "max.compaction.lag.ms" | "min.compaction.lag.ms" => {
            return format!("log.cleaner.{topic}");
        }
        "file.delete.delay.ms" => "log.segment.delete.delay.ms",
        "flush.messages" => "log.flush.interval.messages",
        "flush.ms" => "log.flush.interval.ms",
        "max.message.bytes" => "message.max.bytes",
        "min.cleanable.dirty.ratio" => "log.cleaner.min.cleanable.ratio",
        "segment.index.bytes" => "log.index.size.max.bytes",
        "segment.jitter.ms" => "log.roll.jitter.ms",
        "segment.ms" => "log.roll.ms",
        "cleanup.policy" | "index.interval.bytes" | "preallocate" | "segment.bytes" => return format!("log.{topic}"),
        _ if ["local.retention.", "message.timestamp.", "retention."].iter().any(|of| topic.starts_with(of)) => {
            return format!("log.{topic}");
        }
        same => same,
    };
    name.to_owned()
}

/// Broker settings that a request may change and that give topics nothing: throttles of moves, which tools take back
/// when they look whether a move is done. By name.
pub(super) const THROTTLES: &[Entry] = &[
    row("follower.replication.throttled.rate", Long, "9223372036854775807", long(0), KEPT),
    row("leader.replication.throttled.rate", Long, "9223372036854775807", long(0), KEPT),
    row("replica.alter.log.dirs.io.max.bytes.per.second", Long, "9223372036854775807", long(0), KEPT),
];

/// What can be set on a consumer group, within Kafka's limits. By name.
pub(super) const GROUP_TABLE: &[Entry] = &[
    row(
        "consumer.heartbeat.interval.ms",
        Int,
        "5000",
        Check::Range { min: 5000, max: 15_000 },
        "How often the members of a group of the consumer protocol (KIP-848) send a heartbeat, in ms.",
    ),
    row(
        "consumer.session.timeout.ms",
        Int,
        "45000",
        Check::Range { min: 45_000, max: 60_000 },
        "How long a member of a group of the consumer protocol (KIP-848) may be silent before it is removed, in ms.",
    ),
];
