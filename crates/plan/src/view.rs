//! What is decided upon.

use runnel_format::meta::SessionState;
use runnel_record::{LeaderEpoch, TopicPartition};
use uuid::Uuid;

/// A broker that is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerView {
    /// Its number.
    pub id: i32,
    /// Its incarnation.
    pub session: u64,
    /// The disk that it writes to.
    pub disk: Uuid,
    /// Where it stands.
    pub zone: Option<String>,
    /// It is to lead nothing any more.
    pub draining: bool,
}

/// A session that the metadata store knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionView {
    /// Which.
    pub session: u64,
    /// The disk that it wrote to.
    pub disk: Uuid,
    /// How far its end has come.
    pub state: SessionState,
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionView {
    /// Which.
    pub tp: TopicPartition,
    /// What its record says; `None` before it was ever assigned.
    pub record: Option<Led>,
    /// Bytes per second that go through it, in and out.
    pub traffic: u64,
    /// It has had its leader for a while, and that much has gone through it there: traffic alone may move it.
    pub settled: bool,
}

/// What the record of a partition says of its leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Led {
    /// The last epoch handed out.
    pub epoch: LeaderEpoch,
    /// The session that leads it, alive or not.
    pub leader: Option<u64>,
    /// The session that the leader was asked to hand it over to.
    pub move_to: Option<u64>,
    /// The disks that alone hold a part of what is not shipped, in the order of the log.
    pub local: Vec<Uuid>,
}

/// How far a decision goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Sessions that are fenced by one decision; one always is. That many go silent at once is more often the network
    /// than their death, and a fence costs a broker its session.
    pub fences: usize,
    /// Partitions that are on their way at one time before others are moved only to even things out. Those of brokers
    /// that leave are always asked to move, and count.
    pub moves: usize,
    /// The same for others that are moved for their traffic alone. None while not all of the traffic is known.
    pub traffic_moves: usize,
    /// The busiest broker may carry so many percent more than the average before traffic alone is a reason to move.
    pub slack_percent: u64,
    /// A move for traffic brings the busier of two brokers down by so many percent of the average, at least.
    pub gain_percent: u64,
    /// And by so many bytes per second.
    pub least_gain: u64,
}

impl Limits {
    /// [`Limits::least_gain`] by default: a broker passes on a hundred times as much without effort.
    pub const LEAST_GAIN: u64 = 1 << 20;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fences: 3,
            moves: 100,
            traffic_moves: 4,
            slack_percent: 25,
            gain_percent: 5,
            least_gain: Self::LEAST_GAIN,
        }
    }
}
