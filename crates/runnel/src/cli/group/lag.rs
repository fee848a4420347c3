//! `runnel group lag`, and offsets as other verbs show them.

use clap::Args;
use runnel_client::proto::admin::v1::GroupOffset;
use runnel_client::{Client, Error};
use serde_json::{Value, json};

use super::or_dash;
use crate::cli::output::{self, Output, Table, count};

#[derive(Debug, Args)]
pub(super) struct LagArgs {
    /// The group.
    group: String,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

pub(super) async fn run(args: &LagArgs, client: Client) -> anyhow::Result<()> {
    let offsets = client.group_offsets(&args.group, true).await?;
    let total = Total::of(&offsets);
    let value = json!({
        "group": args.group, "lag": total.records, "lag_ms": total.ms, "partitions": as_json(&offsets),
    });
    output::print(args.output, &value, || format!("{}\n{total}\n", as_table(&offsets)))?;
    // Who adds up must know that something is missing.
    match offsets.into_iter().find_map(|o| o.error.map(|error| (o.topic, o.partition, error))) {
        None => Ok(()),
        Some((topic, partition, error)) => {
            Err(anyhow::Error::from(Error::from(error)).context(format!("partition {partition} of `{topic}`")))
        }
    }
}

/// What a group has to read yet.
pub(super) struct Total {
    records: i64,
    /// The longest time, where any is known.
    ms: Option<i64>,
    partitions: u64,
}

impl Total {
    pub(super) fn of(offsets: &[GroupOffset]) -> Self {
        let behind = |offset: &&GroupOffset| offset.lag.is_some_and(|lag| lag > 0);
        Self {
            records: offsets.iter().filter_map(|offset| offset.lag).fold(0, i64::saturating_add),
            ms: offsets.iter().filter_map(|offset| offset.lag_ms).max(),
            partitions: offsets.iter().filter(behind).count() as u64,
        }
    }
}

impl std::fmt::Display for Total {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.records == 0 {
            return f.write_str("nothing is left to read");
        }
        let records = count(self.records.unsigned_abs(), "record");
        write!(f, "{records} behind in {}", count(self.partitions, "partition"))?;
        self.ms.map_or(Ok(()), |ms| write!(f, ", up to {}", age(ms)))
    }
}

pub(super) fn as_json(offsets: &[GroupOffset]) -> Value {
    let rows = offsets.iter().map(|o| {
        let known = o.error.is_none();
        json!({
            "topic": o.topic, "partition": o.partition, "committed_offset": o.committed_offset,
            "metadata": o.metadata, "log_start_offset": known.then_some(o.log_start),
            "end_offset": known.then_some(o.high_watermark), "lag": o.lag, "lag_ms": o.lag_ms,
            "member_id": o.member_id, "error": o.error.as_ref().map(|error| &error.message),
        })
    });
    rows.collect()
}

pub(super) fn as_table(offsets: &[GroupOffset]) -> String {
    let mut table = Table::new(["TOPIC", "PARTITION", "COMMITTED", "LOG START", "END", "LAG", "BEHIND", "MEMBER"]);
    let mut problems = String::new();
    for o in offsets {
        let bound = |offset| or_dash(o.error.is_none().then_some(offset));
        let behind = o.lag_ms.map_or_else(|| "-".to_owned(), age);
        table.row([
            o.topic.clone(),
            o.partition.to_string(),
            or_dash(o.committed_offset),
            bound(o.log_start),
            bound(o.high_watermark),
            or_dash(o.lag),
            behind,
            o.member_id.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
        if let Some(error) = &o.error {
            problems.push_str(&format!("partition {} of `{}`: {}\n", o.partition, o.topic, error.message));
        }
    }
    format!("{table}{problems}")
}

/// A time in its two largest units.
fn age(ms: i64) -> String {
    let seconds = ms / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match () {
        () if days > 0 => format!("{days}d{}h", hours % 24),
        () if hours > 0 => format!("{hours}h{}m", minutes % 60),
        () if minutes > 0 => format!("{minutes}m{}s", seconds % 60),
        () if ms == 0 => "0s".to_owned(),
        () => format!("{seconds}.{}s", ms % 1000 / 100),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_well() {
        let ages = [0, 50, 1_250, 59_999, 61_000, 3_599_999, 3_660_000, 86_400_000 * 3 + 7_200_000].map(age);
        assert_eq!(ages, ["0s", "0.0s", "1.2s", "59.9s", "1m1s", "59m59s", "1h1m", "3d2h"]);
    }

    #[test]
    fn totals_count_what_is_known() {
        let offset = |lag, lag_ms| GroupOffset { lag, lag_ms, ..GroupOffset::default() };
        let text = |offsets: &[GroupOffset]| Total::of(offsets).to_string();
        assert_eq!(text(&[]), "nothing is left to read");
        assert_eq!(text(&[offset(Some(0), Some(0)), offset(None, None)]), "nothing is left to read");
        assert_eq!(text(&[offset(Some(1), None)]), "1 record behind in 1 partition");
        let some = [offset(Some(3), Some(1_500)), offset(Some(4), Some(61_000)), offset(Some(0), Some(0))];
        assert_eq!(text(&some), "7 records behind in 2 partitions, up to 1m1s");
    }
}
