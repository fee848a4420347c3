//! Fetch: one position, one answer.

use std::time::Duration;

use runnel_api::{Fetch, FetchPartition, FetchRequest as ApiRequest, Fetched, Isolation, TopicKey};
use runnel_proto::consume::v1::position::{Earliest, Position as Named};
use runnel_proto::consume::v1::{FetchRequest, FetchResponse};
use runnel_proto::record::v1::StoredRecord;
use runnel_record::{Batch, Mark, Offset};
use tonic::Code;

use crate::budget::Held;
use crate::door::{Door, duration};
use crate::error::Failure;
use crate::position::{find, named, within};
use crate::records::{framed_len, unpack};

/// What a client gets if it does not say.
const MAX_RECORDS: u32 = 500;
const MAX_BYTES: u32 = 1 << 20;

/// What it gets at most: stock clients refuse messages over 4 MiB.
const MOST_BYTES: usize = 3 << 20;

/// The longest wait.
const MAX_WAIT: Duration = Duration::from_secs(300);

/// The reply, and the memory that it holds until it is written.
pub(crate) async fn handle(door: &Door, request: FetchRequest) -> Result<(FetchResponse, Held), Failure> {
    let policy = request.out_of_range();
    let wanted = named(request.start, Named::Earliest(Earliest {}))?;
    let topic = TopicKey::Name(request.topic);
    let place = find(door, &topic, request.partition, wanted).await?;
    let start = within(place.bounds, place.offset, policy).map_err(|f| f.at(&topic.to_string(), request.partition))?;
    let max_records = usize::try_from(request.max_records.unwrap_or(MAX_RECORDS)).unwrap_or(usize::MAX).max(1);
    let max_bytes = usize::try_from(request.max_bytes.unwrap_or(MAX_BYTES)).unwrap_or(usize::MAX).min(MOST_BYTES);
    let max_bytes = door.budget.room(max_bytes);
    let max_wait = duration(request.max_wait_ms, Duration::ZERO, Duration::ZERO, MAX_WAIT);
    let fetched = fetch_one(door, &topic, request.partition, start, max_bytes, max_wait).await?;
    let (high_watermark, log_start) = (fetched.high_watermark.0, fetched.log_start.0);
    let held = door.budget.hold(fetched.batches.iter().map(Batch::len).sum());
    let (records, next_offset) = take(fetched, start, max_records, max_bytes).await?;
    Ok((FetchResponse { records, next_offset, log_start, high_watermark }, held))
}

async fn fetch_one(
    door: &Door,
    topic: &TopicKey,
    partition: i32,
    start: i64,
    max_bytes: usize,
    max_wait: Duration,
) -> Result<Fetched, Failure> {
    let wanted = FetchPartition {
        topic: topic.clone(),
        partition,
        offset: Offset(start),
        max_bytes,
        current_leader_epoch: None,
        last_fetched_epoch: None,
        zone: None,
    };
    let request =
        ApiRequest { max_wait, min_bytes: 1, max_bytes, isolation: Isolation::ReadCommitted, partitions: vec![wanted] };
    let Some(answer) = Fetch::fetch(&*door.broker, request).await.pop() else {
        return Err(Failure::new(Code::Internal, "INTERNAL", "the broker gave no answer"));
    };
    answer.outcome.map_err(|error| Failure::from(error).at(&topic.to_string(), partition))
}

/// The records from `start` on, up to the limits, and where to go on.
async fn take(
    fetched: Fetched,
    start: i64,
    max_records: usize,
    max_bytes: usize,
) -> Result<(Vec<StoredRecord>, i64), Failure> {
    let (mut records, mut bytes, mut next_offset) = (Vec::new(), 0, start);
    for batch in fetched.batches {
        let batch = unpack(batch).await?;
        let mut mark = Mark::default();
        while let Some((record, after)) = batch.next(mark, next_offset)? {
            bytes += framed_len(&record);
            if records.len() == max_records || (bytes > max_bytes && !records.is_empty()) {
                return Ok((records, next_offset));
            }
            (next_offset, mark) = (record.offset + 1, after);
            records.push(record);
        }
        next_offset = next_offset.max(batch.next_offset());
    }
    Ok((records, next_offset))
}
