//! What is in the bucket, and whether it fits together.

use std::collections::BTreeSet;

use bytes::Bytes;
use runnel_blob::Key;
use runnel_format::manifest::Root;
use runnel_format::meta::PartitionRecord;
use runnel_metastore::{Embedded, MetaStore};
use runnel_record::TopicPartition;
use runnel_runtime::FailPoints;
use runnel_segment::manifest::{IfAbsent, Manifest};
use uuid::Uuid;

use super::{Node, World};

impl World {
    /// The keys of all segment objects of a partition, of this incarnation of the topic.
    pub(crate) fn segments(&self, node: &Node, tp: TopicPartition) -> Vec<Key> {
        let listed = node.run(self.bucket.list("topics/")).unwrap();
        let keys = listed.iter().filter_map(|object| Key::parse_segment(&object.path));
        keys.filter(|key| matches!(key, Key::Segment { tp: of, .. } if *of == tp)).collect()
    }

    /// The root of a partition and the ids that it refers to.
    pub(crate) fn root(&self, node: &Node, name: &str, tp: TopicPartition) -> (Root, BTreeSet<Uuid>) {
        let fail = FailPoints::default();
        node.run(async {
            let manifest = Manifest::load(&self.bucket, tp, name, IfAbsent::Corrupt, fail).await.unwrap();
            let referenced = manifest.snapshot().all_segments().await.unwrap();
            (manifest.root().clone(), referenced.into_iter().map(|segment| segment.id).collect())
        })
    }

    /// The segments of a partition that its root does not refer to. Those that it refers to are all there.
    pub(crate) fn orphans(&self, node: &Node, name: &str, tp: TopicPartition) -> Vec<Uuid> {
        let (_, referenced) = self.root(node, name, tp);
        let ids = self.segments(node, tp).into_iter().map(|key| match key {
            Key::Segment { id, .. } => id,
            other => panic!("{other:?} is no segment"),
        });
        let found: BTreeSet<Uuid> = ids.collect();
        assert!(found.is_superset(&referenced), "the root refers to segments that are not there");
        found.difference(&referenced).copied().collect()
    }

    /// The copy of the root in the metadata store of a broker that has ended.
    pub(crate) fn kept_root(&self, tp: TopicPartition) -> Option<Bytes> {
        let found = self.kept(&format!("p/{}/{}", tp.topic, tp.partition))?;
        PartitionRecord::decode(&found).unwrap().last_root.map(|(root, _)| root)
    }

    /// Whether a broker that has ended put a block of producer ids aside.
    pub(crate) fn has_spare_producer_ids(&self) -> bool {
        self.kept("pids/spare").is_some()
    }

    /// A value in the metadata store of a broker that has ended.
    fn kept(&self, key: &str) -> Option<Bytes> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let meta = Embedded::open(&self.metadata()).unwrap();
            let found = meta.get(key).await.unwrap();
            meta.close().await;
            found.map(|found| found.value)
        })
    }
}
