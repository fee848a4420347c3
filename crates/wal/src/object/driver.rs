//! The task that does what the machine of a lane says.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use runnel_blob::{Bucket, Created, Key};
use runnel_format::wal::{LaneHeader, SLOT_HEADER_LEN, SlotHeader, SlotKind};
use runnel_guard::{Guard, holds};
use runnel_runtime::{FailPoints, Injected};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::draft::Draft;
use super::event::{Effect, Input, Placed, Trimmed};
use super::header;
use super::lane::Lane;
use super::options::ObjectLaneIdentity;
use crate::Error;
use crate::metrics;

/// Pause after a request that failed; doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Deletes in flight.
const PARALLEL_DELETES: usize = 8;

/// What the handles and the task of a lane share. The lock is never held across an await.
pub(crate) struct Shared {
    pub(crate) bucket: Bucket,
    pub(crate) identity: ObjectLaneIdentity,
    pub(crate) fail: FailPoints,
    lane: Mutex<Lane>,
    /// The machine was asked for something.
    pub(crate) changed: Notify,
    /// Set when the task is gone.
    pub(crate) ended: watch::Sender<bool>,
}

impl Shared {
    pub(crate) fn new(bucket: Bucket, identity: ObjectLaneIdentity, fail: FailPoints, lane: Lane) -> Self {
        let (lane, changed, ended) = (Mutex::new(lane), Notify::new(), watch::Sender::new(false));
        Self { bucket, identity, fail, lane, changed, ended }
    }

    pub(crate) fn lane(&self) -> MutexGuard<'_, Lane> {
        // A panic while the lock is held leaves the data as consistent as an early return would.
        self.lane.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the machine take in `input`.
    fn step(&self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        let pressure = {
            let mut lane = self.lane();
            lane.on(Instant::now(), input, &mut effects);
            lane.pressure()
        };
        metrics::object_lane(pressure.unflushed_bytes, pressure.unshipped_bytes);
        effects
    }
}

/// Ends the lane when the task goes, in whatever way: also a panic, or a runtime that stops.
struct AtEnd(Arc<Shared>);

impl Drop for AtEnd {
    fn drop(&mut self) {
        self.0.lane().stop("the writer has stopped");
        for effect in self.0.step(Input::Due) {
            if let Effect::Failed(waiting) = effect {
                waiting.failed();
            }
        }
        self.0.ended.send_replace(true);
    }
}

type Work = FuturesUnordered<BoxFuture<'static, Result<Input, Injected>>>;

