//! An idempotent producer: it tries again until it is told, and numbers what it sends.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use runnel_api::{Acks, Error, ErrorKind, Produce as _, ProducePartition, ProduceRequest, Produced, ProducerIdentity};
use runnel_runtime::simulation::Chance;

use super::{AGAIN, Log, Shared, batches};
use crate::kinds::Operation;
use crate::told::Place;

/// How long it waits for one answer.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Sends to all partitions of the lasting topic until the run ends. `number` tells producers apart; one that renews itself
/// takes another identity for each batch.
pub(crate) async fn produce(
    shared: Shared,
    (number, batch, renews): (u64, u64, bool),
    partitions: i32,
    mut chance: Chance,
) {
    let name = format!("producer-{number}");
    let producer = Producer::new(&shared, name, batch, Chance::new(chance.next()));
    let Some(mut producer) = producer.await else { return };
    while !shared.is_ending() {
        let partition = i32::try_from(chance.below(u64::try_from(partitions).unwrap_or(1))).unwrap_or(0);
        if producer.send(&Log::lasting(partition)).await.is_none() {
            return;
        }
        if renews && producer.renew().await.is_none() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(chance.below(30))).await;
    }
}

pub(super) struct Producer {
    shared: Shared,
    name: String,
    /// Records that it sends at once, at most.
    batch: u64,
    chance: Chance,
    /// How long it waits for an answer before it sends again, which may be while the batch is on its way to the log.
    patience: Duration,
    identity: ProducerIdentity,
    sequences: BTreeMap<Place, i32>,
    /// The number of its next value.
    next: u64,
}

impl Producer {
    /// `None` if the run ends before it has an identity.
    pub(super) async fn new(shared: &Shared, name: String, batch: u64, mut chance: Chance) -> Option<Self> {
        let identity = identify(shared, &mut chance, Shared::is_ending).await?;
        let (shared, sequences) = (shared.clone(), BTreeMap::new());
        let patience = Duration::from_millis(chance.pick(&[400, 60_000, 60_000, 60_000]));
        Some(Self { shared, name, batch, chance, patience, identity, sequences, next: 0 })
    }

    /// Goes on as somebody else. `None` if something is wrong.
    async fn renew(&mut self) -> Option<()> {
        self.identity = identify(&self.shared, &mut self.chance, |shared| shared.verdict().is_some()).await?;
        self.sequences.clear();
        Some(())
    }

    /// Sends some values until they are acknowledged. `None` if they are refused for good, which is wrong.
    pub(super) async fn send(&mut self, log: &Log) -> Option<()> {
        let padding = "x".repeat(self.chance.pick(&[0, 50, 400]));
        let numbers = self.next..self.next + 1 + self.chance.below(self.batch);
        self.next = numbers.end;
        let values: Vec<String> = numbers.clone().map(|number| format!("{}:{number}:{padding}", self.name)).collect();
        let mut records = self.batch(log, &values)?;
        self.shared.trace.count_many(Operation::Record, numbers.end - numbers.start);
        self.shared.told.send(&self.name, &log.place, numbers.clone());
        let base = loop {
            let patience = self.patience;
            match tokio::time::timeout(patience, self.attempt(log, records.clone())).await.ok().flatten() {
                Some(Ok(produced)) => break produced.base_offset.0,
                // What it sent before was given up, and with it what it sends now: nobody has it.
                Some(Err(error)) if self.shared.may_lose() && error.kind == ErrorKind::OutOfOrderSequence => {
                    self.renew().await?;
                    records = self.batch(log, &values)?;
                }
                Some(Err(error)) if !self.shared.may_retry(&self.name, &error) => return None,
                Some(Err(_)) | None => tokio::time::sleep(AGAIN).await,
            }
            if self.shared.verdict().is_some() {
                return None;
            }
        };
        *self.sequences.entry(log.place.clone()).or_default() += i32::try_from(values.len()).unwrap_or(0);
        let Place { topic, partition } = &log.place;
        self.shared.trace.note(&self.name, format_args!("{} at {base} of {topic}/{partition}", values.len()));
        self.shared.told.acked(&self.name, &log.place, numbers, base);
        Some(())
    }

    /// `None` if it cannot be made, which is wrong.
    fn batch(&mut self, log: &Log, values: &[String]) -> Option<Bytes> {
        let sequence = self.sequences.get(&log.place).copied().unwrap_or(0);
        match batches::build(values, self.identity, sequence, &mut self.chance) {
            Ok(records) => Some(records),
            Err(error) => {
                self.shared.condemn(&self.name, &format!("cannot make a batch: {error}"));
                None
            }
        }
    }

    async fn attempt(&mut self, log: &Log, records: Bytes) -> Option<Result<Produced, Error>> {
        let (leader, _) = self.shared.leader(log, &mut self.chance).await?;
        self.shared.trace.count(Operation::Produce);
        let (topic, partition) = (log.key.clone(), log.place.partition);
        let part = ProducePartition { topic, partition, records, expected_offset: None };
        let request = ProduceRequest { acks: Acks::All, timeout: TIMEOUT, partitions: vec![part] };
        let answers = self.shared.directory.ask(leader, |broker| async move { broker.produce(request).await }).await?;
        let none = || Err(Error::new(ErrorKind::Internal, "no answer for the partition"));
        let outcome = answers.into_iter().next().map_or_else(none, |answer| answer.outcome);
        let is_damage = outcome.as_ref().is_err_and(|error| self.shared.is_damage(leader, error));
        (!is_damage).then_some(outcome)
    }
}

/// A new identity. `None` if that is given up.
async fn identify(shared: &Shared, chance: &mut Chance, is_over: impl Fn(&Shared) -> bool) -> Option<ProducerIdentity> {
    while !is_over(shared) {
        shared.trace.count(Operation::Admin);
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
