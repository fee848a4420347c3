//! What clients do: requests through the traits of `runnel_api`.

use std::time::Duration;

use bytes::Bytes;
use runnel_api::{
    Acks, Admin, Cluster, CreateTopic, Error, Fetch, FetchPartition, FetchRequest, Fetched, Isolation, ListedOffset,
    OffsetSpec, Offsets, Produce, ProducePartition, ProduceRequest, Produced, ProducerIdentity, TopicKey,
};
use runnel_broker::Broker;
use runnel_record::{Batch, Offset, TopicId};

use super::{Node, PATIENCE, eventually};

/// A record as a consumer sees it.
pub(crate) type Record = (i64, Vec<u8>);

/// A position to fetch from and the limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FetchFrom<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) max_bytes: usize,
}

impl FetchFrom<'_> {
    pub(crate) fn partition(&self) -> FetchPartition {
        FetchPartition {
            topic: name(self.topic),
            partition: self.partition,
            offset: Offset(self.offset),
            max_bytes: self.max_bytes,
            current_leader_epoch: None,
            last_fetched_epoch: None,
            zone: None,
        }
    }

    pub(crate) fn request(&self) -> FetchRequest {
        FetchRequest {
            max_wait: Duration::ZERO,
            min_bytes: 1,
            max_bytes: usize::MAX,
            isolation: Isolation::ReadCommitted,
            partitions: vec![self.partition()],
        }
    }
}

pub(crate) fn name(topic: &str) -> TopicKey {
    TopicKey::Name(topic.to_owned())
}

/// Appends, and waits at most this long.
pub(crate) async fn produce(
    broker: &Broker,
    topic: TopicKey,
    partition: i32,
    records: Bytes,
    timeout: Duration,
) -> Result<Produced, Error> {
    let partitions = vec![ProducePartition { topic, partition, records, expected_offset: None }];
    let mut answers = broker.produce(ProduceRequest { acks: Acks::All, timeout, partitions }).await;
    assert_eq!(answers.len(), 1);
    answers.remove(0).outcome
}

pub(crate) async fn fetch(broker: &Broker, request: FetchRequest) -> Result<Fetched, Error> {
    let mut answers = broker.fetch(request).await;
    assert_eq!(answers.len(), 1);
    answers.remove(0).outcome
}

/// The records of batches, with their offsets.
pub(crate) fn records(batches: &[Batch]) -> Vec<Record> {
    let of = |batch: &Batch| {
        batch.verify_crc().unwrap();
        let body = batch.inflate(64 << 20).unwrap();
        let record = |record: Result<runnel_record::RecordRef<'_>, _>| {
            let record = record.unwrap();
            (batch.base_offset().0 + i64::from(record.offset_delta), record.value.unwrap_or_default().to_vec())
        };
        body.records().map(record).collect::<Vec<_>>()
    };
    batches.iter().flat_map(of).collect()
}

/// Reads from `from` to the high watermark as a consumer does; offsets must follow each other.
pub(crate) async fn read_from(
    broker: &Broker,
    topic: &str,
    partition: i32,
    from: i64,
    max_bytes: usize,
) -> Result<Vec<Record>, Error> {
    let mut all: Vec<Record> = Vec::new();
    loop {
        let at = from + i64::try_from(all.len()).unwrap();
        let fetched = fetch(broker, FetchFrom { topic, partition, offset: at, max_bytes }.request()).await?;
        if at == fetched.high_watermark.0 {
            return Ok(all);
        }
        let found = records(&fetched.batches);
        assert!(!found.is_empty(), "nothing at {at}, below the high watermark {}", fetched.high_watermark);
        for (offset, value) in found.into_iter().filter(|(offset, _)| *offset >= at) {
            assert_eq!(offset, from + i64::try_from(all.len()).unwrap(), "a record is missing or comes twice");
            all.push((offset, value));
        }
    }
}

impl Node {
    pub(crate) fn create(&self, topic: &str, partitions: i32, configs: &[(&str, &str)]) -> TopicId {
        self.try_create(topic, partitions, configs).unwrap()
    }

