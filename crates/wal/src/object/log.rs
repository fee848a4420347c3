//! The handle of an object lane that this session writes.

use std::sync::Arc;

use runnel_blob::{Bucket, CasOutcome, Key};
use runnel_format::wal::LaneHeader;
use runnel_record::{Offset, TopicId, TopicPartition};
use runnel_runtime::FailPoints;
use tokio::time::Instant;
use uuid::Uuid;

use super::driver::{self, Shared};
use super::header;
use super::lane::Lane;
use super::options::{ObjectLaneIdentity, ObjectOptions};
use super::read;
use crate::Error;
use crate::entry::{Entry, LaneSeq, Listener, Pressure, StoredBatch};

/// The object lane of this session. Cheap to clone. When the last clone is dropped without [`ObjectLog::close`], what
/// was not durable yet is reported as failed.
#[derive(Clone)]
pub struct ObjectLog(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    #[cfg(test)]
    task: tokio::task::AbortHandle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.lane().stop("the log was dropped");
        self.shared.changed.notify_one();
    }
}

impl ObjectLog {
    /// Starts a lane in `bucket`: makes its header, then a task that writes it. The caller has recorded the lane with
    /// its session (protocol §4.1 S1), so that whoever fences the session seals it. Saying it again after an error,
    /// with the same identity, is safe.
    ///
    /// # Errors
    /// `Fenced` if the lane was sealed before it was begun, `Unavailable` while the bucket does not answer.
    pub async fn open(
        bucket: Bucket,
        options: ObjectOptions,
        identity: ObjectLaneIdentity,
        fail: FailPoints,
    ) -> Result<Self, Error> {
        let ObjectLaneIdentity { lane, session, .. } = identity;
        let fresh = LaneHeader { lane, session, trim: 0, end: None };
        match bucket.create_register(&Key::LaneHeader { lane }, fresh.encode()).await? {
            CasOutcome::Done(_) => {}
            // An earlier attempt of ours may have made it.
            CasOutcome::Conflict(Some(found)) if header::decode(lane, &found)? == fresh => {}
            CasOutcome::Conflict(_) => return Err(Error::Fenced { lane }),
        }
        fail.hit("wal.object.header.created")?;
        let shared = Arc::new(Shared::new(bucket, identity, fail, Lane::new(lane, options)));
        let task = tokio::spawn(driver::run(Arc::clone(&shared)));
        #[cfg(not(test))]
        drop(task); // it ends with the lane
        Ok(Self(Arc::new(Inner {
            shared,
            #[cfg(test)]
            task: task.abort_handle(),
        })))
    }

    /// The lane that is written.
    pub fn lane(&self) -> Uuid {
        self.0.shared.identity.lane
    }

    /// Queues an entry. Never blocks. The listener hears, on the lane's task, when it is durable, or that the lane
    /// failed.
    ///
    /// # Errors
    /// `Throttled` past a limit, `Fenced` or `Closed` when the lane has ended, and `NotContiguous` if the entry does
    /// not continue its partition in its epoch. Nothing was queued then.
    pub fn append(&self, entry: Entry, listener: &Arc<dyn Listener>) -> Result<LaneSeq, Error> {
        let (seq, is_due) = self.0.shared.lane().append(Instant::now(), entry, listener)?;
        if is_due {
            self.0.shared.changed.notify_one();
        }
        Ok(seq)
    }

    /// Reads durable batches of `tp` that are not shipped yet, from the one that contains `from` on, those that start
    /// below `upto`, up to `max_bytes` but at least one. Empty at the end of the lane.
    ///
    /// # Errors
    /// `Absent` where the lane does not hold `from`, `Corrupt` where it cannot be read (what lies in front of a damaged
    /// batch is returned first), `Unavailable` while the bucket does not answer.
    pub async fn read(
        &self,
        tp: TopicPartition,
        from: Offset,
        upto: Offset,
        max_bytes: usize,
    ) -> Result<Vec<StoredBatch>, Error> {
        let shared = &self.0.shared;
        let plan = shared.lane().plan(tp, from, upto, max_bytes)?;
        read::read(&shared.bucket, self.lane(), &plan, from..upto, max_bytes).await
    }

    /// Entries of `tp` below `upto` are in the bucket as segments, and a root refers to them. Slots that nothing needs
    /// any more are deleted, in the background.
    pub fn shipped(&self, tp: TopicPartition, upto: Offset) {
        self.0.shared.lane().shipped(tp, upto);
        self.0.shared.changed.notify_one();
    }

    /// A partition goes on in another lane, and all that it has here is shipped. It may come back, further on in its epoch.
    pub fn leave(&self, tp: TopicPartition) {
        self.0.shared.lane().leave(tp);
    }

    /// The topic was deleted: nothing of it is needed any more.
    pub fn forget(&self, topic: TopicId) {
        self.0.shared.lane().forget(topic);
        self.0.shared.changed.notify_one();
    }

    /// How full the log is.
    pub fn pressure(&self) -> Pressure {
        self.0.shared.lane().pressure()
    }

    /// What should be shipped, due or not, so that the log has room: what pins its oldest slots (partitions, and the
    /// offset that each has to ship up to). Empty unless more than half of the limit is taken or an append does not
    /// get in.
    pub fn pressing(&self) -> Vec<(TopicPartition, Offset)> {
        self.0.shared.lane().pressing()
    }

    /// Whether the lane takes appends: false once it has failed or was closed.
    pub fn is_open(&self) -> bool {
        self.check_open().is_ok()
    }

    /// As [`ObjectLog::is_open`], with the reason.
    ///
    /// # Errors
    /// `Fenced` or `Closed`.
    pub fn check_open(&self) -> Result<(), Error> {
        self.0.shared.lane().check_open()
    }

    /// Writes what is queued, finishes trims, and stops. Reads still work. During an outage this waits for its end.
    /// The lane is not sealed by it: [`super::seal()`] does that.
    pub async fn close(&self) {
        self.0.shared.lane().close();
        self.0.shared.changed.notify_one();
        let mut ended = self.0.shared.ended.subscribe();
        // An error would mean that the sender is gone, and so is the task.
        drop(ended.wait_for(|ended| *ended).await);
    }

    /// See [`Lane::fingerprint`].
    #[cfg(test)]
    pub(crate) fn fingerprint(&self) -> String {
        self.0.shared.lane().fingerprint()
    }

    /// The process dies: requests that are under way are not waited for.
    #[cfg(test)]
    pub(crate) fn kill(&self) {
        self.0.task.abort();
    }
}
