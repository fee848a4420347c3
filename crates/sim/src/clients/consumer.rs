//! Consumers: one that reads along, and one that reads all of a partition.

use std::time::Duration;

use runnel_runtime::simulation::Chance;

use super::reader::Reader;
use super::{AGAIN, Log, Shared};

/// Longest wait for something new.
const WAIT: Duration = Duration::from_millis(200);

/// How often a log that ends too early is read again: a broker that was replaced and does not know it yet may have less.
const LOOKS: u32 = 100;

/// Follows a partition until the run ends and it has seen all that is known to be there.
pub(crate) async fn consume(shared: Shared, log: Log, chance: Chance) {
    let partition = log.place.partition;
    let mut reader = Reader::new(&shared, format!("consumer-{partition}"), log, chance);
    while !(reader.has_all() && shared.is_ending()) && shared.verdict().is_none() {
        match reader.poll(WAIT).await {
            Some(end) => shared.trace.note("consumer", format_args!("{partition} at {} of {end}", reader.offset)),
            None => tokio::time::sleep(AGAIN).await,
        }
    }
}

/// Reads everything in a partition, and says where that ends.
pub(crate) async fn audit(shared: Shared, name: String, log: Log, chance: Chance) {
    let (mut reader, mut looks) = (Reader::new(&shared, name, log, chance), 0);
    while shared.verdict().is_none() {
        let begin = shared.told.moment();
        let end = reader.poll(Duration::ZERO).await;
        match end {
            Some(end) if reader.offset >= end && (reader.has_all() || looks == LOOKS) => {
                return reader.tell_end(begin, end);
            }
            Some(end) if reader.offset < end => {}
            _ => {
                looks += u32::from(end.is_some());
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}
