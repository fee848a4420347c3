//! From the `open` of a read session to the partitions, where each begins and where it ends.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream};
use runnel_api::TopicKey;
use runnel_proto::consume::v1::position::{Latest, Position as Named};
use runnel_proto::consume::v1::{OutOfRange, ReadRange};

use crate::door::Door;
use crate::error::Failure;
use crate::position::{find, named, within};
use crate::reader::{Goal, Planned};

/// Partitions of one session: `opened` and heartbeats name them all.
const MAX_PARTITIONS: usize = 2000;

/// Partitions that are looked up side by side.
const AT_ONCE: usize = 16;

/// Finds every partition, its start and its stop.
pub(crate) async fn plan(door: &Door, ranges: Vec<ReadRange>, policy: OutOfRange) -> Result<Vec<Planned>, Failure> {
    let mut wanted = Vec::new();
    let mut seen = BTreeSet::new();
    for mut range in ranges {
        let topic = door.describe(&range.topic, false).await?;
        let all = topic.partitions.iter().map(|partition| partition.partition);
        let named = std::mem::take(&mut range.partitions);
        let partitions = if named.is_empty() { all.collect() } else { named };
        for partition in partitions {
            if !seen.insert((topic.id, partition)) {
                let why = format!("partition {partition} of `{}` is asked for twice", range.topic);
                return Err(Failure::invalid(why));
            }
            if wanted.len() == MAX_PARTITIONS {
                return Err(Failure::invalid(format!("a session reads at most {MAX_PARTITIONS} partitions")));
            }
            wanted.push((range.clone(), TopicKey::Id(topic.id), partition));
        }
    }
    if wanted.is_empty() {
        return Err(Failure::invalid("there is nothing to read: `ranges` is empty"));
    }
    let found = wanted.into_iter().map(|(range, topic, partition)| one(door, range, topic, partition, policy));
    stream::iter(found).buffered(AT_ONCE).try_collect().await
}

async fn one(
    door: &Door,
    range: ReadRange,
    topic: TopicKey,
    partition: i32,
    policy: OutOfRange,
) -> Result<Planned, Failure> {
    let begin = named(range.start, Named::Latest(Latest {}))?;
    let place = find(door, &topic, partition, begin).await?;
    let start = within(place.bounds, place.offset, policy).map_err(|f| f.at(&range.topic, partition))?;
    let (mut stop, mut stop_time_ms) = (None, None);
    if let Some(end) = range.stop {
        let end = named(Some(end), Named::Latest(Latest {}))?;
        let place = find(door, &topic, partition, end).await?;
        match end {
            // It has not been written yet.
            Named::TimestampMs(time) if place.timestamp_ms.is_none() => stop_time_ms = Some(time),
            _ => stop = Some(place.offset),
        }
    }
    let goal = Goal {
        topic: range.topic,
        partition,
        start,
        wanted: Some(place.offset).filter(|wanted| *wanted < start),
        stop,
        stop_time_ms,
        max_records: range.max_records,
        high_watermark: place.bounds.high_watermark,
    };
    Ok(Planned { goal, topic })
}
