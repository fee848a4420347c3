//! A place in a partition, as clients name it, as an offset.

use runnel_api::{Error, Isolation, ListedOffset, OffsetSpec, Offsets, TopicKey};
use runnel_proto::consume::v1::position::Position as Named;
use runnel_proto::consume::v1::{OutOfRange, Position};
use runnel_record::TimestampMs;
use tonic::Code;

use crate::door::Door;
use crate::error::Failure;

/// What a partition has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) log_start: i64,
    pub(crate) high_watermark: i64,
}

/// A place that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) offset: i64,
    /// Timestamp of the record there, when it was searched for by time and there is one.
    pub(crate) timestamp_ms: Option<i64>,
    pub(crate) bounds: Bounds,
}

/// What a client names, or `default`.
pub(crate) fn named(position: Option<Position>, default: Named) -> Result<Named, Failure> {
    match position {
        None => Ok(default),
        Some(Position { position: Some(named) }) => Ok(named),
        Some(Position { position: None }) => Err(Failure::invalid("a position is empty: set one of its fields")),
    }
}

/// Finds a place. An offset is taken as it is; whether the log has it is for [`within`] to say.
pub(crate) async fn find(door: &Door, topic: &TopicKey, partition: i32, wanted: Named) -> Result<Place, Failure> {
    let failure = |error: Error| Failure::from(error).at(&topic.to_string(), partition);
    let list = |spec| Offsets::list_offset(&*door.broker, topic, partition, spec, Isolation::ReadUncommitted, None);
    // The search comes first: what it finds is below a watermark that is read after it.
    let searched = match wanted {
        Named::TimestampMs(time) => list(OffsetSpec::Timestamp(TimestampMs(time))).await.map_err(failure)?,
        _ => None,
    };
    let log_start = list(OffsetSpec::Earliest).await.map_err(failure)?;
    let high_watermark = list(OffsetSpec::Latest).await.map_err(failure)?;
    let offset_of = |listed: Option<ListedOffset>| listed.map_or(0, |listed| listed.offset.0);
    let bounds = Bounds { log_start: offset_of(log_start), high_watermark: offset_of(high_watermark) };
    let offset = match wanted {
        Named::Offset(offset) => offset,
        Named::TimestampMs(_) => searched.map_or(bounds.high_watermark, |listed| listed.offset.0),
        Named::Earliest(_) => bounds.log_start,
        Named::Latest(_) => bounds.high_watermark,
        Named::BeforeLatest(count) => before(bounds, count),
    };
    Ok(Place { offset, timestamp_ms: searched.map(|listed| listed.timestamp.0), bounds })
}

fn before(bounds: Bounds, count: u64) -> i64 {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    bounds.high_watermark.saturating_sub(count).max(bounds.log_start)
}

/// An offset that the log has: the one wanted, or the nearest if the client says so.
pub(crate) fn within(bounds: Bounds, wanted: i64, policy: OutOfRange) -> Result<i64, Failure> {
    let Bounds { log_start, high_watermark } = bounds;
    if (log_start..=high_watermark).contains(&wanted) {
        return Ok(wanted);
    }
    match policy {
        OutOfRange::Clamp => Ok(wanted.clamp(log_start, high_watermark)),
        OutOfRange::Unspecified | OutOfRange::Error => {
            let why = format!("offset {wanted} is not in the log, which has {log_start} to {high_watermark}");
            Err(Failure::new(Code::OutOfRange, "OFFSET_OUT_OF_RANGE", why)
                .with("offset", wanted)
                .with("log_start", log_start)
                .with("high_watermark", high_watermark))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { log_start: 10, high_watermark: 20 };

    #[test]
    fn counting_back_ends_at_the_start() {
        assert_eq!([0, 3, 10, 11, u64::MAX].map(|n| before(BOUNDS, n)), [20, 17, 10, 10, 10]);
    }

    #[test]
    fn offsets_outside_are_refused_or_clamped() {
        for (wanted, clamped) in [(9, 10), (10, 10), (20, 20), (21, 20), (i64::MIN, 10), (i64::MAX, 20)] {
            assert_eq!(within(BOUNDS, wanted, OutOfRange::Clamp), Ok(clamped), "{wanted}");
            let strict = within(BOUNDS, wanted, OutOfRange::Unspecified);
            assert_eq!(
                strict.map_err(|failure| failure.reason),
                match wanted {
                    10 | 20 => Ok(wanted),
                    _ => Err("OFFSET_OUT_OF_RANGE"),
                }
            );
        }
    }
}