    pub(crate) fn try_create(&self, topic: &str, partitions: i32, configs: &[(&str, &str)]) -> Result<TopicId, Error> {
        let wanted = CreateTopic {
            name: topic.to_owned(),
            partitions: Some(partitions),
            replication_factor: None,
            assignments: Vec::new(),
            configs: configs.iter().map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned()))).collect(),
        };
        self.run(self.broker().create_topic(wanted, false)).map(|created| created.id)
    }

    pub(crate) fn delete(&self, topic: &str) -> Result<TopicId, Error> {
        self.run(self.broker().delete_topic(&name(topic))).map(|(_, id)| id)
    }

    pub(crate) fn topic_id(&self, topic: &str) -> Result<TopicId, Error> {
        self.run(self.broker().describe_topic(&name(topic), false)).map(|found| found.id)
    }

    pub(crate) fn produce(&self, topic: &str, partition: i32, records: Bytes) -> Result<Produced, Error> {
        self.run(produce(&self.broker(), name(topic), partition, records, PATIENCE))
    }

    /// Appends and gives the base offset.
    pub(crate) fn append(&self, topic: &str, partition: i32, records: Bytes) -> i64 {
        self.produce(topic, partition, records).unwrap().base_offset.0
    }

    pub(crate) fn fetch(&self, request: FetchRequest) -> Result<Fetched, Error> {
        self.run(fetch(&self.broker(), request))
    }

    /// What one fetch at an offset gives.
    pub(crate) fn fetch_at(&self, topic: &str, partition: i32, offset: i64) -> Result<Vec<Record>, Error> {
        let request = FetchFrom { topic, partition, offset, max_bytes: 1 << 20 }.request();
        self.fetch(request).map(|fetched| records(&fetched.batches))
    }

    /// Every record of a partition.
    pub(crate) fn read(&self, topic: &str, partition: i32) -> Vec<Record> {
        self.try_read(topic, partition).unwrap()
    }

    pub(crate) fn try_read(&self, topic: &str, partition: i32) -> Result<Vec<Record>, Error> {
        self.run(read_from(&self.broker(), topic, partition, 0, 1 << 20))
    }

    /// The values of every record of a partition.
    pub(crate) fn read_values(&self, topic: &str, partition: i32) -> Vec<String> {
        self.read(topic, partition).into_iter().map(|(_, value)| String::from_utf8(value).unwrap()).collect()
    }

    pub(crate) fn list(&self, topic: &str, partition: i32, spec: OffsetSpec) -> Result<Option<ListedOffset>, Error> {
        let broker = self.broker();
        self.run(broker.list_offset(&name(topic), partition, spec, Isolation::ReadUncommitted, None))
    }

    pub(crate) fn log_end(&self, topic: &str, partition: i32) -> i64 {
        self.list(topic, partition, OffsetSpec::Latest).unwrap().unwrap().offset.0
    }

    /// End of what is in the bucket.
    pub(crate) fn shipped(&self, topic: &str, partition: i32) -> i64 {
        let last = self.list(topic, partition, OffsetSpec::LatestTiered).unwrap();
        last.map_or(0, |last| last.offset.0 + 1)
    }

    pub(crate) fn wait_shipped(&self, topic: &str, partition: i32, end: i64) {
        eventually("the ship", || (self.shipped(topic, partition) >= end).then_some(()));
    }

    pub(crate) fn producer(&self) -> ProducerIdentity {
        self.run(self.broker().init_producer_id(None)).unwrap()
    }

    /// What health says of `check`: passed, and the sentence.
    pub(crate) fn health(&self, check: &str) -> (bool, String) {
        let health = self.run(self.broker().health());
        health.checks.into_iter().find(|(name, ..)| name == check).map(|(_, passed, says)| (passed, says)).unwrap()
    }

    /// Waits until the broker has compared itself with the bucket.
    pub(crate) fn wait_agreed(&self) {
        eventually("the agreement with the bucket", || (self.health("bucket").1 == "claimed").then_some(()));
    }

    /// Bytes of the log that wait for the bucket.
    pub(crate) fn unshipped_bytes(&self) -> u64 {
        let (_, says) = self.health("wal");
        says.split(' ').next().unwrap().parse().unwrap_or_else(|_| panic!("{says}"))
    }
}
