//! Appends on their way to one broker: all on one stream, because calls of their own could overtake each other.

mod stream;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use runnel_api::{Error, ErrorKind, ProduceRequest, ProducedPartition};
use runnel_proto::peer::v1 as pb;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use crate::wire;

/// Requests that may wait in front of the stream, and in it.
const WAITING: usize = 1024;
const UNDERWAY: usize = 16;

/// Bytes of records that may be unanswered; a larger request goes alone. More wait where they are counted, with the front
/// doors, so that a slow leader does not take their memory for itself.
const UNANSWERED: u32 = 64 << 20;

/// What a leader may take beyond the time that the producer gives it.
const SLACK: Duration = Duration::from_secs(5);

struct Append {
    request: pb::ProduceRequest,
    answer: oneshot::Sender<pb::ProduceResponse>,
    /// Held until it is answered.
    room: OwnedSemaphorePermit,
}

/// The way to one broker.
pub(super) struct Appends {
    name: String,
    /// Held by the one who waits for room, so that nobody passes them.
    turn: Mutex<()>,
    room: Arc<Semaphore>,
    queue: mpsc::Sender<Append>,
}

impl Appends {
    pub(super) fn new(name: String, channel: Channel) -> Self {
        let (queue, queued) = mpsc::channel(WAITING);
        tokio::spawn(run(name.clone(), channel, queued));
        Self::on(queue, name)
    }

    fn on(queue: mpsc::Sender<Append>, name: String) -> Self {
        let room = Arc::new(Semaphore::new(usize::try_from(UNANSWERED).unwrap_or(usize::MAX)));
        Self { name, turn: Mutex::default(), room, queue }
    }

    /// Appends. The first poll decides the place in the queue, and with it the order in which the leader begins.
    pub(super) async fn append(&self, request: ProduceRequest) -> Vec<ProducedPartition> {
        let limit = request.timeout + SLACK;
        let (answer, answered) = oneshot::channel();
        let bytes: usize = request.partitions.iter().map(|part| part.records.len()).sum();
        let message = wire::produce::request(&request);
        let parts: Vec<_> = request.partitions.into_iter().map(|part| (part.topic, part.partition)).collect();
        let asked = async {
            // A task that has done much may be told to come again, and would lose its place.
            tokio::task::unconstrained(self.enter(message, bytes, answer)).await?;
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

impl Appends {
    /// Waits for room and goes into the queue. `None`: nobody carries it any more.
    async fn enter(
        &self,
        request: pb::ProduceRequest,
        bytes: usize,
        answer: oneshot::Sender<pb::ProduceResponse>,
    ) -> Option<()> {
        let _turn = self.turn.lock().await;
        let bytes = u32::try_from(bytes).unwrap_or(UNANSWERED).min(UNANSWERED);
        let room = Arc::clone(&self.room).acquire_many_owned(bytes).await.ok()?;
        self.queue.send(Append { request, answer, room }).await.ok()
    }
}

/// Carries appends until nobody has any more. What is on a stream that breaks fails; what comes then begins another one.
async fn run(name: String, mut channel: Channel, mut queue: mpsc::Receiver<Append>) {
    while let Some(first) = next(&mut queue).await {
        if let Err(status) = carry(&mut channel, first, &mut queue).await {
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
async fn carry(channel: &mut Channel, first: Append, queue: &mut mpsc::Receiver<Append>) -> Result<(), tonic::Status> {
    let (outgoing, requests) = mpsc::channel(UNDERWAY);
    let mut unanswered = Unanswered::default();
    if outgoing.send(unanswered.add(first)).await.is_err() {
        return Ok(());
    }
    let mut answers = stream::begin(channel, ReceiverStream::new(requests)).await?;
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
    waiting: BTreeMap<u64, (oneshot::Sender<pb::ProduceResponse>, OwnedSemaphorePermit)>,
}

impl Unanswered {
    fn add(&mut self, append: Append) -> pb::ProduceRequest {
        self.last += 1;
        self.waiting.insert(self.last, (append.answer, append.room));
        pb::ProduceRequest { id: self.last, ..append.request }
    }

    fn settle(&mut self, answer: pb::ProduceResponse) {
        if let Some((waiting, _room)) = self.waiting.remove(&answer.id) {
            // Whoever lost patience does not want to hear it any more.
            drop(waiting.send(answer));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use bytes::Bytes;
    use futures::poll;
    use runnel_api::{Acks, ProducePartition, TopicKey};

    use super::*;

    const MIB: usize = 1 << 20;

    fn request(partition: i32, bytes: usize) -> ProduceRequest {
        let (topic, records) = (TopicKey::Name("t".to_owned()), Bytes::from(vec![0; bytes]));
        let partitions = vec![ProducePartition { topic, partition, records, expected_offset: None }];
        ProduceRequest { acks: Acks::All, timeout: Duration::from_secs(60), partitions }
    }

    fn queued(queue: &mut mpsc::Receiver<Append>) -> Vec<(i32, Append)> {
        let numbered = |append: Append| (append.request.parts[0].partition.as_ref().unwrap().partition, append);
        std::iter::from_fn(|| queue.try_recv().ok()).map(numbered).collect()
    }

    fn numbers(queued: &[(i32, Append)]) -> Vec<i32> {
        queued.iter().map(|(number, _)| *number).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_answered_is_bounded_and_nobody_passes_who_waits() {
        let (sender, mut queue) = mpsc::channel(WAITING);
        let appends = Appends::on(sender, "there".to_owned());
        let sizes = [40, 20, 30, 1, 100, 1];
        let mut begun: Vec<_> =
            (0..).zip(sizes).map(|(n, mib)| Box::pin(appends.append(request(n, mib * MIB)))).collect();
        for append in &mut begun {
            assert!(poll!(append).is_pending());
        }
        let mut first = queued(&mut queue);
        assert_eq!(numbers(&first), [0, 1]);
        // The small one at the end would fit.
        drop(first.remove(1));
        begun.iter_mut().skip(2).rev().for_each(|append| assert!(futures::FutureExt::now_or_never(append).is_none()));
        assert!(queued(&mut queue).is_empty());
        drop(first);
        for append in begun.iter_mut().skip(2) {
            assert!(poll!(append).is_pending());
        }
        let second = queued(&mut queue);
        assert_eq!(numbers(&second), [2, 3]);
        drop(second);
        for append in begun.iter_mut().skip(4) {
            assert!(poll!(append).is_pending());
        }
        let alone = queued(&mut queue);
        assert_eq!(numbers(&alone), [4], "more than there is room for");
        drop(alone);
        assert!(poll!(&mut begun[5]).is_pending());
        assert_eq!(numbers(&queued(&mut queue)), [5]);
    }
}
