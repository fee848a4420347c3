//! One connection: requests are started in the order they came and answered in that order.
//!
//! Three loops run side by side in one task. The reader takes frames off the socket, starts each request (its first poll,
//! which fixes the order of appends, happens here) and queues it; the second lets those go on that were not done at once,
//! whatever the others do, so a long poll delays no later request, only its reply; the writer writes the reply to the
//! oldest. Answers that are many times larger than their requests, and changes by administrators, the reader waits for:
//! unread replies must not pile up, and the next request sees the change. Large answers that cannot be waited for, of
//! members of groups, are bounded in number. The queue is bounded by `max_inflight_requests` and by bytes.
//!
//! A task for each request would cost more than most requests: a thread is woken to look at it, and another that it ends.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::future::BoxFuture;
use runnel_runtime::Shutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tracing::Instrument;

use crate::context::Context;
use crate::dispatch::{self, Unanswerable};
use crate::frame::{Ended, Frame, Reader};
use crate::handover::Handover;
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

/// Answers of a connection that come late and may be of megabytes: with so many begun and not written, the next such
/// request waits. Clients ask for one at a time.
const LATE_ANSWERS: usize = 5;

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
    Running(BoxFuture<'static, Reply>),
}

/// Held until the reply is written.
struct Held {
    /// The bound on unanswered requests.
    _permit: OwnedSemaphorePermit,
    /// Its part of [`UNWRITTEN`].
    _bytes: Option<OwnedSemaphorePermit>,
    /// Its place among [`LATE_ANSWERS`].
    _place: Option<OwnedSemaphorePermit>,
}

type Queued = (Started, Held);
type Answered = (Reply, Held);

/// Serves the requests that come from `from` until the connection ends; says why it did.
pub(crate) async fn run(
    from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    ctx: Arc<Context>,
    shutdown: Shutdown,
) -> End {
    let (queue, answers) = (Handover::new(), Handover::new());
    let patience = ctx.options.idle_timeout;
    let mut reading = std::pin::pin!(async {
        tokio::select! {
            Err(end) = read(from, &ctx, &queue) => end,
            () = shutdown.triggered() => End::Shutdown,
        }
    });
    let mut answering = std::pin::pin!(async {
        let mut writing = std::pin::pin!(write(&mut to, &answers, patience));
        tokio::select! {
            biased;
            () = finish(&ctx, &queue, &answers) => writing.await,
            end = &mut writing => end,
        }
    });
    let end = tokio::select! {
        // Each finds what the one before it has for it.
        biased;
        end = &mut reading => end,
        // The writer ends by itself only when the connection cannot go on.
        end = &mut answering => return end.unwrap_or(End::Frames(Ended::Closed)),
    };
    // The others end after the last reply.
    queue.end();
    match tokio::time::timeout(DRAIN, answering).await {
        Ok(Some(failed)) if !matches!(end, End::Frames(Ended::Closed)) => failed,
        _ => end,
    }
}

/// Reads and starts requests until the connection has to end.
async fn read(from: impl AsyncRead + Unpin, ctx: &Arc<Context>, queue: &Handover<Queued>) -> Result<Infallible, End> {
    let max = ctx.options.max_inflight_requests.min(Semaphore::MAX_PERMITS);
    let slots = Arc::new(Semaphore::new(max));
    let unwritten = Arc::new(Semaphore::new(UNWRITTEN as usize));
    let late = Arc::new(Semaphore::new(LATE_ANSWERS));
    let busy = || slots.available_permits() < max;
    let mut reader = Reader::new(from, ctx.options.max_frame_bytes, ctx.options.idle_timeout);
    loop {
        let frame = reader.next(&ctx.budget, busy).await?;
        let Ok(permit) = Arc::clone(&slots).acquire_owned().await else { return Err(End::Shutdown) };
        let (request, place) = start(ctx, frame, &late).await?;
        let (request, bytes) = match request {
            Started::Done(mut reply) => {
                let bytes = count(ctx, &mut reply);
                (Started::Done(reply), bytes)
            }
            running @ Started::Running(_) => (running, 0),
        };
        let bytes = match bytes {
            0 => None,
            bytes => Arc::clone(&unwritten).acquire_many_owned(bytes).await.ok(),
        };
        queue.put((request, Held { _permit: permit, _bytes: bytes, _place: place }));
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
async fn start(
    ctx: &Arc<Context>,
    frame: Frame,
    late: &Arc<Semaphore>,
) -> Result<(Started, Option<OwnedSemaphorePermit>), Unanswerable> {
    let begun = Instant::now();
    let Frame { bytes, mut lease } = frame;
    let checked = dispatch::check(bytes, ctx.budget.limit())?;
    if checked.overhead > 0 {
        ctx.budget.grow(&mut lease, checked.overhead).await;
    }
    let place = if checked.may_be_large() { Arc::clone(late).acquire_owned().await.ok() } else { None };
    let (api, in_turn) = (checked.api, checked.waits_its_turn());
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
    if let Poll::Ready(reply) = futures::poll!(tokio::task::unconstrained(&mut request)) {
        return Ok((Started::Done(reply), place));
    }
    if in_turn {
        // Its reply must be there before the next request is begun, to be counted.
        return Ok((Started::Done(request.await), place));
    }
    Ok((Started::Running(request), place))
}

/// Lets requests go on to their ends and passes the answers on in order; ends after the last.
///
/// Every one is polled when any of them is woken: there are few, and `FuturesOrdered` would have the task run once more
/// after each turn.
async fn finish(ctx: &Context, queue: &Handover<Queued>, answers: &Handover<Answered>) {
    let mut begun: VecDeque<Queued> = VecDeque::new();
    poll_fn(|cx| {
        let ended = loop {
            match queue.poll_take() {
                Poll::Ready(Some(queued)) => begun.push_back(queued),
                Poll::Ready(None) => break true,
                Poll::Pending => break false,
            }
        };
        for (request, _) in &mut begun {
            if let Started::Running(running) = request
                && let Poll::Ready(mut reply) = running.as_mut().poll(cx)
            {
                count(ctx, &mut reply);
                *request = Started::Done(reply);
            }
        }
        while let Some((Started::Done(reply), held)) =
            begun.pop_front_if(|(first, _)| matches!(first, Started::Done(_)))
        {
            answers.put((reply, held));
        }
        if ended && begun.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    answers.end();
}

/// Writes replies in order until the queue ends (`None`) or the connection has to.
async fn write(to: &mut (impl AsyncWrite + Unpin), answers: &Handover<Answered>, patience: Duration) -> Option<End> {
    while let Some((reply, _held)) = answers.take().await {
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
