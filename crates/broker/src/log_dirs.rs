//! Where the records are, and how much room they take: the bucket for what is shipped, this disk for the rest.

use std::sync::Arc;

use runnel_api::{LogDir, TopicKey};
use runnel_runtime::simulation::blocking;

use crate::Broker;
use crate::topics::Topic;

impl Broker {
    /// Bucket first. A partition that does not open is left out.
    pub(crate) async fn measure(&self, wanted: Option<&[String]>) -> Vec<LogDir> {
        let topics: Vec<Arc<Topic>> = match wanted {
            None => self.topics.all(),
            Some(names) => names.iter().filter_map(|name| self.topics.find(&TopicKey::Name(name.clone()))).collect(),
        };
        let (mut shipped, mut unshipped) = (Vec::new(), Vec::new());
        for topic in topics {
            for number in (0..topic.partition_count()).filter_map(|n| i32::try_from(n).ok()) {
                let Ok(partition) = self.open_in(&topic, number).await else { continue };
                let snapshot = partition.snapshot();
                let root = snapshot.root();
                let inline: u64 = root.segments.iter().map(|segment| segment.bytes).sum();
                let older: u64 = root.chunks.iter().map(|chunk| chunk.segment_bytes).sum();
                shipped.push((topic.name.clone(), number, inline + older));
                let waiting = partition.unshipped().map_or(0, |(bytes, _)| bytes);
                unshipped.push((topic.name.clone(), number, waiting));
            }
        }
        let (disk, wal) = (Arc::clone(&self.ports.disk), self.home.layout.wal());
        let path = wal.display().to_string();
        let free = blocking(move || disk.free_space(&wal)).await;
        let usable_bytes = free.ok().and_then(Result::ok);
        let bucket = LogDir { path: self.options.storage.url.clone(), usable_bytes: None, partitions: shipped };
        vec![bucket, LogDir { path, usable_bytes, partitions: unshipped }]
    }
}
