//! Producer ids: handed out one by one from blocks that are claimed in the bucket before use and never twice.
//!
//! A reused id would make old dedup state swallow new records (design §5), so a block counts as used from the moment
//! of its claim. One spare block waits in the metadata store, so that producers can start while the bucket is down.

use bytes::Bytes;
use runnel_api::{Error, ErrorKind};
use runnel_blob::{Bucket, CasOutcome, Key, Register};
use runnel_format::meta::ProducerBlocks;
use runnel_metastore::{Compare, MetaStore, Op};
use runnel_record::ProducerId;
use tokio::sync::Mutex;

use crate::BUCKET_PATIENCE;
use crate::error::{bucket_error, damaged, metadata_error};

/// Ids of one claim.
const BLOCK: i64 = 1_000;

/// Key of the spare block.
const SPARE: &str = "pids/spare";

/// The ids that this session may still hand out.
#[derive(Debug, Default)]
pub(crate) struct ProducerIds(Mutex<Range>);

#[derive(Debug, Default, Clone, Copy)]
struct Range {
    next: i64,
    end: i64,
}

impl Range {
    fn take(&mut self) -> Option<ProducerId> {
        (self.next < self.end).then(|| {
            self.next += 1;
            ProducerId(self.next - 1)
        })
    }
}

impl ProducerIds {
    /// An id that nobody had before.
    pub(crate) async fn next(&self, bucket: &Bucket, meta: &dyn MetaStore) -> Result<ProducerId, Error> {
        // An async mutex: claims are rare and must not race; taking from a block never waits on I/O.
        let mut range = self.0.lock().await;
        if let Some(id) = range.take() {
            return Ok(id);
        }
        // A claim that is given up and made all the same wastes its block, no more.
        let claimed = match tokio::time::timeout(BUCKET_PATIENCE, claim(bucket)).await {
            Ok(claimed) => claimed,
            Err(_) => Err(Error::new(ErrorKind::StorageError, "the bucket gives no producer ids: it does not answer")),
        };
        *range = match claimed {
            Ok(block) => block,
            Err(unavailable) => take_spare(meta).await?.ok_or(unavailable)?,
        };
        range.take().ok_or_else(|| Error::new(ErrorKind::Internal, "an empty block of producer ids"))
    }

    /// Puts a spare block aside for a time without the bucket, if there is none.
    pub(crate) async fn put_spare_aside(bucket: &Bucket, meta: &dyn MetaStore) -> Result<(), Error> {
        if meta.get(SPARE).await.map_err(|e| metadata_error(&e))?.is_some() {
            return Ok(());
        }
        let block = claim(bucket).await?;
        let value = ProducerBlocks { next: block.next }.encode();
        // Refused means that another call was first; its block is as good and this one stays unused.
        meta.txn(vec![Compare::Absent(SPARE.into())], vec![Op::Put(SPARE.into(), value, None)])
            .await
            .map_err(|e| metadata_error(&e))?;
        Ok(())
    }
}

/// Claims the next block in the bucket.
async fn claim(bucket: &Bucket) -> Result<Range, Error> {
    let mut found = bucket.read_register(&Key::Pids).await.map_err(|e| bucket_error(&e))?;
    loop {
        let next = match &found {
            None => 0,
            Some(Register { payload, .. }) => ProducerBlocks::decode(payload).map_err(|e| damaged(&e))?.next,
        };
        let claimed = Range { next, end: next + BLOCK };
        let payload: Bytes = ProducerBlocks { next: claimed.end }.encode();
        let outcome = match &found {
            None => bucket.create_register(&Key::Pids, payload).await,
            Some(register) => bucket.replace_register(&Key::Pids, &register.version, payload).await,
        };
        match outcome.map_err(|e| bucket_error(&e))? {
            CasOutcome::Done(_) => return Ok(claimed),
            CasOutcome::Conflict(now) => found = now,
        }
    }
}

/// Takes the spare block; it is gone from the store before the first id is used.
async fn take_spare(meta: &dyn MetaStore) -> Result<Option<Range>, Error> {
    let Some(found) = meta.get(SPARE).await.map_err(|e| metadata_error(&e))? else { return Ok(None) };
    let next = ProducerBlocks::decode(&found.value).map_err(|e| damaged(&e))?.next;
    let taken = meta
        .txn(vec![Compare::Revision(SPARE.into(), found.revision)], vec![Op::Delete(SPARE.into())])
        .await
        .map_err(|e| metadata_error(&e))?;
    Ok(taken.is_committed().then_some(Range { next, end: next + BLOCK }))
}
