//! The fetch reply, encoded by hand: batches are appended as they lie in memory.
//!
//! Source: Kafka's `FetchResponse.json`, versions 4–18. Versions 12 and up are flexible.

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::produce_response::NodeEndpoint;
use runnel_api::{Fetched, TopicKey};

use crate::budget::Lease;
use crate::header::Prefix;
use crate::leaders::Leader;
use crate::reply::{Rope, first_error};

/// A fetch reply in our words.
pub(crate) struct Answer {
    /// An error of the whole request.
    pub(crate) error: i16,
    /// The session, 0 for none.
    pub(crate) session_id: i32,
    /// The partitions that have something to say.
    pub(crate) partitions: Vec<(TopicKey, i32, PartitionAnswer)>,
    /// Where the leaders are that the partitions name.
    pub(crate) endpoints: Vec<NodeEndpoint>,
}

/// First version whose replies say where leaders are (KIP-951).
const WITH_ENDPOINTS: i16 = 16;

/// What one partition says.
pub(crate) enum PartitionAnswer {
    /// Positions and data.
    Data(Fetched),
    /// An error code, and who leads the partition if that is somebody else.
    Failed(i16, Option<Leader>),
}

impl PartitionAnswer {
    pub(crate) const fn failed(code: i16) -> Self {
        Self::Failed(code, None)
    }
}

/// Encodes `answer` for the version of the request.
pub(crate) fn encode(request: Prefix, answer: Answer, lease: Lease) -> Rope {
    let version = request.api_version;
    let flexible = version >= 12;
    let mut out = Encoder { rope: Rope::new(request.correlation_id, i16::from(flexible)), version, flexible };
    out.rope.lease = Some(lease);
    out.rope.error = first_error(answer.partitions.iter().map(|(_, _, p)| match p {
        PartitionAnswer::Data(_) => 0,
        PartitionAnswer::Failed(code, _) => *code,
    }));
    out.put().put_i32(0); // throttle time
    if version >= 7 {
        out.put().put_i16(answer.error);
        out.put().put_i32(answer.session_id);
        out.rope.error = first_error([answer.error, out.rope.error]);
    }
    // Consecutive partitions of a topic share an entry; a topic may have several.
    let topics: Vec<_> = answer.partitions.chunk_by(|(a, _, _), (b, _, _)| a == b).map(<[_]>::len).collect();
    let mut partitions = answer.partitions.into_iter();
    out.count(topics.len());
    for size in topics {
        let group: Vec<_> = partitions.by_ref().take(size).collect();
        out.topic(group);
    }
    out.endpoints(&answer.endpoints);
    out.rope
}

struct Encoder {
    rope: Rope,
    version: i16,
    flexible: bool,
}

impl Encoder {
    fn put(&mut self) -> &mut BytesMut {
        self.rope.buf()
    }

    fn topic(&mut self, partitions: Vec<(TopicKey, i32, PartitionAnswer)>) {
        match partitions.first().map(|(topic, _, _)| topic) {
            Some(TopicKey::Id(id)) => self.put().put_slice(id.0.as_bytes()),
            Some(TopicKey::Name(name)) => self.string(name),
            None => {}
        }
        self.count(partitions.len());
        for (_, index, answer) in partitions {
            self.put().put_i32(index);
            match answer {
                PartitionAnswer::Data(fetched) => self.data(fetched),
                PartitionAnswer::Failed(code, leader) => self.failure(code, leader),
            }
        }
        self.no_tags();
    }

    fn data(&mut self, fetched: Fetched) {
        let (high_watermark, last_stable) = (fetched.high_watermark.0, fetched.last_stable_offset.0);
        self.positions(0, high_watermark, last_stable, fetched.log_start.0, fetched.reader);
        let length = fetched.batches.iter().map(runnel_record::Batch::len).sum();
        self.length(length);
        for batch in fetched.batches {
            self.put().put_slice(batch.header());
            self.rope.share(batch.body().clone());
        }
        match fetched.diverging {
            Some(diverging) if self.flexible => {
                // One tagged field, number 0: epoch, end offset and no tagged fields of its own.
                self.put().put_slice(&[1, 0, 13]);
                self.put().put_i32(diverging.epoch.0);
                self.put().put_i64(diverging.end_offset.0);
                self.put().put_u8(0);
            }
            _ => self.no_tags(),
        }
    }

    fn failure(&mut self, code: i16, leader: Option<Leader>) {
        self.positions(code, -1, -1, -1, None);
        self.length(0);
        match leader {
            Some(leader) if self.flexible => {
                // One tagged field, number 1: id, epoch and no tagged fields of its own.
                self.put().put_slice(&[1, 1, 9]);
                self.put().put_i32(leader.id);
                self.put().put_i32(leader.epoch);
                self.put().put_u8(0);
            }
            _ => self.no_tags(),
        }
    }

    /// The one tagged field of the reply, number 0: where leaders are.
    fn endpoints(&mut self, endpoints: &[NodeEndpoint]) {
        if self.version < WITH_ENDPOINTS || endpoints.is_empty() {
            return self.no_tags();
        }
        let mut field = BytesMut::new();
        put_varint(&mut field, endpoints.len() + 1);
        for endpoint in endpoints {
            field.put_i32(endpoint.node_id.0);
            put_varint(&mut field, endpoint.host.len() + 1);
            field.put_slice(endpoint.host.as_bytes());
            field.put_i32(endpoint.port);
            put_varint(&mut field, endpoint.rack.as_ref().map_or(0, |rack| rack.len() + 1));
            field.put_slice(endpoint.rack.as_deref().unwrap_or_default().as_bytes());
            field.put_u8(0);
        }
        self.put().put_slice(&[1, 0]);
        self.varint(field.len());
        self.put().put_slice(&field);
    }

    fn positions(&mut self, error: i16, high_watermark: i64, last_stable: i64, log_start: i64, reader: Option<i32>) {
        let version = self.version;
        let out = self.put();
        out.put_i16(error);
        out.put_i64(high_watermark);
        out.put_i64(last_stable);
        if version >= 5 {
            out.put_i64(log_start);
        }
        self.count(0); // aborted transactions
        if version >= 11 {
            self.put().put_i32(reader.unwrap_or(-1)); // preferred read replica
        }
    }

    fn string(&mut self, s: &str) {
        if self.flexible {
            self.varint(s.len() + 1);
        } else {
            // Names that came with a request were at most this long.
            self.put().put_i16(i16::try_from(s.len()).unwrap_or(i16::MAX));
        }
        self.put().put_slice(s.as_bytes());
    }

    fn count(&mut self, n: usize) {
        self.length(n);
    }

    /// A count or length that is not null.
    fn length(&mut self, n: usize) {
        if self.flexible {
            self.varint(n + 1);
        } else {
            // Bounded by the limit on replies, which is far below.
            self.put().put_i32(i32::try_from(n).unwrap_or(i32::MAX));
        }
    }

    fn varint(&mut self, n: usize) {
        put_varint(self.put(), n);
    }

    fn no_tags(&mut self) {
        if self.flexible {
            self.put().put_u8(0);
        }
    }
}

fn put_varint(out: &mut BytesMut, mut n: usize) {
    while n >= 0x80 {
        out.put_u8((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.put_u8(n as u8);
}
