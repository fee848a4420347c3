//! Somebody who looks for records by their time.

use std::time::Duration;

use runnel_api::{Isolation, OffsetSpec, Offsets as _};
use runnel_record::TimestampMs;
use runnel_runtime::simulation::Chance;

use super::batches::{SPAN, TIME};
use super::{Log, Shared};
use crate::kinds::Operation;

const NAME: &str = "asker";

/// Asks now and then what is from some moment on, and what is the latest, until the run ends.
pub(crate) async fn ask_for_times(shared: Shared, partitions: i32, mut chance: Chance) {
    while !shared.is_ending() {
        tokio::time::sleep(Duration::from_millis(chance.below(1_000))).await;
        let log = Log::lasting(i32::try_from(chance.below(u64::try_from(partitions).unwrap_or(1))).unwrap_or(0));
        let Some((leader, _)) = shared.leader(&log, &mut chance).await else { continue };
        let time = TimestampMs(i64::try_from(TIME + chance.below(SPAN)).unwrap_or(0));
        let spec = if chance.permille(300) { OffsetSpec::MaxTimestamp } else { OffsetSpec::Timestamp(time) };
        let (key, partition) = (log.key, log.place.partition);
        shared.trace.count(Operation::Offsets);
        let asked = shared.directory.ask(leader, move |broker| async move {
            broker.list_offset(&key, partition, spec, Isolation::ReadCommitted, None).await
        });
        match asked.await {
            Some(Ok(Some(found))) if matches!(spec, OffsetSpec::Timestamp(_)) && found.timestamp < time => {
                let (offset, found) = (found.offset, found.timestamp);
                shared.condemn(NAME, &format!("wants what is from {time} on, and is told {offset}, from {found}"));
            }
            Some(Err(error)) => drop(shared.may_retry(NAME, &error)),
            Some(Ok(found)) => shared.trace.note(NAME, format_args!("{spec:?} of {partition}: {found:?}")),
            None => {}
        }
    }
}
