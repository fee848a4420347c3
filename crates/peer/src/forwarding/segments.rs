//! What is done with stored records: the leader does it.

use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use runnel_api::error::Result;
use runnel_api::{LogDir, Sealed, Segments, TopicKey};
use runnel_record::Offset;

use super::Forwarding;

#[async_trait]
impl Segments for Forwarding {
    async fn seal(&self, topic: &TopicKey, partition: i32, wait: Duration) -> Result<Sealed> {
        self.ask_leader(topic, partition, |peer| {
            let topic = topic.clone();
            Box::pin(async move { peer.seal(&topic, partition, wait).await })
        })
        .await
    }

    async fn delete_records(
        &self,
        topic: &TopicKey,
        partition: i32,
        before: Option<Offset>,
        wait: Duration,
    ) -> Result<Offset> {
        self.ask_leader(topic, partition, |peer| {
            let topic = topic.clone();
            Box::pin(async move { peer.delete_records(&topic, partition, before, wait).await })
        })
        .await
    }

    /// Of all brokers where clients see one; else of this one, since they ask each.
    async fn log_dirs(&self, topics: Option<&[String]>) -> Vec<LogDir> {
        if !self.as_one {
            return self.local.log_dirs(topics).await;
        }
        let mut brokers = vec![self.peer(None)];
        brokers.extend(self.others().await);
        let dirs = join_all(brokers.iter().map(|peer| peer.log_dirs(topics))).await;
        together(dirs.into_iter().flatten())
    }
}

/// Places of the same name as one: the bucket is that of all brokers.
fn together(dirs: impl Iterator<Item = LogDir>) -> Vec<LogDir> {
    let mut all: Vec<LogDir> = Vec::new();
    for dir in dirs {
        match all.iter_mut().find(|known| known.path == dir.path) {
            None => all.push(dir),
            Some(known) => {
                known.partitions.extend(dir.partitions);
                known.partitions.sort();
                // As much as there is room for wherever a partition is led.
                known.usable_bytes = known.usable_bytes.min(dir.usable_bytes);
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_one_name_become_one() {
        let dir = |path: &str, free, partition| LogDir {
            path: path.to_owned(),
            usable_bytes: free,
            partitions: vec![("t".to_owned(), partition, 10)],
        };
        let all = [dir("s3://b", None, 1), dir("/wal", Some(5), 1), dir("s3://b", None, 0), dir("/wal", Some(3), 0)];
        let found = together(all.into_iter());
        assert_eq!(found.len(), 2);
        assert_eq!((found[1].path.as_str(), found[1].usable_bytes), ("/wal", Some(3)));
        assert_eq!(found[0].partitions, [("t".to_owned(), 0, 10), ("t".to_owned(), 1, 10)]);
    }
}
