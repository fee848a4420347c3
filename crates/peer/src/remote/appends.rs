//! Appends on their way to one broker: all on one stream, because calls of their own could overtake each other.

use std::collections::BTreeMap;
use std::time::Duration;

use runnel_api::{Error, ErrorKind, ProduceRequest, ProducedPartition};
use runnel_proto::peer::v1::{self as pb, peer_service_client::PeerServiceClient};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use crate::wire;

/// Requests that may wait in front of the stream, and in it. Their bytes are bounded by the front doors.
const WAITING: usize = 1024;
const UNDERWAY: usize = 16;

/// What a leader may take beyond the time that the producer gives it.
const SLACK: Duration = Duration::from_secs(5);

struct Append {
    request: pb::ProduceRequest,
    answer: oneshot::Sender<pb::ProduceResponse>,
}

/// The way to one broker.
pub(super) struct Appends {
    name: String,
    queue: mpsc::Sender<Append>,
}

impl Appends {
    pub(super) fn new(name: String, channel: Channel) -> Self {
        let (queue, queued) = mpsc::channel(WAITING);
        let client = super::client(channel);
        tokio::spawn(run(name.clone(), client, queued));
        Self { name, queue }
    }

    /// Appends. The first poll decides the place in the queue, and with it the order in which the leader begins.
    pub(super) async fn append(&self, request: ProduceRequest) -> Vec<ProducedPartition> {
        let limit = request.timeout + SLACK;
        let (answer, answered) = oneshot::channel();
        let append = Append { request: wire::produce::request(&request), answer };
        let parts: Vec<_> = request.partitions.into_iter().map(|part| (part.topic, part.partition)).collect();
        let asked = async {
            // A task that has done much may be told to come again, and would lose its place.
            tokio::task::unconstrained(self.queue.send(append)).await.ok()?;
            answered.await.ok()
        };
        let failure = match tokio::time::timeout(limit, asked).await {
            Ok(Some(response)) => return wire::produce::answered(response, parts),
            Ok(None) => Error::new(
                ErrorKind::NotLeader,
                format!("the connection to the leader at {} broke: the records may be stored", self.name),
            ),
            Err(_) => Error::new(
                ErrorKind::TimedOut,
                format!("the leader at {} did not answer in time: the records may be stored", self.name),
            ),
        };
        let failed = |(topic, partition)| ProducedPartition { topic, partition, outcome: Err(failure.clone()) };
        parts.into_iter().map(failed).collect()
    }
}

/// Carries appends until nobody has any more. What is on a stream that breaks fails; what comes then begins another one.
async fn run(name: String, mut client: PeerServiceClient<Channel>, mut queue: mpsc::Receiver<Append>) {
    while let Some(first) = next(&mut queue).await {
        if let Err(status) = carry(&mut client, first, &mut queue).await {
            tracing::debug!(name, %status, "the stream of appends to another broker ended");
        }
    }
}

/// The next append that somebody still waits for: one that was given up is not made late.
async fn next(queue: &mut mpsc::Receiver<Append>) -> Option<Append> {
    loop {
        let append = queue.recv().await?;
        if !append.answer.is_closed() {
            return Some(append);
        }
    }
}

/// One stream, until it ends. Dropping what waits for an answer tells whoever asked.
async fn carry(
    client: &mut PeerServiceClient<Channel>,
    first: Append,
    queue: &mut mpsc::Receiver<Append>,
) -> Result<(), tonic::Status> {
    let (outgoing, stream) = mpsc::channel(UNDERWAY);
    let mut unanswered = Unanswered::default();
    if outgoing.send(unanswered.add(first)).await.is_err() {
        return Ok(());
    }
    let mut answers = client.produce(ReceiverStream::new(stream)).await?.into_inner();
    loop {
        let next = async {
            let room = outgoing.reserve().await.ok()?;
            Some((room, next(queue).await?))
        };
        tokio::select! {
            answer = answers.message() => match answer? {
                Some(answer) => unanswered.settle(answer),
                None => return Ok(()),
            },
            next = next => match next {
                Some((room, append)) => room.send(unanswered.add(append)),
                None => return Ok(()),
            },
        }
    }
}

/// Appends that are not answered, by the number that the answer bears.
#[derive(Default)]
struct Unanswered {
    last: u64,
    waiting: BTreeMap<u64, oneshot::Sender<pb::ProduceResponse>>,
}

impl Unanswered {
    fn add(&mut self, append: Append) -> pb::ProduceRequest {
        self.last += 1;
        self.waiting.insert(self.last, append.answer);
        pb::ProduceRequest { id: self.last, ..append.request }
    }

    fn settle(&mut self, answer: pb::ProduceResponse) {
        if let Some(waiting) = self.waiting.remove(&answer.id) {
            // Whoever lost patience does not want to hear it any more.
            drop(waiting.send(answer));
        }
    }
}
