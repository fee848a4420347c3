//! `runnel group reset`.

use chrono::NaiveDateTime;
use clap::{ArgGroup, Args};
use runnel_client::proto::admin::v1::reset_offsets_request::To;
use runnel_client::proto::admin::v1::reset_offsets_response::ResetOffset;
use runnel_client::proto::admin::v1::{ResetOffsetsRequest, TopicPartitions};
use runnel_client::proto::consume::v1::Position;
use runnel_client::proto::consume::v1::position::{Earliest, Latest, Position as At};
use runnel_client::{Client, Error};
use runnel_runtime::{Clock, SystemClock};
use serde_json::{Value, json};

use super::or_dash;
use super::selection::selection;
use crate::cli::output::{self, Output, Table};
use crate::cli::time::Time;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true), group = ArgGroup::new("target").required(true))]
pub(super) struct ResetArgs {
    /// The group. One that does not exist is made.
    group: String,
    /// A topic, or some of its partitions; may be repeated.
    #[arg(long = "topic", value_name = "TOPIC[:PARTITION,..]", value_parser = selection, group = "what")]
    topics: Vec<TopicPartitions>,
    /// Every partition that the group has committed an offset for.
    #[arg(long, group = "what")]
    all_topics: bool,
    /// To the first record there is.
    #[arg(long, group = "target")]
    to_earliest: bool,
    /// To the end: what is written from now on.
    #[arg(long, group = "target")]
    to_latest: bool,
    /// To an offset.
    #[arg(long, value_name = "N", allow_negative_numbers = true, group = "target")]
    to_offset: Option<i64>,
    /// To the first record at or after a time: 2024-05-31, 2024-05-31T23:59:00Z (UTC if no zone is given),
    /// milliseconds since 1970, or -1h for an hour ago.
    #[arg(long, value_name = "TIME", value_parser = datetime, allow_hyphen_values = true, group = "target")]
    to_datetime: Option<Time>,
    /// So many records on from where the group is, or back if negative.
    #[arg(long, value_name = "N", allow_negative_numbers = true, group = "target")]
    shift_by: Option<i64>,
    /// Show what would be done and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// A time without a zone is one of UTC, as Kafka's tools take it.
fn datetime(text: &str) -> Result<Time, String> {
    match text.parse::<NaiveDateTime>() {
        Ok(time) => Ok(Time::At(time.and_utc().timestamp_millis())),
        Err(_) => text.parse(),
    }
}

impl ResetArgs {
    /// Where to; the parser sees to it that exactly one is given.
    fn target(&self, clock: &dyn Clock) -> To {
        let position = if self.to_earliest {
            At::Earliest(Earliest {})
        } else if let Some(offset) = self.to_offset {
            At::Offset(offset)
        } else if let Some(time) = self.to_datetime {
            At::TimestampMs(time.ms(clock))
        } else if let Some(by) = self.shift_by {
            return To::ShiftBy(by);
        } else {
            At::Latest(Latest {})
        };
        To::Position(Position { position: Some(position) })
    }
}

pub(super) async fn run(args: &ResetArgs, client: Client) -> anyhow::Result<()> {
    let request = ResetOffsetsRequest {
        group: args.group.clone(),
        topics: args.topics.clone(),
        all_topics: args.all_topics,
        validate_only: args.dry_run,
        to: Some(args.target(&SystemClock)),
    };
    let offsets = client.reset_offsets(request).await?;
    output::print(args.output, &offsets.iter().map(as_json).collect::<Value>(), || as_table(&offsets))?;
    for o in &offsets {
        if let Some(wanted) = o.clipped_from {
            let (topic, partition, new) = (&o.topic, o.partition, o.new_offset);
            eprintln!("partition {partition} of `{topic}` has no offset {wanted}: the nearest is {new}");
        }
    }
    if offsets.is_empty() {
        eprintln!("group `{}` has committed nothing: name topics with --topic", args.group);
    } else if args.dry_run {
        eprintln!("nothing was changed: this was a dry run");
    }
    match offsets.into_iter().find_map(|o| o.error.map(|error| (o.topic, o.partition, error))) {
        None => Ok(()),
        Some((topic, partition, error)) => {
            Err(anyhow::Error::from(Error::from(error)).context(format!("partition {partition} of `{topic}`")))
        }
    }
}

fn as_json(o: &ResetOffset) -> Value {
    json!({
        "topic": o.topic, "partition": o.partition, "old_offset": o.old_offset,
        "new_offset": o.error.is_none().then_some(o.new_offset), "clipped_from": o.clipped_from,
        "error": o.error.as_ref().map(|error| &error.message),
    })
}

fn as_table(offsets: &[ResetOffset]) -> String {
    let mut table = Table::new(["TOPIC", "PARTITION", "OLD", "NEW"]);
    for o in offsets.iter().filter(|o| o.error.is_none()) {
        table.row([o.topic.clone(), o.partition.to_string(), or_dash(o.old_offset), o.new_offset.to_string()]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn times_without_a_zone_are_utc() {
        assert_eq!(datetime("2013-01-01T00:00:00.500"), Ok(Time::At(1_356_998_400_500)));
        assert_eq!(datetime("2013-01-01T00:00:00"), datetime("2013-01-01T01:00:00+01:00"));
        assert_eq!(datetime("2013-01-01"), datetime("2013-01-01T00:00:00Z"));
        assert_eq!(datetime("-1h"), Ok(Time::Ago(3_600_000)));
        assert!(datetime("yesterday").unwrap_err().contains("`yesterday`"));
    }
}
