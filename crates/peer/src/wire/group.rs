//! What coordinators are asked, as JSON: these requests are small and rare beside those for records.

use bytes::Bytes;
use runnel_api::error::Result;
use runnel_api::groups::{
    CommitOffsets, CommittedOffset, ConsumerBeat, ConsumerHeartbeat, DeleteOffsets, DescribedConsumerGroup,
    DescribedGroup, FetchOffsets, Heartbeat, JoinGroup, JoinOutcome, LeaveGroup, ListedGroup, SyncGroup, Synced,
};
use runnel_api::{Error, ErrorKind, Groups};
use runnel_proto::peer::v1 as pb;
use runnel_proto::peer::v1::group_response::Outcome;
use serde::{Deserialize, Serialize};

use super::error::{self, Failed};
use super::malformed;

/// A call of [`Groups`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Call {
    /// To join.
    Join(JoinGroup),
    /// For an assignment.
    Sync(SyncGroup),
    /// A sign of life.
    Heartbeat(Heartbeat),
    /// The same in the consumer protocol.
    ConsumerHeartbeat(ConsumerHeartbeat),
    /// To remove members.
    Leave(LeaveGroup),
    /// To commit offsets.
    Commit(CommitOffsets),
    /// For committed offsets.
    FetchOffsets(FetchOffsets),
    /// To delete them.
    DeleteOffsets(DeleteOffsets),
    /// For all groups that are coordinated there.
    List,
    /// For one of the classic protocol.
    Describe(String),
    /// For one of the consumer protocol.
    DescribeConsumer(String),
    /// To delete one.
    Delete(String),
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// To [`Call::Join`].
    Joined(JoinOutcome),
    /// To [`Call::Sync`].
    Synced(Synced),
    /// To what has no more to say.
    Done,
    /// To [`Call::ConsumerHeartbeat`].
    Beat(ConsumerBeat),
    /// To what has many parts: what became of each.
    Each(Vec<std::result::Result<(), Failed>>),
    /// To [`Call::FetchOffsets`].
    Offsets(Vec<CommittedOffset>),
    /// To [`Call::List`].
    Listed(Vec<ListedGroup>),
    /// To [`Call::Describe`].
    Described(DescribedGroup),
    /// To [`Call::DescribeConsumer`].
    DescribedConsumer(DescribedConsumerGroup),
}

/// Makes a call.
pub async fn call(groups: &(impl Groups + ?Sized), call: Call) -> Result<Answer> {
    let each = |all: Vec<Result<()>>| Answer::Each(all.into_iter().map(|one| one.map_err(Failed::from)).collect());
    match call {
        Call::Join(join) => groups.join_group(join).await.map(Answer::Joined),
        Call::Sync(sync) => groups.sync_group(sync).await.map(Answer::Synced),
        Call::Heartbeat(beat) => groups.heartbeat(beat).await.map(|()| Answer::Done),
        Call::ConsumerHeartbeat(beat) => groups.consumer_heartbeat(beat).await.map(Answer::Beat),
        Call::Leave(leave) => groups.leave_group(leave).await.map(each),
        Call::Commit(commit) => groups.commit_offsets(commit).await.map(each),
        Call::FetchOffsets(fetch) => groups.fetch_offsets(fetch).await.map(Answer::Offsets),
        Call::DeleteOffsets(delete) => groups.delete_offsets(delete).await.map(each),
        Call::List => groups.list_groups().await.map(Answer::Listed),
        Call::Describe(group) => groups.describe_group(&group).await.map(Answer::Described),
        Call::DescribeConsumer(group) => groups.describe_consumer_group(&group).await.map(Answer::DescribedConsumer),
        Call::Delete(group) => groups.delete_group(&group).await.map(|()| Answer::Done),
    }
}

