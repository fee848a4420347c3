//! What the bucket holds of a topic.

use anyhow::Context;
use runnel_blob::{Bucket, Key};
use runnel_format::manifest::SegmentRef;
use runnel_format::meta::{NameClaim, TopicRecord};
use runnel_record::{TopicId, TopicPartition};
use runnel_runtime::FailPoints;
use runnel_segment::manifest::{IfAbsent, Manifest, Snapshot};

use crate::cli::Failure;
use crate::config::Config;

/// A topic's partitions, as their roots in the bucket tell.
pub(super) struct Catalog {
    pub(super) bucket: Bucket,
    /// What stands in front of an object's name to make its address.
    pub(super) base: String,
    pub(super) topic: TopicRecord,
    pub(super) partitions: Vec<Listed>,
}

/// One partition.
pub(super) struct Listed {
    pub(super) partition: i32,
    pub(super) snapshot: Snapshot,
    pub(super) segments: Vec<SegmentRef>,
}

impl Catalog {
    pub(super) async fn read(config: &Config, topic: &str, partition: Option<i32>) -> anyhow::Result<Self> {
        let bucket = Bucket::open(&config.storage_options(), FailPoints::default())?;
        let topic = find_topic(&bucket, topic).await?;
        let wanted = match partition {
            None => 0..topic.partitions,
            Some(one) if (0..topic.partitions).contains(&one) => one..one + 1,
            Some(one) => {
                let what = format!("topic `{}` has partitions 0 to {}, not {one}", topic.name, topic.partitions - 1);
                return Err(Failure::NotFound(what).into());
            }
        };
        let mut partitions = Vec::new();
        for partition in wanted {
            let tp = TopicPartition { topic: topic.id, partition };
            let none = FailPoints::default();
            let manifest = Manifest::load(&bucket, tp, &topic.name, IfAbsent::Empty, none).await;
            let snapshot = manifest.with_context(|| format!("partition {partition}"))?.snapshot();
            let segments = snapshot.all_segments().await.with_context(|| format!("partition {partition}"))?;
            partitions.push(Listed { partition, snapshot, segments });
        }
        let base = match config.storage_url().strip_prefix("file://") {
            Some(folder) => folder.to_owned(),
            None => config.storage_url().to_owned(),
        };
        Ok(Self { bucket, base: base.trim_end_matches('/').to_owned(), topic, partitions })
    }

    /// Every segment with its partition, in order.
    pub(super) fn segments(&self) -> impl Iterator<Item = (&Listed, &SegmentRef)> {
        self.partitions.iter().flat_map(|listed| listed.segments.iter().map(move |segment| (listed, segment)))
    }

    /// The address of a segment: a path, or an `s3://` URL.
    pub(super) fn address(&self, listed: &Listed, segment: &SegmentRef) -> String {
        format!("{}/{}", self.base, listed.snapshot.key(segment).path())
    }
}

async fn find_topic(bucket: &Bucket, name: &str) -> anyhow::Result<TopicRecord> {
    let missing = || Failure::NotFound(format!("there is no topic `{name}` in this bucket"));
    let claim = bucket.read_register(&Key::TopicName(name.to_owned())).await?.ok_or_else(missing)?;
    let id: TopicId = NameClaim::decode(&claim.payload)?.id;
    if bucket.read_register(&Key::Tombstone(id)).await?.is_some() {
        return Err(missing().into());
    }
    let record = bucket.read_register(&Key::Topic(id)).await?.ok_or_else(missing)?;
    Ok(TopicRecord::decode(&record.payload)?)
}
