//! The operator's way out of a corrupt range in the log: give up what lies behind it, on a broker that is stopped.
//!
//! The loss is recorded durably in the lane. At the next start the partition opens where the readable part ends, in a
//! new epoch, by which clients find out that the log was truncated (KIP-320).

use std::sync::Arc;

use runnel_format::manifest::Root;
use runnel_format::meta::{PartitionRecord, TopicRecord};
use runnel_metastore::{Embedded, MetaStore, Op};
use runnel_partition::BatchFacts;
use runnel_record::{Offset, TopicPartition};
use runnel_runtime::Reuse;
use runnel_runtime::simulation::{blocking, random_id};
use runnel_wal::{LaneIdentity, LocalLog, Recovered};

use crate::error::StartError;
use crate::home::{self, Layout};
use crate::open::{known_epochs, partition_key};
use crate::topics::TOPIC_PREFIX;
use crate::{Options, Ports};

/// Bytes that are read and checked at once.
const READ_BYTES: usize = 8 << 20;

/// What is, or would be, given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// First offset that cannot be read; the partition will end here.
    pub from: Offset,
    /// End of what the log knows to have been written: offsets from `from` to here are given up.
    pub known_end: Offset,
}

/// Looks for a corrupt range of `partition` in the log of a stopped broker, and with `accept` gives up everything of
/// the partition from its start on. `None` if nothing is corrupt there. Blocks.
pub async fn accept_loss(
    options: &Options,
    ports: &Ports,
    topic: &str,
    partition: i32,
    accept: bool,
) -> Result<Option<Loss>, StartError> {
    let layout = Layout::new(&options.data_dir);
    let _lock = home::lock(&layout)?;
    let nothing_here =
        || StartError::Refused(format!("{} is not the data directory of a broker", options.data_dir.display()));
    let identity = home::read_identity(&layout, &*ports.disk)?.ok_or_else(nothing_here)?;
    let tp = find(&layout, topic, partition).await?;
    let shipped = shipped_end(&layout, tp).await?;
    let wal = runnel_wal::Options::new(layout.wal());
    let session = LaneIdentity { session: random_id().as_u64_pair().0, disk_id: identity.disk_id };
    let (disk, fail) = (Arc::clone(&ports.disk), ports.fail.clone());
    let opening = blocking(move || LocalLog::open(disk, wal, session, fail));
    let (log, recovered) = opening.await.map_err(|e| ended_early(&e))??;
    let loss = find_damage(&log, &recovered, tp, shipped).await?;
    if let (Some(loss), true) = (loss, accept) {
        forget_epochs(&layout, tp, loss.from).await?;
    }
    let closing = blocking(move || {
        if let (Some(loss), true) = (loss, accept) {
            log.accept_loss(tp, loss.from..Offset(i64::MAX))?;
        }
        log.close();
        Ok::<_, runnel_wal::Error>(loss)
    });
    Ok(closing.await.map_err(|e| ended_early(&e))??)
}

fn ended_early(error: &tokio::task::JoinError) -> StartError {
    StartError::Refused(format!("looking at the log ended early: {error}"))
}

/// The first damage of a partition: what recovery could not read, or a batch that does not match its checksum, which
/// shows only when it is read.
async fn find_damage(
    log: &LocalLog,
    recovered: &Recovered,
    tp: TopicPartition,
    shipped: Offset,
) -> Result<Option<Loss>, StartError> {
    let tail = recovered.tails.get(&tp).map(Vec::as_slice).unwrap_or_default();
    let held: Vec<BatchFacts> =
        tail.iter().map(|e| BatchFacts::from_header(&e.header, e.body_len, e.append_time)).collect();
    // What is in the bucket needs no log.
    let matters = |upto: Option<Offset>| upto.is_none_or(|upto| upto > shipped);
    let corrupt: Vec<_> = recovered.corrupt.iter().filter(|range| range.tp == tp && matters(range.upto)).collect();
    let mut from = corrupt.iter().map(|range| range.from.max(shipped)).min();
    let readable = held.iter().map(|batch| batch.next).take_while(|next| from.is_none_or(|from| *next <= from)).last();
    let mut at = held.first().map_or(Offset::ZERO, |batch| batch.base).max(shipped);
    while readable.is_some_and(|end| at < end) {
        match log.read(tp, at, readable.unwrap_or(at), READ_BYTES, Reuse::Unlikely).await {
            Ok(batches) => match batches.last() {
                Some(last) => at = last.batch.next_offset(),
                None => break,
            },
            Err(runnel_wal::Error::Corrupt { range, .. }) => {
                from = Some(range.start);
                break;
            }
            Err(error) => return Err(error.into()),
        }
    }
    let ends = corrupt.iter().filter_map(|range| range.upto).chain(held.iter().map(|batch| batch.next));
    Ok(from.map(|from| Loss { from, known_end: ends.max().unwrap_or(from).max(from) }))
}

/// End of what is in the bucket, as this disk knows.
async fn shipped_end(layout: &Layout, tp: TopicPartition) -> Result<Offset, StartError> {
    let meta = Embedded::open(&layout.metadata())?;
    let found = meta.get(&partition_key(tp)).await?;
    meta.close().await;
    let record = found.map(|found| PartitionRecord::decode(&found.value)).transpose()?;
    let root = record.and_then(|record| record.last_root).map(|(root, _)| Root::decode(&root)).transpose()?;
    Ok(root.map_or(Offset::ZERO, |root| root.end))
}

/// Epochs that began behind the loss end with it: the next one begins where it begins. Done before the loss is
/// recorded, since a partition whose epochs begin behind its end does not open.
async fn forget_epochs(layout: &Layout, tp: TopicPartition, from: Offset) -> Result<(), StartError> {
    let meta = Embedded::open(&layout.metadata())?;
    if let Some(found) = meta.get(&partition_key(tp)).await? {
        let record = PartitionRecord::decode(&found.value)?;
        let root = record.last_root.as_ref().map(|(root, _)| Root::decode(root)).transpose()?;
        let mut starts = known_epochs(&root.unwrap_or_else(|| Root::empty(tp)), Some(&record));
        starts.retain(|epoch| epoch.start <= from);
        let record = PartitionRecord { starts, ..record };
        meta.txn(Vec::new(), vec![Op::Put(partition_key(tp), record.encode(), None)]).await?;
    }
    meta.close().await;
    Ok(())
}

async fn find(layout: &Layout, topic: &str, partition: i32) -> Result<TopicPartition, StartError> {
    let meta = Embedded::open(&layout.metadata())?;
    let mut found = None;
    for (_, stored) in meta.range(TOPIC_PREFIX).await? {
        let record = TopicRecord::decode(&stored.value)?;
        if record.name == topic {
            found = Some(record);
        }
    }
    meta.close().await;
    match found {
        Some(record) if (0..record.partitions).contains(&partition) => {
            Ok(TopicPartition { topic: record.id, partition })
        }
        Some(record) => Err(StartError::Refused(format!("topic `{topic}` has {} partitions", record.partitions))),
        None => Err(StartError::Refused(format!("this broker has no topic `{topic}`"))),
    }
}
