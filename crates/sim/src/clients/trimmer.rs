//! Somebody who deletes records.

use std::time::Duration;

use runnel_api::{ErrorKind, Segments as _};
use runnel_record::Offset;
use runnel_runtime::simulation::Chance;

use super::{Log, Shared};
use crate::kinds::Operation;

const NAME: &str = "trimmer";

/// Longest wait for one answer.
const WAIT: Duration = Duration::from_secs(1);

/// Deletes the older records of some partition now and then, until the run ends. Whatever becomes of it.
pub(crate) async fn trim(shared: Shared, partitions: i32, mut chance: Chance) {
    while !shared.is_ending() {
        tokio::time::sleep(Duration::from_millis(200 + chance.below(2_000))).await;
        let log = Log::lasting(i32::try_from(chance.below(u64::try_from(partitions).unwrap_or(1))).unwrap_or(0));
        let Some((leader, _)) = shared.leader(&log, &mut chance).await else { continue };
        let known = u64::try_from(shared.told.end(&log.place)).unwrap_or(0);
        let before = i64::try_from(chance.below(known / 2 + 1)).unwrap_or(0);
        shared.told.trim(NAME, &log.place, before);
        shared.trace.count(Operation::Trim);
        let (key, partition) = (log.key.clone(), log.place.partition);
        let asked = shared.directory.ask(leader, move |broker| async move {
            broker.delete_records(&key, partition, Some(Offset(before)), WAIT).await
        });
        match asked.await {
            Some(Ok(start)) if start.0 < before => {
                shared.condemn(NAME, &format!("all below {before} is deleted, and the log starts at {start}"));
            }
            // Whoever was replaced and does not know it yet may have less.
            Some(Err(error)) if error.kind != ErrorKind::OffsetOutOfRange => drop(shared.may_retry(NAME, &error)),
            outcome => shared.trace.note(NAME, format_args!("{before} of {partition}: {outcome:?}")),
        }
    }
}
