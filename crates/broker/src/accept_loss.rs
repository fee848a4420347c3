//! The operator's way out of a corrupt range in the log: give up what lies behind it, on a broker that is stopped.
//!
//! The loss is recorded durably in the lane. At the next start the partition opens where the readable part ends, in a
//! new epoch, by which clients find out that the log was truncated (KIP-320).

use std::sync::Arc;

use runnel_format::meta::TopicRecord;
use runnel_metastore::{Embedded, MetaStore};
use runnel_partition::BatchFacts;
use runnel_record::{Offset, TopicPartition};
use runnel_wal::{LaneIdentity, LocalLog, Recovered};
use uuid::Uuid;

use crate::error::StartError;
use crate::home::{self, Layout};
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
    let wal = runnel_wal::Options::new(layout.wal());
    let session = LaneIdentity { session: Uuid::new_v4().as_u64_pair().0, disk_id: identity.disk_id };
    let (disk, fail) = (Arc::clone(&ports.disk), ports.fail.clone());
    let opening = tokio::task::spawn_blocking(move || LocalLog::open(disk, wal, session, fail));
    let (log, recovered) = opening.await.map_err(|e| ended_early(&e))??;
    let loss = find_damage(&log, &recovered, tp).await?;
    let closing = tokio::task::spawn_blocking(move || {
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
async fn find_damage(log: &LocalLog, recovered: &Recovered, tp: TopicPartition) -> Result<Option<Loss>, StartError> {
    let tail = recovered.tails.get(&tp).map(Vec::as_slice).unwrap_or_default();
    let held: Vec<BatchFacts> =
        tail.iter().map(|e| BatchFacts::from_header(&e.header, e.body_len, e.append_time)).collect();
    let corrupt: Vec<_> = recovered.corrupt.iter().filter(|range| range.tp == tp).collect();
    let mut from = corrupt.iter().map(|range| range.from).min();
    let readable = held.iter().map(|batch| batch.next).take_while(|next| from.is_none_or(|from| *next <= from)).last();
    let mut at = held.first().map_or(Offset::ZERO, |batch| batch.base);
    while readable.is_some_and(|end| at < end) {
        match log.read(tp, at, readable.unwrap_or(at), READ_BYTES).await {
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
