//! A session's place in its group: what it asks the coordinator.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use runnel_api::groups::{
    CommitOffset, CommitOffsets, ConsumerBeat, ConsumerHeartbeat, FetchOffsets, GroupError, JOIN, LEAVE, LEAVE_FOR_NOW,
    Membership, Partitions,
};
use runnel_api::{Cluster, Error, ErrorKind, Groups, TopicDescription, TopicKey};
use runnel_proto::consume::v1::OutOfRange;
use runnel_proto::consume::v1::group_session_request::Open;
use runnel_proto::consume::v1::position::{Latest, Position as Named};
use runnel_record::TopicId;
use tonic::Code;
use uuid::Uuid;

use crate::door::{Door, duration};
use crate::error::Failure;
use crate::position::{find, named, within};
use crate::reader::{Goal, Planned};

/// How long a client may take to let partitions go; the default of Kafka's `max.poll.interval.ms`.
const REBALANCE: Duration = Duration::from_secs(300);
const REBALANCES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

/// Partitions that are looked up side by side.
const AT_ONCE: usize = 16;

/// What stays the same for as long as the session lives.
#[derive(Clone)]
pub(crate) struct Seat {
    door: Arc<Door>,
    /// As it is said in every heartbeat, which each say everything: no answer is missed then.
    beat: ConsumerHeartbeat,
    /// Where partitions without a committed offset begin.
    start: Named,
    policy: OutOfRange,
    /// The member that the client was before.
    replaces: Option<String>,
}

/// What became of a heartbeat.
pub(crate) enum Heard {
    Beat(ConsumerBeat),
    /// The member is none any more.
    Fenced(Error),
    /// Ask again soon.
    Retry(Error),
}

impl Seat {
    pub(crate) fn new(door: Arc<Door>, open: Open, host: String) -> Result<Self, Failure> {
        let policy = open.out_of_range();
        let start = named(open.start, Named::Latest(Latest {}))?;
        if open.topics.is_empty() && open.topic_pattern.is_empty() {
            return Err(Failure::invalid("there is nothing to read: name `topics` or a `topic_pattern`"));
        }
        let rebalance_timeout = duration(open.rebalance_timeout_ms, REBALANCE, REBALANCES.0, REBALANCES.1);
        let beat = ConsumerHeartbeat {
            group: open.group,
            member_id: Uuid::new_v4().to_string(),
            chooses_id: true,
            epoch: JOIN,
            instance_id: open.instance_id,
            rack: open.rack,
            rebalance_timeout: Some(rebalance_timeout),
            topics: Some(open.topics),
            pattern: Some(open.topic_pattern),
            assignor: open.assignor,
            owned: Some(Partitions::default()),
            client_id: open.client_id,
            client_host: host,
        };
        Ok(Self { door, beat, start, policy, replaces: open.replaces })
    }

    pub(crate) fn member_id(&self) -> &str {
        &self.beat.member_id
    }

    pub(crate) fn rebalance_timeout(&self) -> Duration {
        self.beat.rebalance_timeout.unwrap_or(REBALANCE)
    }

    /// Takes out the member that the client was before, if it says so.
    pub(crate) async fn replace(&mut self) {
        if let Some(member_id) = self.replaces.take() {
            let before = Self { beat: ConsumerHeartbeat { member_id, ..self.beat.clone() }, ..self.clone() };
            before.leave().await;
        }
    }

    /// A sign of life.
    pub(crate) async fn beat(self, epoch: i32, held: Partitions) -> Result<Heard, Failure> {
        let beat = ConsumerHeartbeat { epoch, owned: Some(held), ..self.beat };
        let group = beat.group.clone();
        match Groups::consumer_heartbeat(&*self.door.broker, beat).await {
            Ok(beat) => Ok(Heard::Beat(beat)),
            Err(error) => match error.kind {
                ErrorKind::Group(GroupError::UnknownMemberId | GroupError::FencedMemberEpoch) => {
                    Ok(Heard::Fenced(error))
                }
                ErrorKind::NotLeader
                | ErrorKind::LeaderNotAvailable
                | ErrorKind::Throttled
                | ErrorKind::StorageError
                | ErrorKind::TimedOut => Ok(Heard::Retry(error)),
                _ => Err(Failure::from(error).with("group", group)),
            },
        }
    }

