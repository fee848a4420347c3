//! The requests we serve, as tables: which fields a version has and how they are laid out.
//!
//! Source: the message definitions of Apache Kafka 4.x (`clients/src/main/resources/common/message`). Only what
//! decides lengths is here: no names on the wire, no defaults, no nullability (the decoder checks that).

/// How one value is laid out.
pub(crate) enum Kind {
    /// That many bytes.
    Fixed(usize),
    /// A string: int16 length, or compact.
    Str,
    /// Bytes or records: int32 length, or compact.
    Data,
    /// A count and that many items.
    Array(&'static Kind),
    /// Fields in a row, then tagged fields where the version is flexible.
    Struct(&'static Layout),
    /// A presence byte, then the struct if it is 1.
    Option(&'static Layout),
}

/// One field and the versions that have it.
pub(crate) struct Field {
    from: i16,
    to: i16,
    pub(super) tag: u32,
    pub(super) kind: Kind,
}

impl Field {
    pub(super) const fn is_in(&self, version: i16) -> bool {
        self.from <= version && version <= self.to
    }

    /// The same field, gone after `version`.
    const fn until(self, version: i16) -> Self {
        Self { to: version, ..self }
    }
}

/// The fields of a struct, in order.
pub(crate) struct Layout {
    pub(super) fields: &'static [Field],
    pub(super) tags: &'static [Field],
}

/// A field of every version.
const fn always(kind: Kind) -> Field {
    since(i16::MIN, kind)
}

/// A field of `version` and later ones.
const fn since(version: i16, kind: Kind) -> Field {
    Field { from: version, to: i16::MAX, tag: 0, kind }
}

/// A tagged field of `version` and later ones.
const fn tagged(tag: u32, version: i16, kind: Kind) -> Field {
    Field { from: version, to: i16::MAX, tag, kind }
}

const fn plain(fields: &'static [Field]) -> Layout {
    Layout { fields, tags: &[] }
}

const INT8: Kind = Kind::Fixed(1);
const BOOL: Kind = Kind::Fixed(1);
const INT16: Kind = Kind::Fixed(2);
const INT32: Kind = Kind::Fixed(4);
const INT64: Kind = Kind::Fixed(8);
const UUID: Kind = Kind::Fixed(16);
const STRINGS: Kind = Kind::Array(&Kind::Str);
const INT32S: Kind = Kind::Array(&INT32);

/// Versions 0–2, which nobody serves any more, lack the transactional id and are otherwise the same.
pub(crate) static PRODUCE: Layout = plain(&[
    since(3, Kind::Str), // transactional id
    always(INT16),       // acks
    always(INT32),       // timeout
    always(Kind::Array(&Kind::Struct(&PRODUCE_TOPIC))),
]);
static PRODUCE_TOPIC: Layout = plain(&[
    always(Kind::Str).until(12),
    since(13, UUID),
    always(Kind::Array(&Kind::Struct(&plain(&[always(INT32), always(Kind::Data)])))),
]);

pub(crate) static FETCH: Layout = Layout {
    fields: &[
        always(INT32).until(14), // replica
        always(INT32),           // max wait
        always(INT32),           // min bytes
        always(INT32),           // max bytes
        always(INT8),            // isolation
        since(7, INT32),         // session id
        since(7, INT32),         // session epoch
        always(Kind::Array(&Kind::Struct(&FETCH_TOPIC))),
        since(7, Kind::Array(&Kind::Struct(&FORGOTTEN_TOPIC))),
        since(11, Kind::Str), // rack
    ],
    tags: &[tagged(0, 12, Kind::Str), tagged(1, 15, Kind::Struct(&plain(&[always(INT32), always(INT64)])))],
};
static FETCH_TOPIC: Layout = plain(&[
    always(Kind::Str).until(12),
    since(13, UUID),
    always(Kind::Array(&Kind::Struct(&Layout {
        fields: &[
            always(INT32),    // partition
            since(9, INT32),  // current leader epoch
            always(INT64),    // offset
            since(12, INT32), // last fetched epoch
            since(5, INT64),  // log start
            always(INT32),    // max bytes
        ],
        tags: &[tagged(0, 17, UUID), tagged(1, 18, INT64)],
    }))),
]);
static FORGOTTEN_TOPIC: Layout = plain(&[always(Kind::Str).until(12), since(13, UUID), always(INT32S)]);

pub(crate) static LIST_OFFSETS: Layout = plain(&[
    always(INT32),  // replica
    since(2, INT8), // isolation
    always(Kind::Array(&Kind::Struct(&plain(&[
        always(Kind::Str),
        always(Kind::Array(&Kind::Struct(&plain(&[always(INT32), since(4, INT32), always(INT64)])))),
    ])))),
    since(10, INT32), // timeout
]);

pub(crate) static METADATA: Layout = plain(&[
    always(Kind::Array(&Kind::Struct(&plain(&[since(10, UUID), always(Kind::Str)])))),
    since(4, BOOL),           // auto-create
    since(8, BOOL).until(10), // cluster operations
    since(8, BOOL),           // topic operations
]);

pub(crate) static OFFSET_COMMIT: Layout = plain(&[
    always(Kind::Str),      // group
    always(INT32),          // generation
    always(Kind::Str),      // member
    since(7, Kind::Str),    // instance
    always(INT64).until(4), // retention
    always(Kind::Array(&Kind::Struct(&plain(&[
        always(Kind::Str),
        always(Kind::Array(&Kind::Struct(&plain(&[
            always(INT32),     // partition
            always(INT64),     // offset
            since(6, INT32),   // leader epoch
            always(Kind::Str), // metadata
        ])))),
    ])))),
]);

pub(crate) static OFFSET_FETCH: Layout = plain(&[
    always(Kind::Str).until(7),
    always(Kind::Array(&Kind::Struct(&NAME_AND_PARTITIONS))).until(7),
    since(
        8,
        Kind::Array(&Kind::Struct(&plain(&[
            always(Kind::Str),   // group
            since(9, Kind::Str), // member
            since(9, INT32),     // epoch
            always(Kind::Array(&Kind::Struct(&NAME_AND_PARTITIONS))),
        ]))),
    ),
    since(7, BOOL), // require stable
]);
static NAME_AND_PARTITIONS: Layout = plain(&[always(Kind::Str), always(INT32S)]);

pub(crate) static FIND_COORDINATOR: Layout = plain(&[always(Kind::Str).until(3), since(1, INT8), since(4, STRINGS)]);

pub(crate) static JOIN_GROUP: Layout = plain(&[
    always(Kind::Str),   // group
    always(INT32),       // session timeout
    since(1, INT32),     // rebalance timeout
    always(Kind::Str),   // member
    since(5, Kind::Str), // instance
    always(Kind::Str),   // protocol type
    always(Kind::Array(&Kind::Struct(&NAME_AND_DATA))),
    since(8, Kind::Str), // reason
]);
static NAME_AND_DATA: Layout = plain(&[always(Kind::Str), always(Kind::Data)]);

pub(crate) static SYNC_GROUP: Layout = plain(&[
    always(Kind::Str),   // group
    always(INT32),       // generation
    always(Kind::Str),   // member
    since(3, Kind::Str), // instance
    since(5, Kind::Str), // protocol type
    since(5, Kind::Str), // protocol
    always(Kind::Array(&Kind::Struct(&NAME_AND_DATA))),
]);

pub(crate) static HEARTBEAT: Layout = plain(&[
    always(Kind::Str),   // group
    always(INT32),       // generation
    always(Kind::Str),   // member
    since(3, Kind::Str), // instance
]);

pub(crate) static LEAVE_GROUP: Layout = plain(&[
    always(Kind::Str),          // group
    always(Kind::Str).until(2), // member
    since(3, Kind::Array(&Kind::Struct(&plain(&[always(Kind::Str), always(Kind::Str), since(5, Kind::Str)])))),
]);

pub(crate) static LIST_GROUPS: Layout = plain(&[since(4, STRINGS), since(5, STRINGS)]);

pub(crate) static DESCRIBE_GROUPS: Layout = plain(&[always(STRINGS), since(3, BOOL)]);

pub(crate) static DELETE_GROUPS: Layout = plain(&[always(STRINGS)]);

pub(crate) static OFFSET_DELETE: Layout =
    plain(&[always(Kind::Str), always(Kind::Array(&Kind::Struct(&NAME_AND_PARTITIONS)))]);

pub(crate) static CONSUMER_GROUP_HEARTBEAT: Layout = plain(&[
    always(Kind::Str),   // group
    always(Kind::Str),   // member
    always(INT32),       // epoch
    always(Kind::Str),   // instance
    always(Kind::Str),   // rack
    always(INT32),       // rebalance timeout
    always(STRINGS),     // topics
    since(1, Kind::Str), // regular expression
    always(Kind::Str),   // assignor
    always(Kind::Array(&Kind::Struct(&plain(&[always(UUID), always(INT32S)])))),
]);

pub(crate) static CONSUMER_GROUP_DESCRIBE: Layout = plain(&[always(STRINGS), always(BOOL)]);

pub(crate) static API_VERSIONS: Layout = plain(&[since(3, Kind::Str), since(3, Kind::Str)]);

pub(crate) static CREATE_TOPICS: Layout = plain(&[
    always(Kind::Array(&Kind::Struct(&plain(&[
        always(Kind::Str),
        always(INT32), // partitions
        always(INT16), // replication factor
        always(Kind::Array(&Kind::Struct(&plain(&[always(INT32), always(INT32S)])))),
        always(Kind::Array(&Kind::Struct(&NAME_AND_VALUE))),
    ])))),
    always(INT32), // timeout
    always(BOOL),  // validate only
]);
static NAME_AND_VALUE: Layout = plain(&[always(Kind::Str), always(Kind::Str)]);

pub(crate) static DELETE_TOPICS: Layout = plain(&[
    since(6, Kind::Array(&Kind::Struct(&plain(&[always(Kind::Str), always(UUID)])))),
    always(STRINGS).until(5),
    always(INT32), // timeout
]);

pub(crate) static INIT_PRODUCER_ID: Layout = plain(&[
    always(Kind::Str), // transactional id
    always(INT32),     // timeout
    since(3, INT64),   // producer id
    since(3, INT16),   // epoch
]);

pub(crate) static OFFSET_FOR_LEADER_EPOCH: Layout = plain(&[
    since(3, INT32), // replica
    always(Kind::Array(&Kind::Struct(&plain(&[
        always(Kind::Str),
        always(Kind::Array(&Kind::Struct(&plain(&[always(INT32), always(INT32), always(INT32)])))),
    ])))),
]);

pub(crate) static DESCRIBE_CONFIGS: Layout = plain(&[
    always(Kind::Array(&Kind::Struct(&plain(&[always(INT8), always(Kind::Str), always(STRINGS)])))),
    always(BOOL),   // synonyms
    since(3, BOOL), // documentation
]);

pub(crate) static ALTER_CONFIGS: Layout = plain(&[
    always(Kind::Array(&Kind::Struct(&plain(&[
        always(INT8),
        always(Kind::Str),
        always(Kind::Array(&Kind::Struct(&NAME_AND_VALUE))),
    ])))),
    always(BOOL), // validate only
]);

pub(crate) static INCREMENTAL_ALTER_CONFIGS: Layout = plain(&[
    always(Kind::Array(&Kind::Struct(&plain(&[
        always(INT8),
        always(Kind::Str),
        always(Kind::Array(&Kind::Struct(&plain(&[always(Kind::Str), always(INT8), always(Kind::Str)])))),
    ])))),
    always(BOOL), // validate only
]);

pub(crate) static DESCRIBE_CLUSTER: Layout = plain(&[always(BOOL), since(1, INT8), since(2, BOOL)]);

pub(crate) static DESCRIBE_TOPIC_PARTITIONS: Layout = plain(&[
    always(Kind::Array(&Kind::Struct(&plain(&[always(Kind::Str)])))),
    always(INT32), // limit
    always(Kind::Option(&plain(&[always(Kind::Str), always(INT32)]))),
]);

pub(crate) static DELETE_RECORDS: Layout = plain(&[
    always(Kind::Array(&Kind::Struct(&plain(&[
        always(Kind::Str),
        always(Kind::Array(&Kind::Struct(&plain(&[always(INT32), always(INT64)])))),
    ])))),
    always(INT32), // timeout
]);

pub(crate) static ALTER_REPLICA_LOG_DIRS: Layout = plain(&[always(Kind::Array(&Kind::Struct(&plain(&[
    always(Kind::Str), // path
    always(Kind::Array(&Kind::Struct(&NAME_AND_PARTITIONS))),
]))))]);

pub(crate) static DESCRIBE_LOG_DIRS: Layout = plain(&[always(Kind::Array(&Kind::Struct(&NAME_AND_PARTITIONS)))]);

pub(crate) static CREATE_PARTITIONS: Layout = plain(&[
    always(Kind::Array(&Kind::Struct(&plain(&[
        always(Kind::Str),
        always(INT32), // count
        always(Kind::Array(&Kind::Struct(&plain(&[always(INT32S)])))),
    ])))),
    always(INT32), // timeout
    always(BOOL),  // validate only
]);

pub(crate) static ELECT_LEADERS: Layout = plain(&[
    since(1, INT8), // election type
    always(Kind::Array(&Kind::Struct(&NAME_AND_PARTITIONS))),
    always(INT32), // timeout
]);

pub(crate) static ALTER_PARTITION_REASSIGNMENTS: Layout = plain(&[
    always(INT32),  // timeout
    since(1, BOOL), // replication factor may change
    always(Kind::Array(&Kind::Struct(&plain(&[
        always(Kind::Str),
        always(Kind::Array(&Kind::Struct(&plain(&[always(INT32), always(INT32S)])))),
    ])))),
]);

pub(crate) static LIST_PARTITION_REASSIGNMENTS: Layout =
    plain(&[always(INT32), always(Kind::Array(&Kind::Struct(&NAME_AND_PARTITIONS)))]);

pub(crate) static DESCRIBE_CLIENT_QUOTAS: Layout = plain(&[
    always(Kind::Array(&Kind::Struct(&plain(&[always(Kind::Str), always(INT8), always(Kind::Str)])))),
    always(BOOL), // strict
]);

pub(crate) static ALTER_CLIENT_QUOTAS: Layout = plain(&[
    always(Kind::Array(&Kind::Struct(&plain(&[
        always(Kind::Array(&Kind::Struct(&NAME_AND_VALUE))),
        // key, value, remove
        always(Kind::Array(&Kind::Struct(&plain(&[always(Kind::Str), always(INT64), always(BOOL)])))),
    ])))),
    always(BOOL), // validate only
]);

pub(crate) static DESCRIBE_PRODUCERS: Layout = plain(&[always(Kind::Array(&Kind::Struct(&NAME_AND_PARTITIONS)))]);

pub(crate) static GET_TELEMETRY_SUBSCRIPTIONS: Layout = plain(&[always(UUID)]);

pub(crate) static PUSH_TELEMETRY: Layout = plain(&[
    always(UUID),
    always(INT32), // subscription
    always(BOOL),  // terminating
    always(INT8),  // compression
    always(Kind::Data),
]);

pub(crate) static LIST_CONFIG_RESOURCES: Layout = plain(&[since(1, Kind::Array(&INT8))]);
