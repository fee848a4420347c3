//! One connection: requests are started in the order they came and answered in that order.
//!
//! Two loops run side by side. The reader takes frames off the socket, starts each request (its first poll, which
//! fixes the order of appends, happens here) and queues it; the writer waits for the oldest request and writes its
//! reply. A request that is not done at its first poll goes on as a task of its own, so a long poll delays no later
//! request, only its reply; but for those whose answers are many times larger than they are, and changes by
//! administrators, which the reader waits for: unread replies must not pile up, and the next request sees the change.
//! Large answers that cannot be waited for, of members of groups, are bounded in number. The queue is bounded by
//! `max_inflight_requests` and by bytes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use runnel_runtime::Shutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use crate::context::Context;
use crate::dispatch::{self, Unanswerable};
use crate::frame::{Ended, Frame, Reader};
use crate::metrics;
use crate::reply::Reply;

/// How long requests that were started may still be answered once the connection is to close.
const DRAIN: Duration = Duration::from_secs(5);

/// Replies from this size on count against [`UNWRITTEN`] and in the shared budget; smaller ones are bounded by the
/// number of requests.
const LARGE_REPLY: usize = 16 << 10;

/// Bytes of large replies that may wait to be written before the next request of the connection is started. A fetch
/// has a lease of its own. Without this, a client that asks for all metadata again and again and never reads would fill
/// the memory with replies.
const UNWRITTEN: u32 = 1 << 20;