    /// Leaves the group; a static member as one that will be back.
    pub(crate) async fn leave(self) {
        let epoch = if self.beat.instance_id.is_some() { LEAVE_FOR_NOW } else { LEAVE };
        let beat = ConsumerHeartbeat { epoch, owned: None, ..self.beat };
        let group = beat.group.clone();
        if let Err(error) = Groups::consumer_heartbeat(&*self.door.broker, beat).await {
            tracing::debug!(group, %error, "a session could not leave its group, which will miss it");
        }
    }

    /// Commits; what became of each offset, in order.
    pub(crate) async fn commit(self, epoch: i32, offsets: Vec<CommitOffset>) -> Vec<Result<(), Error>> {
        let count = offsets.len();
        if count == 0 {
            return Vec::new();
        }
        let ConsumerHeartbeat { group, member_id, instance_id, .. } = self.beat;
        let member = Membership { generation: epoch, member_id, instance_id };
        let commit = CommitOffsets { group, member, knows_epochs: true, retention: None, offsets };
        let committed = Groups::commit_offsets(&*self.door.broker, commit).await;
        committed.unwrap_or_else(|error| vec![Err(error); count])
    }

    /// Where granted partitions begin. Those that cannot be read now are left out: they are granted again.
    pub(crate) async fn begin(self, granted: Partitions) -> Result<Vec<(TopicId, Planned)>, Failure> {
        let mut topics = Vec::new();
        for (id, partitions) in granted.topics() {
            if let Ok(TopicDescription { name, .. }) =
                Cluster::describe_topic(&*self.door.broker, &TopicKey::Id(id), false).await
            {
                topics.push((id, name, partitions));
            }
        }
        let asked = topics.iter().map(|(_, name, partitions)| (name.clone(), partitions.clone())).collect();
        let fetch = FetchOffsets { group: self.beat.group.clone(), topics: Some(asked), member: None };
        let Ok(committed) = Groups::fetch_offsets(&*self.door.broker, fetch).await else { return Ok(Vec::new()) };
        // In the order asked, which is how they are answered.
        let ids: Vec<TopicId> =
            topics.iter().flat_map(|(id, _, partitions)| std::iter::repeat_n(*id, partitions.len())).collect();
        let found = ids.into_iter().zip(committed).map(|(id, committed)| {
            let wanted = if committed.offset < 0 { self.start } else { Named::Offset(committed.offset) };
            self.one(id, committed.topic, committed.partition, wanted)
        });
        let mut planned = Vec::new();
        let mut found = stream::iter(found).buffered(AT_ONCE);
        while let Some(one) = found.next().await {
            planned.extend(one?);
        }
        Ok(planned)
    }

    async fn one(
        &self,
        id: TopicId,
        topic: String,
        partition: i32,
        wanted: Named,
    ) -> Result<Option<(TopicId, Planned)>, Failure> {
        let key = TopicKey::Id(id);
        let found = find(&self.door, &key, partition, wanted).await;
        let begin = found.and_then(|place| Ok((place, within(place.bounds, place.offset, self.policy)?)));
        match begin {
            Ok((place, start)) => {
                let wanted = Some(place.offset).filter(|wanted| *wanted < start);
                let high_watermark = place.bounds.high_watermark;
                let goal = Goal { topic, partition, start, wanted, high_watermark, ..Goal::default() };
                Ok(Some((id, Planned { goal, topic: key })))
            }
            Err(failure) if failure.code == Code::OutOfRange => Err(failure.at(&topic, partition)),
            Err(failure) => {
                tracing::debug!(topic, partition, error = failure.message, "a granted partition cannot be read now");
                Ok(None)
            }
        }
    }
}

/// Leaves the group when the session is cut.
pub(crate) struct Leaving(Option<Seat>);

impl Leaving {
    pub(crate) const fn new(seat: Seat) -> Self {
        Self(Some(seat))
    }

    /// Leaves now.
    pub(crate) async fn now(mut self) {
        if let Some(seat) = self.0.take() {
            seat.leave().await;
        }
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if let (Some(seat), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(seat.leave());
        }
    }
}
