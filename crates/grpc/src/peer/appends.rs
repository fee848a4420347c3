//! Appends from another broker: begun in the order in which they come, answered as each is done.

use std::sync::Arc;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use runnel_peer::{Peer, wire};
use runnel_proto::peer::v1::{ProduceRequest, ProduceResponse};
use runnel_runtime::Shutdown;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

/// Answers that may wait to be sent.
const ANSWERS: usize = 64;

/// Bytes of one broker's appends that may be under way. A larger one comes alone.
const UNDERWAY: u32 = 64 << 20;

type Answers = mpsc::Sender<Result<ProduceResponse, Status>>;

/// Serves one stream. It ends after what came before `draining`: the other broker begins another one if it must.
pub(super) fn handle(
    own: Arc<dyn Peer>,
    requests: Streaming<ProduceRequest>,
    draining: Shutdown,
) -> BoxStream<'static, Result<ProduceResponse, Status>> {
    let (answers, answered) = mpsc::channel(ANSWERS);
    tokio::spawn(async move {
        tokio::select! {
            () = read(own, requests, &answers) => {}
            () = draining.triggered() => {}
        }
    });
    ReceiverStream::new(answered).boxed()
}

async fn read(own: Arc<dyn Peer>, mut requests: Streaming<ProduceRequest>, answers: &Answers) {
    let room = Arc::new(Semaphore::new(UNDERWAY as usize));
    // A connection that breaks takes the answers with it, not the appends.
    while let Ok(Some(request)) = requests.message().await {
        let bytes: usize = request.parts.iter().map(|part| part.records.len()).sum();
        let permits = u32::try_from(bytes).unwrap_or(UNDERWAY).min(UNDERWAY);
        let Ok(permit) = Arc::clone(&room).acquire_many_owned(permits).await else { return };
        begin(Arc::clone(&own), request, answers.clone(), permit).await;
    }
}

/// Polls an append once, which decides its place in the log, and leaves the rest to a task.
async fn begin(own: Arc<dyn Peer>, request: ProduceRequest, answers: Answers, permit: OwnedSemaphorePermit) {
    let id = request.id;
    let mut append: BoxFuture<'static, _> = Box::pin(async move {
        match wire::produce::requested(request) {
            Ok(request) => {
                let produced = own.produce(request).await;
                Ok(wire::produce::answer(id, produced.into_iter().map(|part| part.outcome)))
            }
            Err(malformed) => Err(Status::invalid_argument(malformed.message)),
        }
    });
    // Without the limit on what a task does at a time: it would send an append away that has no place in the log yet.
    let done = futures::poll!(tokio::task::unconstrained(&mut append));
    tokio::spawn(async move {
        let answer = match done {
            std::task::Poll::Ready(answer) => answer,
            std::task::Poll::Pending => append.await,
        };
        drop(permit);
        // Nobody waits for it if the stream is gone.
        drop(answers.send(answer).await);
    });
}
