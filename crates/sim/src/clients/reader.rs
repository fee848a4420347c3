//! Reading: what is in a partition from an offset on, as its leader has it.

use std::time::Duration;

use runnel_api::{Error, ErrorKind, Fetch as _, FetchPartition, FetchRequest, Isolation, TopicKey};
use runnel_record::{Batch, LeaderEpoch, Offset};
use runnel_runtime::simulation::Chance;

use super::{AGAIN, Shared, TOPIC, may_be_retried};

/// Offset and value of a record.
pub(crate) type Record = (i64, String);

/// What one fetch brought.
pub(super) struct Found {
    pub(super) records: Vec<Record>,
    pub(super) high_watermark: i64,
}

/// Where a reader stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// The newest epoch that it has heard of: it does not go back to leaders of before (KIP-320).
    pub(super) epoch: LeaderEpoch,
}

/// Reads once. `None` if there was nobody to ask, or no use in it; an error that is not to be tried again is a verdict.
pub(super) async fn fetch(shared: &Shared, at: &mut Position, wait: Duration, chance: &mut Chance) -> Option<Found> {
    let (leader, epoch) = shared.leader(at.partition, chance).await?;
    if epoch < at.epoch {
        return None;
    }
    at.epoch = epoch;
    let (request, from) = (request(at, wait), at.offset);
    let answers = shared.directory.ask(leader, |broker| async move { broker.fetch(request).await }).await?;
    let outcome = answers.into_iter().next().map(|answer| answer.outcome);
    let none = || Err(Error::new(ErrorKind::Internal, "no answer for the partition"));
    let judged = match outcome.unwrap_or_else(none) {
        Ok(fetched) => records(&fetched.batches, from)
            .map(|records| Some(Found { records, high_watermark: fetched.high_watermark.0 })),
        Err(error) if may_be_retried(&error) => Ok(None),
        Err(error) => Err(format!("{:?} for a reader at {from} in epoch {epoch:?}: {error}", error.kind)),
    };
    shared.judge(at.partition, |_| judged)?
}

/// Everything in a partition.
pub(crate) async fn read_all(shared: Shared, partition: i32, mut chance: Chance) -> Vec<Record> {
    let (mut all, mut at) = (Vec::new(), Position { partition, offset: 0, epoch: LeaderEpoch(0) });
    while shared.verdict().is_none() {
        let Some(found) = fetch(&shared, &mut at, Duration::ZERO, &mut chance).await else {
            tokio::time::sleep(AGAIN).await;
            continue;
        };
        all.extend(found.records);
        at.offset = all.last().map_or(0, |(offset, _)| offset + 1);
        if at.offset >= found.high_watermark {
            break;
        }
    }
    all
}

fn request(at: &Position, max_wait: Duration) -> FetchRequest {
    let partition = FetchPartition {
        topic: TopicKey::Name(TOPIC.to_owned()),
        partition: at.partition,
        offset: Offset(at.offset),
        max_bytes: 64 << 10,
        current_leader_epoch: Some(at.epoch),
        last_fetched_epoch: None,
        zone: None,
    };
    FetchRequest {
        max_wait,
        min_bytes: 1,
        max_bytes: 64 << 10,
        isolation: Isolation::ReadCommitted,
        partitions: vec![partition],
    }
}

/// The records of batches from an offset on, which follow each other.
fn records(batches: &[Batch], from: i64) -> Result<Vec<Record>, String> {
    let mut found = Vec::new();
    for batch in batches {
        batch.verify_crc().map_err(|error| error.to_string())?;
        let body = batch.inflate(64 << 20).map_err(|error| error.to_string())?;
        for record in body.records() {
            let record = record.map_err(|error| error.to_string())?;
            let offset = batch.base_offset().0 + i64::from(record.offset_delta);
            let expected = from + i64::try_from(found.len()).unwrap_or(0);
            if offset < from {
                continue;
            }
            if offset != expected {
                return Err(format!("a reader at {expected} is given {offset}"));
            }
            found.push((offset, String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned()));
        }
    }
    Ok(found)
}
