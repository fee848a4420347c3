//! DescribeLogDirs: the bucket and the local log as two directories (KIP-113, KIP-827).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kafka_protocol::messages::describe_log_dirs_request::DescribeLogDirsRequest;
use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResponse, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use runnel_api::LogDir;

use crate::context::Context;
use crate::reply::{Outcome, first_error};
use crate::topics;

/// Partitions wanted, by topic; an empty set means all of them.
type Wanted = BTreeMap<String, BTreeSet<i32>>;

pub(crate) async fn handle(
    ctx: Arc<Context>,
    version: i16,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    let wanted: Option<Wanted> = request.topics.map(|topics| {
        let mut wanted = Wanted::new();
        for topic in topics {
            wanted.entry(topic.topic.to_string()).or_default().extend(topic.partitions);
        }
        wanted
    });
    let names: Option<Vec<String>> = wanted.as_ref().map(|wanted| wanted.keys().cloned().collect());
    let dirs = ctx.broker.log_dirs(names.as_deref()).await;
    let results = dirs.into_iter().map(|dir| result(version, dir, wanted.as_ref())).collect();
    DescribeLogDirsResponse::default().with_results(results)
}

fn result(version: i16, dir: LogDir, wanted: Option<&Wanted>) -> DescribeLogDirsResult {
    let is_wanted = |topic: &str, partition| {
        wanted.and_then(|wanted| wanted.get(topic)).is_none_or(|of| of.is_empty() || of.contains(&partition))
    };
    let mut by_topic: BTreeMap<String, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for (topic, partition, bytes) in dir.partitions.into_iter().filter(|(topic, n, _)| is_wanted(topic, *n)) {
        let size = i64::try_from(bytes).unwrap_or(i64::MAX);
        let shown = DescribeLogDirsPartition::default().with_partition_index(partition).with_partition_size(size);
        by_topic.entry(topic).or_default().push(shown);
    }
    let topics = by_topic.into_iter().map(|(name, partitions)| {
        DescribeLogDirsTopic::default().with_name(topics::wire_name(&name)).with_partitions(partitions)
    });
    let result = DescribeLogDirsResult::default().with_log_dir(topics::text(&dir.path)).with_topics(topics.collect());
    if version < 4 {
        return result;
    }
    // −1 is "unknown". What else is on the disk is nobody's business here, so its size is not told.
    let usable = dir.usable_bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    result.with_total_bytes(-1).with_usable_bytes(usable)
}

impl Outcome for DescribeLogDirsResponse {
    fn error_code(&self) -> i16 {
        first_error([self.error_code].into_iter().chain(self.results.iter().map(|dir| dir.error_code)))
    }
}
