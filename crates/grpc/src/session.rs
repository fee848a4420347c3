//! What every kind of session shares: a task that makes the replies, and an end that comes whatever the client does.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Status, Streaming};
use tracing::Instrument;

use crate::door::Door;
use crate::error::Failure;

/// Replies that may wait for the client, beside what HTTP/2 buffers: the one that is next.
const WAITING: usize = 1;

/// Time after the grace in which a session may still end by itself: clients that do not read are cut then.
const OVERTIME: Duration = Duration::from_millis(500);

/// Largest message that a client takes if it does not say: stock clients refuse more than 4 MiB.
const MAX_FRAME: usize = 1 << 20;

/// The least that it may take.
const MIN_FRAME: usize = 1024;

/// Runs `session` as a task that ends with the stream of its replies, or when its time is over.
pub(crate) fn start<T, F>(
    door: Arc<Door>,
    session: impl FnOnce(Outbox<T>, Life) -> F,
) -> BoxStream<'static, Result<T, Status>>
where
    T: Send + 'static,
    F: Future<Output = Result<(), Status>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(WAITING);
    let life = Life { drain_at: Instant::now() + door.options.max_session_age, door, end_at: None };
    let cut = life.cut();
    let running = session(Outbox(sender), life);
    let task = async move {
        tokio::select! {
            ended = running => ended,
            // Nobody reads the replies, so nobody reads a status.
            () = cut => Ok(()),
        }
    };
    let task = AbortOnDropHandle::new(tokio::spawn(task.in_current_span()));
    stream::unfold((receiver, Some(task)), |(mut receiver, mut task)| async move {
        if let Some(reply) = receiver.recv().await {
            return Some((Ok(reply), (receiver, task)));
        }
        let ended = task.take()?.await;
        let failed = ended.unwrap_or_else(|panic| {
            tracing::error!(%panic, "a session failed: this is a defect");
            Err(Status::internal("the session failed"))
        });
        failed.err().map(|status| (Err(status), (receiver, None)))
    })
    .boxed()
}

/// Where a session puts its replies.
pub(crate) struct Outbox<T>(mpsc::Sender<T>);

impl<T> Outbox<T> {
    /// Waits until the client has taken what was sent before. A client that left ends the session's task, so nobody
    /// is told here.
    pub(crate) async fn send(&self, reply: T) {
        drop(self.0.send(reply).await);
    }

    /// A place for one reply, once the client has taken what was sent before; `None` when it has left.
    pub(crate) async fn place(&self) -> Option<mpsc::Permit<'_, T>> {
        self.0.reserve().await.ok()
    }
}

/// The outcome of what is under way, once; for ever pending when nothing is. Dropping the future loses nothing.
pub(crate) async fn resolved<T>(under_way: &mut Option<BoxFuture<'static, T>>) -> T {
    let Some(future) = under_way else { return std::future::pending().await };
    let outcome = future.await;
    *under_way = None;
    outcome
}

/// How long a session may go on.
pub(crate) struct Life {
    pub(crate) door: Arc<Door>,
    drain_at: Instant,
    end_at: Option<Instant>,
}

impl Life {
    /// Resolves when the session is to drain: the broker is about to stop, or it is old. Never once it drains.
    pub(crate) async fn drain_due(&self) {
        if self.end_at.is_some() {
            return std::future::pending().await;
        }
        due(&self.door, self.drain_at).await;
    }

    /// The session drains from now on; the grace in milliseconds.
    pub(crate) fn drain(&mut self) -> u32 {
        let grace = self.door.options.drain_grace;
        self.end_at = Some(Instant::now() + grace);
        u32::try_from(grace.as_millis()).unwrap_or(u32::MAX)
    }

    pub(crate) fn draining(&self) -> bool {
        self.end_at.is_some()
    }

    /// Resolves when the grace is over.
    pub(crate) async fn over(&self) {
        match self.end_at {
            Some(end_at) => tokio::time::sleep_until(end_at).await,
            None => std::future::pending().await,
        }
    }

    /// Resolves when the session must be gone, whatever it is doing.
    fn cut(&self) -> impl Future<Output = ()> + Send + 'static {
        let (door, drain_at) = (Arc::clone(&self.door), self.drain_at);
        async move {
            due(&door, drain_at).await;
            tokio::time::sleep(door.options.drain_grace + OVERTIME).await;
        }
    }
}

async fn due(door: &Door, drain_at: Instant) {
    tokio::select! {
        () = door.draining.triggered() => {}
        () = tokio::time::sleep_until(drain_at) => {}
    }
}

/// The first message of a session, which has to come soon.
pub(crate) async fn first<T>(door: &Door, requests: &mut Streaming<T>) -> Result<T, Status> {
    let patience = door.options.patience;
    let first = tokio::time::timeout(patience, requests.message()).await;
    let first = first.map_err(|_| Failure::invalid(format!("no `open` came for {patience:?}")))??;
    Ok(first.ok_or_else(|| Failure::invalid("the session ended before its `open`"))?)
}

/// Largest message that the client takes.
pub(crate) fn max_frame(door: &Door, wanted: Option<u32>) -> Result<usize, Failure> {
    let Some(wanted) = wanted else { return Ok(MAX_FRAME) };
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
    if wanted < MIN_FRAME {
        return Err(Failure::invalid(format!("max_frame_bytes must be at least {MIN_FRAME}")));
    }
    Ok(wanted.min(door.options.max_message_bytes.max(MAX_FRAME)))
}