impl Call {
    /// The group that it is about; `None` if all are asked for.
    pub fn group(&self) -> Option<&str> {
        Some(match self {
            Self::Join(join) => &join.group,
            Self::Sync(sync) => &sync.group,
            Self::Heartbeat(beat) => &beat.group,
            Self::ConsumerHeartbeat(beat) => &beat.group,
            Self::Leave(leave) => &leave.group,
            Self::Commit(commit) => &commit.group,
            Self::FetchOffsets(fetch) => &fetch.group,
            Self::DeleteOffsets(delete) => &delete.group,
            Self::List => return None,
            Self::Describe(group) | Self::DescribeConsumer(group) | Self::Delete(group) => group,
        })
    }

    /// Whether members wait for each other in it, for as long as they said themselves.
    pub fn is_patient(&self) -> bool {
        matches!(self, Self::Join(_) | Self::Sync(_))
    }
}

/// Each kind of answer as what the call of [`Groups`] returns.
impl Answer {
    pub(crate) fn joined(self) -> Result<JoinOutcome> {
        if let Self::Joined(joined) = self { Ok(joined) } else { Err(self.unexpected()) }
    }

    pub(crate) fn synced(self) -> Result<Synced> {
        if let Self::Synced(synced) = self { Ok(synced) } else { Err(self.unexpected()) }
    }

    pub(crate) fn done(self) -> Result<()> {
        if self == Self::Done { Ok(()) } else { Err(self.unexpected()) }
    }

    pub(crate) fn beat(self) -> Result<ConsumerBeat> {
        if let Self::Beat(beat) = self { Ok(beat) } else { Err(self.unexpected()) }
    }

    pub(crate) fn each(self) -> Result<Vec<Result<()>>> {
        match self {
            Self::Each(each) => Ok(each.into_iter().map(|one| one.map_err(Error::from)).collect()),
            other => Err(other.unexpected()),
        }
    }

    pub(crate) fn offsets(self) -> Result<Vec<CommittedOffset>> {
        if let Self::Offsets(offsets) = self { Ok(offsets) } else { Err(self.unexpected()) }
    }

    pub(crate) fn listed(self) -> Result<Vec<ListedGroup>> {
        if let Self::Listed(listed) = self { Ok(listed) } else { Err(self.unexpected()) }
    }

    pub(crate) fn described(self) -> Result<DescribedGroup> {
        if let Self::Described(group) = self { Ok(group) } else { Err(self.unexpected()) }
    }

    pub(crate) fn described_consumer(self) -> Result<DescribedConsumerGroup> {
        if let Self::DescribedConsumer(group) = self { Ok(group) } else { Err(self.unexpected()) }
    }

    fn unexpected(&self) -> Error {
        Error::new(ErrorKind::Internal, format!("a group coordinator answered something else: {self:?}"))
    }
}

/// A call for the wire.
pub fn request(call: &Call) -> Result<pb::GroupRequest> {
    Ok(pb::GroupRequest { request: json(call)? })
}

/// A call from the wire.
pub fn requested(request: &pb::GroupRequest) -> Result<Call> {
    serde_json::from_slice(&request.request).map_err(|error| malformed(&format!("a group request in it ({error})")))
}

/// An answer for the wire.
pub fn answer(outcome: Result<Answer>) -> pb::GroupResponse {
    let outcome = match outcome.and_then(|answer| json(&answer)) {
        Ok(reply) => Outcome::Reply(reply),
        Err(failed) => Outcome::Error(error::encode(failed)),
    };
    pb::GroupResponse { outcome: Some(outcome) }
}

/// An answer from the wire.
pub fn answered(response: pb::GroupResponse) -> Result<Answer> {
    match response.outcome {
        Some(Outcome::Reply(reply)) => {
            serde_json::from_slice(&reply).map_err(|error| malformed(&format!("a group answer in it ({error})")))
        }
        Some(Outcome::Error(failed)) => Err(error::decode(failed)),
        None => Err(malformed("no answer")),
    }
}

fn json(value: &impl Serialize) -> Result<Bytes> {
    let written = serde_json::to_vec(value);
    written.map(Bytes::from).map_err(|error| Error::new(ErrorKind::Internal, format!("cannot be written: {error}")))
}
