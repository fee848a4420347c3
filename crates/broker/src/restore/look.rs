//! What bucket and store hold.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream};
use runnel_blob::{Bucket, Key, Version};
use runnel_format::Levels;
use runnel_format::manifest::Root;
use runnel_format::meta::{BrokerRecord, ClusterRecord, ClusterSettings, TopicRecord};
use runnel_metastore::{Compare, MetaStore};
use runnel_record::{TopicId, TopicPartition};

use super::decide::InStore;
use super::{AT_ONCE, DISCARDING, Progress, RESTORING, RestoreError, Watcher};
use crate::cluster::{CLUSTER, LIVE};
use crate::topics::ids_under;

/// The cluster of a bucket.
pub(super) async fn cluster(bucket: &Bucket) -> Result<(ClusterRecord, Version), RestoreError> {
    let found = bucket.read_register(&Key::ClusterId).await?.ok_or(RestoreError::NoCluster)?;
    Ok((record(&found.payload)?, found.version))
}

/// The record of a cluster that this release may work on.
fn record(bytes: &[u8]) -> Result<ClusterRecord, RestoreError> {
    Levels::SUPPORTED.check(ClusterRecord::level_of(bytes)?)?;
    Ok(ClusterRecord::decode(bytes)?)
}

pub(super) async fn store(meta: &dyn MetaStore) -> Result<InStore, RestoreError> {
    let mut store = InStore::default();
    let found = meta.range("").await?;
    store.unchanged = [CLUSTER, RESTORING]
        .map(|name| match found.iter().find(|(key, _)| key == name) {
            Some((key, found)) => Compare::Revision(key.clone(), found.revision),
            None => Compare::Absent(name.to_owned()),
        })
        .into();
    for (key, found) in found {
        store.keys += 1;
        match key.as_str() {
            CLUSTER => store.cluster = Some(record(&found.value)?),
            RESTORING => store.begun = Some(record(&found.value)?),
            DISCARDING => store.discarding = true,
            // What cannot be read is alive all the same.
            live if live.starts_with(LIVE) => store
                .alive
                .push(BrokerRecord::decode(&found.value).map_or_else(|_| live.to_owned(), |broker| broker.name)),
            _ => {}
        }
    }
    Ok(store)
}

/// The topics of a bucket that are not deleted, by name.
pub(super) async fn topics(bucket: &Bucket) -> Result<Vec<TopicRecord>, RestoreError> {
    let ids = ids_under(bucket, "meta/topics/").await?;
    // In this order: who is deleted meanwhile may be gone from both.
    let dead = tombstones(bucket).await?;
    let read = |id: TopicId| async move {
        let found = bucket.read_register(&Key::Topic(id)).await?;
        Ok::<_, RestoreError>(found.map(|found| TopicRecord::decode(&found.payload)).transpose()?)
    };
    let live = ids.into_iter().filter(|id| !dead.contains(id)).map(read).collect::<Vec<_>>();
    let found: Vec<Option<TopicRecord>> = stream::iter(live).buffered(AT_ONCE).try_collect().await?;
    let mut topics: Vec<TopicRecord> = found.into_iter().flatten().collect();
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(topics)
}

/// Topics that were deleted.
pub(super) async fn tombstones(bucket: &Bucket) -> Result<BTreeSet<TopicId>, RestoreError> {
    Ok(ids_under(bucket, "meta/tombstones/").await?)
}

/// What requests have set on brokers, groups and clients.
pub(super) async fn settings(bucket: &Bucket) -> Result<Option<ClusterSettings>, RestoreError> {
    let found = bucket.read_register(&Key::Settings).await?;
    Ok(found.map(|found| ClusterSettings::decode(&found.payload)).transpose()?)
}

/// Where the segments of all partitions of each topic end, summed up.
pub(super) async fn shipped(
    bucket: &Bucket,
    topics: &[TopicRecord],
    watch: Watcher<'_>,
) -> Result<Vec<u64>, RestoreError> {
    let tps = topics.iter().enumerate().flat_map(|(at, topic)| {
        (0..topic.partitions).map(move |partition| (at, TopicPartition { topic: topic.id, partition }))
    });
    let reads = tps.map(|(at, tp)| async move {
        let found = bucket.read_register(&Key::Root(tp)).await?;
        let root = found.map(|found| Root::decode(&found.payload)).transpose()?;
        Ok::<_, RestoreError>((at, root.map_or(0, |root| root.end.0.unsigned_abs())))
    });
    let reads: Vec<_> = reads.collect();
    let (total, mut done, mut shipped) = (reads.len(), 0, vec![0; topics.len()]);
    let mut reads = stream::iter(reads).buffer_unordered(AT_ONCE);
    while let Some((at, end)) = reads.try_next().await? {
        shipped[at] += end;
        done += 1;
        watch(Progress { what: "reading roots", done, total });
    }
    Ok(shipped)
}