/// Runs a lane until it has ended or was closed and all is done.
pub(crate) async fn run(shared: Arc<Shared>) {
    let _at_end = AtEnd(Arc::clone(&shared));
    let mut work = Work::new();
    let mut input = Input::Due;
    loop {
        for effect in shared.step(input) {
            perform(&shared, effect, &mut work);
        }
        let (finished, wake) = {
            let lane = shared.lane();
            (lane.is_finished(), lane.wake_at())
        };
        if finished {
            return;
        }
        let alarm = async {
            match wake {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        input = tokio::select! {
            biased;
            Some(done) = work.next() => match done {
                Ok(input) => input,
                Err(injected) => {
                    tracing::warn!(%injected, "the writer of an object lane stops");
                    return;
                }
            },
            () = shared.changed.notified() => Input::Due,
            () = alarm => Input::Due,
        };
    }
}

fn perform(shared: &Arc<Shared>, effect: Effect, work: &mut Work) {
    let shared = Arc::clone(shared);
    match effect {
        Effect::Durable(waiting) => waiting.durable(),
        Effect::Failed(waiting) => {
            let reason = shared.lane().check_open().err().map(|error| error.to_string()).unwrap_or_default();
            tracing::warn!(lane = %shared.identity.lane, reason, "an object lane has ended with entries pending");
            waiting.failed();
        }
        Effect::Put(draft) => work.push(Box::pin(put(shared, draft))),
        Effect::Trim(pointer) => work.push(Box::pin(trim(shared, pointer))),
        Effect::Delete(slots) => work.push(Box::pin(async move {
            let lane = shared.identity.lane;
            let deletes = slots.clone().map(|slot| {
                let bucket = shared.bucket.clone();
                async move { until_answered("deleting a slot", || delete(&bucket, lane, slot)).await }
            });
            let outcomes: Vec<_> = futures::stream::iter(deletes).buffered(PARALLEL_DELETES).collect().await;
            for error in outcomes.into_iter().filter_map(Result::err) {
                tracing::warn!(%error, "a slot that is not needed stays behind; the janitor takes it");
            }
            shared.fail.hit("wal.object.trim.deleted")?;
            Ok(Input::Deleted(slots.end))
        })),
    }
}

async fn delete(bucket: &Bucket, lane: uuid::Uuid, slot: u64) -> Result<(), Error> {
    Ok(bucket.delete(&Key::Slot { lane, slot }).await?)
}

/// Writes a slot, the same bytes for as long as it takes.
async fn put(shared: Arc<Shared>, draft: Draft) -> Result<Input, Injected> {
    let (lane, slot) = (shared.identity.lane, draft.slot);
    let parts = draft.encode(&shared.identity);
    drop(draft);
    let key = Key::Slot { lane, slot };
    let started = Instant::now();
    let created = until_answered("writing a slot", || async {
        if !holds(Guard::SlotIfAbsent) {
            shared.bucket.put(&key, parts.clone()).await?;
            return Ok(Created::Done);
        }
        Ok(shared.bucket.create(&key, &parts, SLOT_HEADER_LEN).await?)
    });
    let placed = match created.await {
        Ok(Created::Done) => {
            metrics::slot(parts.iter().map(|part| part.len() as u64).sum(), started.elapsed());
            shared.fail.hit("wal.object.put")?;
            Placed::Ours
        }
        Ok(Created::Taken(found)) => match SlotHeader::decode(&found, lane, slot) {
            Ok(SlotHeader { kind: SlotKind::Seal, .. }) => Placed::Sealed,
            _ => {
                tracing::error!(%lane, slot, "a slot of this lane holds what its only writer did not write");
                Placed::Lost(format!("slot {slot} holds what its only writer did not write").into())
            }
        },
        Err(error) => Placed::Lost(error.to_string().into()),
    };
    Ok(Input::Put(slot, placed))
}

/// Moves the trim pointer of a lane that is not sealed.
async fn trim(shared: Arc<Shared>, pointer: u64) -> Result<Input, Injected> {
    let lane = shared.identity.lane;
    let raised = until_answered("moving the trim pointer", || {
        header::update(&shared.bucket, lane, |found| {
            let open = found.filter(|header| header.end.is_none() && header.trim < pointer)?;
            Some(LaneHeader { trim: pointer, ..open.clone() })
        })
    });
    let trimmed = match raised.await {
        Ok(Some(LaneHeader { end: Some(_), .. })) => Trimmed::Sealed,
        Ok(Some(header)) => Trimmed::At(header.trim),
        Ok(None) => Trimmed::Lost(header::vanished(lane).to_string().into()),
        Err(error) => Trimmed::Lost(error.to_string().into()),
    };
    shared.fail.hit("wal.object.trim.recorded")?;
    Ok(Input::Trim(trimmed))
}

/// Does `request` until it is answered. An error comes back only if asking again cannot help.
async fn until_answered<T, F: Future<Output = Result<T, Error>>>(
    what: &'static str,
    mut request: impl FnMut() -> F,
) -> Result<T, Error> {
    let mut pause = FIRST_PAUSE;
    loop {
        match request().await {
            Err(error) if !is_final(&error) => {
                // The first failure is worth a line; an outage is not worth thousands.
                if pause == FIRST_PAUSE {
                    tracing::warn!(%error, what, "the bucket does not take a request of an object lane, trying on");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            answer => return answer,
        }
    }
}

/// Credentials and buckets are mended while brokers run, so hardly anything is final.
fn is_final(error: &Error) -> bool {
    match error {
        Error::Bucket(runnel_blob::Error::SyncFailed { .. }) => true,
        Error::Bucket(error) => {
            matches!(error.kind(), runnel_blob::ErrorKind::Invalid | runnel_blob::ErrorKind::Corrupt)
        }
        _ => true,
    }
}
