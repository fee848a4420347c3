//! `runnel segment verify --all`: everything that the bucket refers to is there, and everything that is there is referred
//! to, or will be deleted by somebody.
//!
//! Partition by partition, then all names, then lane by lane, so what is held in memory is what one partition or one lane
//! refers to. Brokers may be at work meanwhile: what looks wrong counts only if it is still wrong, and still referred to,
//! when it is looked at once more.

mod lanes;
mod names;
mod partitions;
mod report;

use std::collections::{BTreeMap, BTreeSet};

use runnel_blob::{Bucket, Key};
use runnel_format::meta::{ClusterRecord, ClusterSettings, NameClaim, ProducerBlocks, TopicRecord};
use runnel_record::TopicId;
use runnel_runtime::FailPoints;
use uuid::Uuid;

use crate::cli::Failure;
use crate::cli::output::Output;
use crate::cli::progress::bar;
use crate::config::Config;
use report::Report;

/// Requests in flight.
const AT_ONCE: usize = 16;

/// A look at everything.
struct Audit {
    bucket: Bucket,
    deep: bool,
    cluster: ClusterRecord,
    topics: BTreeMap<TopicId, TopicRecord>,
    deleted: BTreeSet<TopicId>,
    /// Every lane whose objects were seen.
    lanes: BTreeSet<Uuid>,
    report: Report,
}

pub(super) async fn run(config: &Config, deep: bool, output: Output) -> anyhow::Result<()> {
    let none = || Failure::NotFound("the bucket holds no cluster below its prefix".to_owned());
    let bucket = Bucket::open_existing(&config.storage_options())?.ok_or_else(none)?;
    let found = bucket.read_register(&Key::ClusterId).await?.ok_or_else(none)?;
    let cluster = ClusterRecord::decode(&found.payload)?;
    let (topics, deleted, lanes) = Default::default();
    let mut audit = Audit { bucket, deep, cluster, topics, deleted, lanes, report: Report::default() };
    audit.metadata().await?;
    audit.all_partitions().await?;
    audit.all_names().await?;
    audit.all_lanes().await?;
    audit.report.finish(&audit.cluster, output)
}

impl Audit {
    /// Registers below `meta/`: they can be read, and every topic is found by its name.
    async fn metadata(&mut self) -> anyhow::Result<()> {
        // In this order: a topic that is deleted meanwhile has its tombstone before it goes.
        let ids = self.ids("meta/topics/").await?;
        self.deleted = self.ids("meta/tombstones/").await?;
        for id in ids {
            let key = Key::Topic(id);
            match self.bucket.read_register(&key).await {
                Ok(None) => {}
                Ok(Some(found)) => match TopicRecord::decode(&found.payload) {
                    Ok(record) if !self.deleted.contains(&id) => self.topic(record).await?,
                    Ok(_) => {}
                    Err(error) => self.report.broken(key.path(), error.to_string()),
                },
                Err(error) => self.unreadable(&key, error)?,
            }
        }
        match self.bucket.read_register(&Key::Pids).await {
            Ok(found) => self.decodes(&Key::Pids, found.map(|found| ProducerBlocks::decode(&found.payload).map(drop))),
            Err(error) => self.unreadable(&Key::Pids, error)?,
        }
        match self.bucket.read_register(&Key::Settings).await {
            Ok(found) => {
                self.decodes(&Key::Settings, found.map(|found| ClusterSettings::decode(&found.payload).map(drop)));
            }
            Err(error) => self.unreadable(&Key::Settings, error)?,
        }
        Ok(())
    }

    async fn topic(&mut self, record: TopicRecord) -> anyhow::Result<()> {
        let key = Key::TopicName(record.name.clone());
        match self.bucket.read_register(&key).await {
            Ok(found) => match found.map(|found| NameClaim::decode(&found.payload)) {
                Some(Ok(claim)) if claim.id == record.id => {}
                Some(Err(error)) => self.report.broken(key.path(), error.to_string()),
                _ => self.report.broken(key.path(), format!("does not name topic {}, which has this name", record.id)),
            },
            Err(error) => self.unreadable(&key, error)?,
        }
        self.topics.insert(record.id, record);
        Ok(())
    }

    fn decodes(&mut self, key: &Key, decoded: Option<Result<(), runnel_format::Error>>) {
        if let Some(Err(error)) = decoded {
            self.report.broken(key.path(), error.to_string());
        }
    }

    /// Damage is a finding; a bucket that does not answer ends the look.
    fn unreadable(&mut self, key: &Key, error: runnel_blob::Error) -> anyhow::Result<()> {
        if error.kind() != runnel_blob::ErrorKind::Corrupt {
            return Err(error.into());
        }
        self.report.broken(key.path(), error.to_string());
        Ok(())
    }

    async fn ids(&self, prefix: &str) -> anyhow::Result<BTreeSet<TopicId>> {
        let (mut walk, mut ids) = (self.bucket.walk(prefix)?, BTreeSet::new());
        loop {
            let page = walk.next().await?;
            if page.is_empty() {
                return Ok(ids);
            }
            ids.extend(page.iter().filter_map(|object| object.path.strip_prefix(prefix)?.parse::<TopicId>().ok()));
        }
    }

    async fn all_partitions(&mut self) -> anyhow::Result<()> {
        let topics: Vec<TopicRecord> = self.topics.values().cloned().collect();
        let total: i64 = topics.iter().map(|topic| i64::from(topic.partitions)).sum();
        let bar = bar("partitions", total.unsigned_abs())?;
        for topic in &topics {
            for partition in 0..topic.partitions {
                self.partition(topic, partition).await?;
                bar.inc(1);
            }
        }
        self.report.topics = topics.len();
        Ok(())
    }
}

/// Fail points of a reader that has none.
fn no_fail_points() -> FailPoints {
    FailPoints::default()
}
