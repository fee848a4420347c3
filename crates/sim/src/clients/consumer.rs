//! A consumer that reads along.

use std::time::Duration;

use runnel_record::LeaderEpoch;
use runnel_runtime::simulation::Chance;

use super::reader::{Position, fetch};
use super::{AGAIN, Shared};

/// Longest wait for something new.
const WAIT: Duration = Duration::from_millis(200);

/// Follows a partition until the run ends and it has seen all that is known to be there.
pub(crate) async fn consume(shared: Shared, partition: i32, mut chance: Chance) {
    let mut at = Position { partition, offset: 0, epoch: LeaderEpoch(0) };
    loop {
        let seen_all = shared.judge(partition, |model| Ok(at.offset >= model.end())).unwrap_or(true);
        if (seen_all && shared.is_ending()) || shared.verdict().is_some() {
            return;
        }
        let Some(found) = fetch(&shared, &mut at, WAIT, &mut chance).await else {
            tokio::time::sleep(AGAIN).await;
            continue;
        };
        let seen = found.records.iter().map(|(offset, value)| (*offset, value.as_str()));
        shared.judge(partition, |model| seen.clone().try_for_each(|(offset, value)| model.see(offset, value)));
        at.offset += i64::try_from(found.records.len()).unwrap_or(0);
        shared.trace.note("consumer", format_args!("{partition} at {} of {}", at.offset, found.high_watermark));
    }
}
