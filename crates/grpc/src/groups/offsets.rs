//! ListGroupOffsets: what is committed, what is assigned, and how far the one is behind the log.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use runnel_api::TopicKey;
use runnel_proto::admin::v1::{GroupOffset, ListGroupOffsetsRequest, ListGroupOffsetsResponse};
use runnel_proto::consume::v1::position::{Latest, Position as Named};

use super::lag::age_ms;
use crate::door::Door;
use crate::error::Failure;
use crate::page;
use crate::position::find;

/// Partitions that are asked side by side.
const AT_ONCE: usize = 16;

/// Partitions on a page that tells times: each may cost a read of the bucket.
const MAX_TIMED: usize = 100;

/// What is known of partitions before their logs are asked.
type Rows = BTreeMap<(String, i32), GroupOffset>;

/// The token of a page is the last topic and partition before it.
pub(crate) async fn offsets(
    door: &Door,
    request: &ListGroupOffsetsRequest,
) -> Result<ListGroupOffsetsResponse, Failure> {
    let size = page::size(request.page_size, if request.with_lag_ms { MAX_TIMED } else { page::MAX_PAGE })?;
    let after = token(&request.page_token)?;
    let rows = rows(door, &request.group).await?.into_iter();
    let rest = rows.filter(|(at, _)| after.as_ref().is_none_or(|after| at > after)).map(|(_, row)| row);
    // The metadata that came with a commit is what makes a page large; bounds and lag add little.
    let (page, more) = page::fill(rest, size);
    let filled = page.into_iter().map(|row| fill(door, row, request.with_lag_ms));
    let offsets: Vec<GroupOffset> = stream::iter(filled).buffered(AT_ONCE).collect().await;
    let last = offsets.last().filter(|_| more);
    let next_page_token = last.map_or_else(String::new, |last| format!("{}/{}", last.topic, last.partition));
    Ok(ListGroupOffsetsResponse { offsets, next_page_token })
}

fn token(token: &str) -> Result<Option<(String, i32)>, Failure> {
    if token.is_empty() {
        return Ok(None);
    }
    let parts = token.rsplit_once('/').and_then(|(topic, n)| Some((topic.to_owned(), n.parse().ok()?)));
    parts.map(Some).ok_or_else(|| Failure::invalid("page_token is not one that was given out"))
}

async fn rows(door: &Door, group: &str) -> Result<Rows, Failure> {
    let described = super::described(door, group).await?;
    let row = |topic: &str, partition| GroupOffset { topic: topic.to_owned(), partition, ..GroupOffset::default() };
    let mut rows = Rows::new();
    for committed in super::committed(door, group).await? {
        let mut row = row(&committed.topic, committed.partition);
        (row.committed_offset, row.metadata) = (Some(committed.offset), committed.metadata);
        rows.insert((committed.topic, committed.partition), row);
    }
    for member in &described.members {
        for assigned in &member.assignment {
            for partition in &assigned.partitions {
                let place = (assigned.topic.clone(), *partition);
                let entry = rows.entry(place).or_insert_with(|| row(&assigned.topic, *partition));
                entry.member_id = Some(member.member_id.clone());
            }
        }
    }
    Ok(rows)
}

/// Adds what the log says.
async fn fill(door: &Door, mut row: GroupOffset, timed: bool) -> GroupOffset {
    let topic = TopicKey::Name(row.topic.clone());
    match find(door, &topic, row.partition, Named::Latest(Latest {})).await {
        Ok(place) => {
            (row.log_start, row.high_watermark) = (place.bounds.log_start, place.bounds.high_watermark);
            row.lag = row.committed_offset.map(|offset| row.high_watermark.saturating_sub(offset).max(0));
            if let Some(offset) = row.committed_offset.filter(|_| timed) {
                row.lag_ms = age_ms(door, &topic, row.partition, offset, place.bounds).await;
            }
        }
        Err(failure) => row.error = Some(failure.into_proto()),
    }
    row
}
