//! `runnel consume --group`: what the group has not read, committed once it is printed.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use runnel_client::proto::consume::v1::AssignedPartitions;
use runnel_client::proto::consume::v1::read_session_response::Batch;
use runnel_client::{Client, ConsumerOptions, ErrorKind, GroupConsumer, GroupEvent, Membership};
use runnel_runtime::SystemClock;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use super::printer::Printer;
use super::{ConsumeArgs, reader_left, report};

/// Time between commits: what a kill makes the group read again.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

pub(super) async fn consume(args: &ConsumeArgs, group: &str, client: Client) -> anyhow::Result<()> {
    let membership = Membership {
        group: group.to_owned(),
        topics: vec![args.topic.clone()],
        start: Some(args.from.position(&SystemClock)),
        client_id: "runnel-cli".to_owned(),
        ..Membership::default()
    };
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    warn_if_missing(&client, &args.topic).await;
    let mut consumer = GroupConsumer::join(client, membership, ConsumerOptions::default()).await?;
    let mut printer = Printer::new(args);
    let mut printed = Printed::default();
    let mut reader_left = pin!(reader_left());
    let mut commit_at = interval(COMMIT_EVERY);
    commit_at.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while left > 0 {
        let event = tokio::select! {
            event = consumer.next() => event?,
            _ = commit_at.tick(), if !printed.0.is_empty() => {
                printed.commit(&mut consumer).await;
                continue;
            }
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            () = &mut reader_left => break,
        };
        match event {
            GroupEvent::Batch(batch) => {
                let count = printer.batch(&batch, left)?;
                printed.note(&batch, count);
                left -= count;
            }
            GroupEvent::Revoked(partitions) => {
                printed.commit(&mut consumer).await;
                printed.forget(&partitions);
            }
            GroupEvent::Lost(partitions) => printed.forget(&partitions),
            GroupEvent::Gap(gap) => report(&gap),
            GroupEvent::Assigned(_) | GroupEvent::CaughtUp(_) => {}
        }
    }
    printed.commit(&mut consumer).await;
    consumer.leave().await;
    Ok(())
}

/// A group may be there before its topic, so this is no error; but who mistyped a name would wait for ever.
async fn warn_if_missing(client: &Client, topic: &str) {
    if client.topic(topic).await.is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        eprintln!("warning: there is no topic `{topic}` yet: waiting until there is");
    }
}

/// The next offset of each partition, where it is not committed yet.
#[derive(Debug, Default)]
struct Printed(BTreeMap<(String, i32), i64>);

impl Printed {
    /// The first `count` records of a batch were printed.
    fn note(&mut self, batch: &Batch, count: u64) {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let next = if count >= batch.records.len() {
            Some(batch.next_offset)
        } else {
            count.checked_sub(1).and_then(|last| batch.records.get(last)).map(|record| record.offset + 1)
        };
        if let Some(next) = next {
            self.0.insert((batch.topic.clone(), batch.partition), next);
        }
    }

    /// Commits; what fails is tried again, unless the partition is lost.
    async fn commit(&mut self, consumer: &mut GroupConsumer) {
        if self.0.is_empty() {
            return;
        }
        match consumer.commit(&self.0).await {
            Ok(()) => self.0.clear(),
            Err(error) => eprintln!("warning: not committed, so it may be read again: {error}"),
        }
    }

    fn forget(&mut self, partitions: &[AssignedPartitions]) {
        let gone = |topic: &str, partition| {
            partitions.iter().any(|one| one.topic == topic && one.partitions.contains(&partition))
        };
        self.0.retain(|(topic, partition), _| !gone(topic, *partition));
    }
}

#[cfg(test)]
mod tests {
    use runnel_client::proto::record::v1::StoredRecord;

    use super::*;

    #[test]
    fn only_what_was_printed_counts_as_read() {
        let records = [5, 7, 8].map(|offset| StoredRecord { offset, ..StoredRecord::default() });
        let batch = |partition| Batch {
            topic: "t".to_owned(),
            partition,
            records: records.to_vec(),
            next_offset: 12,
            ..Batch::default()
        };
        let mut printed = Printed::default();
        printed.note(&batch(0), 3);
        printed.note(&batch(1), 2);
        printed.note(&batch(2), 0);
        let at = |partition, offset| (("t".to_owned(), partition), offset);
        assert_eq!(printed.0, BTreeMap::from([at(0, 12), at(1, 8)]));
        printed.forget(&[AssignedPartitions { topic: "t".to_owned(), partitions: vec![0, 3] }]);
        assert_eq!(printed.0, BTreeMap::from([at(1, 8)]));
    }
}
