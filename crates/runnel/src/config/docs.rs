//! The reference of settings: `runnel config docs`, and the source of "did you mean".

/// One setting.
pub(crate) struct Setting {
    pub(crate) key: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) secret: bool,
}

const fn s(key: &'static str, doc: &'static str) -> Setting {
    Setting { key, doc, secret: false }
}

/// Every setting, in the order of the reference.
pub(crate) const SETTINGS: &[Setting] = &[
    s("node.id", "The broker's name, for people. Default: the host name."),
    s(
        "node.number",
        "The number that clients know the broker by, Kafka's `node.id`. What was set on a broker by its number stays with the number. Default: 0; a broker that shares an etcd is given the lowest that is free, and keeps it with its data directory.",
    ),
    s("node.zone", "The zone the broker runs in; consumers that name it (client.rack) read from here."),
    s("node.data_dir", "Folder of the write-ahead log, the disk cache and the embedded metadata."),
    s("kafka.listen", "Address of the Kafka listener. Beyond loopback it needs `security.insecure = true`."),
    s(
        "kafka.advertise",
        "host:port that clients are told to use. Default: the listener; for a wildcard listener the address that the client dialled. Needed for a wildcard listener where brokers share an etcd, and where `kafka.advertise_mode` is `single`.",
    ),
    s(
        "kafka.advertise_mode",
        "`broker`: clients are told of every broker and sent to the leader. `single`: they see one broker, at `kafka.advertise`, that leads everything; whichever they reach there asks the leader. The same for all brokers of a cluster.",
    ),
    s("kafka.max_frame", "Largest request frame accepted."),
    s("kafka.max_inflight", "Bytes of requests that may be in memory at once, over all connections."),
    s("kafka.max_connections", "Connections accepted at once."),
    s("kafka.idle_timeout", "A connection that is silent this long is closed."),
    s("grpc.listen", "Address of the gRPC listener. Beyond loopback it needs `security.insecure = true`."),
    s(
        "grpc.advertise",
        "host:port under which other brokers reach this one, and tell clients of it; never that of a load balancer. Default: the listener. Needed for a wildcard listener where brokers share an etcd.",
    ),
    s("grpc.max_message", "Largest request message accepted by the producer service; the others take 1MiB."),
    s(
        "grpc.max_inflight",
        "Bytes of requests that may be in memory at once, over all connections; replies that wait for their reader may take as much again.",
    ),
    s("grpc.max_connections", "Connections accepted at once."),
    s("grpc.max_streams", "Calls and sessions of one connection that may run at once."),
    s("grpc.session_window", "Bytes of an append session that may be unanswered; the broker reads no further."),
    s("grpc.max_session_age", "Age at which a session is asked to end and be opened anew."),
    s("grpc.drain_grace", "How long a session that was asked to end, also by a stop, may go on."),
    s("http.listen", "Address of /livez, /readyz and /metrics."),
    s(
        "storage.url",
        "Where segments go: `file:///folder`, `s3://bucket/prefix` or `memory:` (tests). Default: the folder `bucket` in the data directory.",
    ),
    s("storage.endpoint", "URL of an S3-compatible server. Default: AWS; AWS_ENDPOINT_URL is honoured."),
    s("storage.region", "Region. AWS_REGION is honoured."),
    Setting { key: "storage.access_key_id", doc: "Access key. AWS_ACCESS_KEY_ID is honoured.", secret: true },
    Setting { key: "storage.secret_access_key", doc: "Secret key. AWS_SECRET_ACCESS_KEY is honoured.", secret: true },
    s("storage.allow_http", "Whether the endpoint may be plain HTTP."),
    s(
        "metadata.url",
        "Where leadership and topics are agreed on: `embedded` (one broker, in its data directory) or `etcd://host1:2379,host2:2379/prefix` (all brokers with the same one are a cluster). The prefix of all keys is `runnel` if none is given.",
    ),
    s(
        "metadata.etcd.ca",
        "File (PEM) of who signed the certificates of etcd. This or `metadata.etcd.cert` turns TLS on.",
    ),
    s("metadata.etcd.cert", "File (PEM) of the broker's own certificate, where etcd asks for one."),
    s("metadata.etcd.key", "File (PEM) of that certificate's key."),
    s("metadata.etcd.user", "User of etcd, where it asks for one."),
    Setting { key: "metadata.etcd.password", doc: "That user's password.", secret: true },
    s(
        "metadata.lease_ttl",
        "How long etcd may hear nothing of a broker before the others take over what it leads. Shorter is sooner, and mistakes a pause or a slow network for a death more often.",
    ),
    s(
        "wal.durability",
        "Durability of topics that do not say: `local` (synced to this broker's disk before the acknowledgement) or `object` (in the bucket). Default: `local`; `object` where brokers share an etcd.",
    ),
    s(
        "wal.object.interval",
        "Least time between two objects of records that go to the bucket before the acknowledgement, so that one holds many: a record waits half of it on average.",
    ),
    s("wal.object.max_bytes", "Bytes after which such an object is written at once."),
    s("wal.max_unflushed", "Bytes that may wait for the disk before produce waits."),
    s(
        "wal.max_unshipped",
        "Bytes that may wait for the bucket before produce waits. Default: 4GiB or a quarter of the disk, whichever is less.",
    ),
    s("segment.max_bytes", "Raw size at which a segment is sealed and shipped."),
    s(
        "segment.max_age",
        "Age of the first unshipped record at which a segment is sealed and shipped. Default: 1m; 5m for brokers that share an etcd.",
    ),
    s(
        "segment.merge_bytes",
        "Size of the objects that small segments of a partition and day are merged into; 0 turns merging off.",
    ),
    s("segment.merge_after", "How old a segment is before it may be merged with its neighbours."),
    s("cache.memory", "Memory for the newest batches and for batches read back from the bucket."),
    s("cache.disk", "Disk for batches that are read back from the bucket more than once; 0 turns it off."),
    s("topics.auto_create", "Whether a topic is created when a client first asks for it."),
    s("topics.default_partitions", "Partitions of a topic created without a number."),
    s("topics.default_retention", "How long records are kept where the topic does not say; -1 keeps them for ever."),
    s("topics.retention_check", "How often the broker looks for records and objects that have had their time."),
    s(
        "topics.producer_expiration",
        "How long after its last batch an idempotent producer is remembered (Kafka's producer.id.expiration.ms), counted by the append times in the log.",
    ),
    s(
        "groups.initial_rebalance_delay",
        "How long a group that gets its first member waits for more, so that a start of many consumers is one rebalance (Kafka: group.initial.rebalance.delay.ms).",
    ),
    s("groups.min_session_timeout", "Shortest session timeout that a member may ask for."),
    s("groups.max_session_timeout", "Longest session timeout that a member may ask for."),
    s("groups.max_size", "Most members of one group."),
    s(
        "groups.consumer_session_timeout",
        "How long a member that speaks the consumer protocol (KIP-848) may be silent before it is removed (Kafka: group.consumer.session.timeout.ms).",
    ),
    s(
        "groups.consumer_heartbeat_interval",
        "How often such a member is told to give a sign of life (Kafka: group.consumer.heartbeat.interval.ms).",
    ),
    s(
        "groups.offsets_retention",
        "How long committed offsets are kept after the last member of their group left, or after their commit where there were no members.",
    ),
    s(
        "groups.offsets_partitions",
        "Partitions of `__consumer_offsets` when it is created, which is when the first group needs it; the number does not change afterwards.",
    ),
    s("shutdown.timeout", "How long a clean stop may ship what is not in the bucket yet."),
    s("security.insecure", "Allows listeners beyond loopback without TLS and authentication."),
    s("log.level", "error, warn, info, debug or trace; or a filter such as `info,runnel_wal=debug`."),
    s("log.format", "`text` or `json`."),
    s(
        "telemetry.otlp_endpoint",
        "http://HOST:PORT of an OpenTelemetry collector (OTLP over gRPC) that gets the broker's traces. Default: OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, OTEL_EXPORTER_OTLP_ENDPOINT, else off; `none`: off.",
    ),
    s("telemetry.otlp_sampling", "Share of traces that is sent, 0 to 1."),
];

/// The setting nearest to `key`, if any is near enough to be what was meant.
pub(crate) fn nearest(key: &str) -> Option<&'static str> {
    let (distance, best) = SETTINGS.iter().map(|s| (edit_distance(key, s.key), s.key)).min()?;
    (distance <= key.len().max(6) / 2).then_some(best)
}

/// Levenshtein distance.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
