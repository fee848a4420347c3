//! An idempotent producer: it tries again until it is told, and numbers what it sends.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use runnel_api::{
    Acks, Error, ErrorKind, Produce as _, ProducePartition, ProduceRequest, Produced, ProducerIdentity, TopicKey,
};
use runnel_record::Offset;
use runnel_runtime::simulation::Chance;
use runnel_testkit::{BatchSpec, KeyValue, batch};

use super::{AGAIN, Shared, TOPIC, may_be_retried};

/// How long it waits for one answer.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Sends to all partitions until the run ends. `number` tells producers apart.
pub(crate) async fn produce(shared: Shared, number: u64, partitions: i32, mut chance: Chance) {
    let Some(identity) = identity(&shared, &mut chance).await else { return };
    let (mut sequences, mut count) = (BTreeMap::new(), 0);
    while !shared.is_ending() {
        let partition = i32::try_from(chance.below(u64::try_from(partitions).unwrap_or(1))).unwrap_or(0);
        let padding = "x".repeat(chance.pick(&[0, 50, 400]));
        let values: Vec<String> =
            (0..=chance.below(4)).map(|at| format!("{number}-{}-{padding}", count + at)).collect();
        count += values.len() as u64;
        let sequence: &mut i32 = sequences.entry(partition).or_default();
        shared.judge(partition, |model| {
            model.send(&values);
            Ok(())
        });
        let records = records(&values, identity, *sequence);
        let Some(base) = send(&shared, partition, &records, &mut chance).await else { return };
        *sequence += i32::try_from(values.len()).unwrap_or(0);
        shared.trace.note("producer", format_args!("{number}: {} at {base} of {partition}", values.len()));
        if shared.judge(partition, |model| model.acknowledge(number, base.0, &values)).is_none() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(chance.below(30))).await;
    }
}

async fn identity(shared: &Shared, chance: &mut Chance) -> Option<ProducerIdentity> {
    while !shared.is_ending() {
        if let Some(at) = shared.directory.any(chance)
            && let Some(Ok(identity)) =
                shared.directory.ask(at, |broker| async move { broker.init_producer_id(None).await }).await
        {
            return Some(identity);
        }
        tokio::time::sleep(AGAIN).await;
    }
    None
}

/// Sends until it is acknowledged. `None` if it is refused for good, which is wrong.
async fn send(shared: &Shared, partition: i32, records: &Bytes, chance: &mut Chance) -> Option<Offset> {
    loop {
        match attempt(shared, partition, records.clone(), chance).await {
            Some(Ok(produced)) => return Some(produced.base_offset),
            Some(Err(error)) if !may_be_retried(&error) => {
                let why = format!("{:?} for a producer that did nothing wrong: {error}", error.kind);
                shared.judge::<()>(partition, |_| Err(why));
                return None;
            }
            Some(Err(_)) | None => tokio::time::sleep(AGAIN).await,
        }
    }
}

async fn attempt(
    shared: &Shared,
    partition: i32,
    records: Bytes,
    chance: &mut Chance,
) -> Option<Result<Produced, Error>> {
    let (leader, _) = shared.leader(partition, chance).await?;
    let part = ProducePartition { topic: TopicKey::Name(TOPIC.to_owned()), partition, records, expected_offset: None };
    let request = ProduceRequest { acks: Acks::All, timeout: TIMEOUT, partitions: vec![part] };
    let answers = shared.directory.ask(leader, |broker| async move { broker.produce(request).await }).await?;
    let none = || Err(Error::new(ErrorKind::Internal, "no answer for the partition"));
    Some(answers.into_iter().next().map_or_else(none, |answer| answer.outcome))
}

fn records(values: &[String], identity: ProducerIdentity, sequence: i32) -> Bytes {
    let records: Vec<KeyValue<'_>> = values.iter().map(|value| (None, Some(value.as_bytes()))).collect();
    let producer = (identity.id.0, identity.epoch, sequence);
    batch(&BatchSpec { records: &records, producer, ..BatchSpec::default() })
}