/// Answers of a connection that come late and may be of megabytes: with one more than these begun and not written,
/// the next request waits. Clients ask for one at a time.
const LATE_ANSWERS: usize = 4;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    /// No more frames.
    #[error(transparent)]
    Frames(#[from] Ended),
    /// A request that has no answer.
    #[error(transparent)]
    Request(#[from] Unanswerable),
    /// A handler asked for it.
    #[error("{0}")]
    Asked(String),
    /// The client does not take its replies, or is gone.
    #[error("a reply could not be written")]
    Write(#[source] std::io::Error),
    /// The broker stops.
    #[error("the broker is stopping")]
    Shutdown,
}

/// A request that was started.
enum Started {
    Done(Reply),
    /// With its place among [`LATE_ANSWERS`], if it needs one.
    Running(AbortOnDropHandle<Reply>, Option<OwnedSemaphorePermit>),
}

struct Queued {
    request: Started,
    /// Held until the reply is written: the bound on unanswered requests.
    _permit: OwnedSemaphorePermit,
    /// The same of [`UNWRITTEN`].
    _bytes: Option<OwnedSemaphorePermit>,
}

/// Serves the requests that come from `from` until the connection ends; says why it did.
pub(crate) async fn run(
    from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    ctx: Arc<Context>,
    shutdown: Shutdown,
) -> End {
    let (queue, queued) = mpsc::unbounded_channel();
    let patience = ctx.options.idle_timeout;
    let mut reading = std::pin::pin!(async {
        tokio::select! {
            Err(end) = read(from, &ctx, queue) => end,
            () = shutdown.triggered() => End::Shutdown,
        }
    });
    let mut writing = std::pin::pin!(write(&mut to, queued, patience));
    let end = tokio::select! {
        end = &mut reading => end,
        // The writer ends by itself only when the connection cannot go on.
        end = &mut writing => return end.unwrap_or(End::Frames(Ended::Closed)),
    };
    // The reader has dropped its end of the queue; the writer ends after the last reply.
    match tokio::time::timeout(DRAIN, writing).await {
        Ok(Some(failed)) if !matches!(end, End::Frames(Ended::Closed)) => failed,
        _ => end,
    }
}

/// Reads and starts requests until the connection has to end.
async fn read(
    from: impl AsyncRead + Unpin,
    ctx: &Arc<Context>,
    queue: mpsc::UnboundedSender<Queued>,
) -> Result<Infallible, End> {
    let max = ctx.options.max_inflight_requests.min(Semaphore::MAX_PERMITS);
    let slots = Arc::new(Semaphore::new(max));
    let unwritten = Arc::new(Semaphore::new(UNWRITTEN as usize));
    let late = Arc::new(Semaphore::new(LATE_ANSWERS));
    let busy = || slots.available_permits() < max;
    let mut reader = Reader::new(from, ctx.options.max_frame_bytes, ctx.options.idle_timeout);
    loop {
        let frame = reader.next(&ctx.budget, busy).await?;
        let Ok(permit) = Arc::clone(&slots).acquire_owned().await else { return Err(End::Shutdown) };
        let mut request = start(ctx, frame, &late).await?;
        let bytes = match &mut request {
            Started::Done(reply) => count(ctx, reply),
            Started::Running(..) => 0,
        };
        let bytes = match bytes {
            0 => None,
            bytes => Arc::clone(&unwritten).acquire_many_owned(bytes).await.ok(),
        };
        if queue.send(Queued { request, _permit: permit, _bytes: bytes }).is_err() {
            return Err(End::Frames(Ended::Closed));
        }
    }
}

/// Counts a large reply in the budget, and tells how much of [`UNWRITTEN`] it takes: nothing if it comes late, because
/// replies behind it might have taken everything, and they are written after it.
fn count(ctx: &Context, reply: &mut Reply) -> u32 {
    let Reply::Send(rope) = reply else { return 0 };
    let length = rope.len();
    if length < LARGE_REPLY || rope.lease.is_some() {
        return 0;
    }
    let mut lease = ctx.budget.lease();
    ctx.budget.settle(&mut lease, length);
    rope.lease = Some(lease);
    u32::try_from(length).unwrap_or(u32::MAX).min(UNWRITTEN)
}

/// Starts a request: when this returns, the broker has seen it, and answered it if it is one that waits its turn.
async fn start(ctx: &Arc<Context>, frame: Frame, late: &Arc<Semaphore>) -> Result<Started, Unanswerable> {
    let begun = Instant::now();
    let Frame { bytes, mut lease } = frame;
    let checked = dispatch::check(bytes, ctx.budget.limit())?;
    if checked.overhead > 0 {
        ctx.budget.grow(&mut lease, checked.overhead).await;
    }
    let (api, in_turn, may_be_large) = (checked.api, checked.waits_its_turn(), checked.may_be_large());
    let answer = dispatch::answer(Arc::clone(ctx), checked)?;
    let mut request: BoxFuture<'static, Reply> = Box::pin(
        async move {
            let reply = answer.await;
            drop(lease);
            let error = if let Reply::Send(rope) = &reply { rope.error } else { 0 };
            metrics::request(api, error, begun.elapsed());
            reply
        }
        .instrument(tracing::debug_span!("request", api)),
    );
    // Without the limit on what a task does at a time: it would send an append away that has no place in the log yet.
    if let std::task::Poll::Ready(reply) = futures::poll!(tokio::task::unconstrained(&mut request)) {
        return Ok(Started::Done(reply));
    }
    if in_turn {
        // Its reply must be there before the next request is begun, to be counted.
        return Ok(Started::Done(request.await));
    }
    let ctx = Arc::clone(ctx);
    let running = tokio::spawn(async move {
        let mut reply = request.await;
        count(&ctx, &mut reply);
        reply
    });
    let running = AbortOnDropHandle::new(running);
    let place = if may_be_large { Arc::clone(late).acquire_owned().await.ok() } else { None };
    Ok(Started::Running(running, place))
}

/// Writes replies in order until the queue ends (`None`) or the connection has to.
async fn write(
    to: &mut (impl AsyncWrite + Unpin),
    mut queued: mpsc::UnboundedReceiver<Queued>,
    patience: Duration,
) -> Option<End> {
    while let Some(Queued { request, _permit, _bytes }) = queued.recv().await {
        let (reply, _place) = match request {
            Started::Done(reply) => (reply, None),
            Started::Running(task, place) => match task.await {
                Ok(reply) => (reply, place),
                Err(panic) => {
                    tracing::error!(%panic, "a request handler failed: this is a defect");
                    return Some(End::Asked("a request handler failed".to_owned()));
                }
            },
        };
        match reply {
            Reply::Nothing => {}
            Reply::Close(why) => return Some(End::Asked(why)),
            Reply::Send(rope) => {
                if let Err(error) = rope.write_to(to, patience).await {
                    return Some(End::Write(error));
                }
            }
        }
    }
    None
}
