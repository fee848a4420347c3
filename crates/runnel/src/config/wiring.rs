//! Settings as the options of the parts that they configure.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use runnel_broker::{
    CacheOptions, CoordinatorOptions, GroupOptions, Options, SegmentOptions, TopicOptions, WalOptions,
};
use runnel_runtime::disk::nearest_folder;

use super::{ByteSize, Config, MIN_WAL_LIMIT};

/// Ceiling of the derived `wal.max_unshipped`.
const MAX_UNSHIPPED: u64 = 4 << 30;

/// The lesser of 4 GiB and a quarter of the disk: of its size, since what is free when a broker starts may be nothing
/// for a moment (a full disk is the day of a restart) and its own log's room besides.
pub(crate) fn max_unshipped_on(disk_bytes: u64) -> u64 {
    (disk_bytes / 4).clamp(MIN_WAL_LIMIT, MAX_UNSHIPPED)
}

impl Config {
    pub(crate) fn broker_options(&self) -> anyhow::Result<Options> {
        Ok(Options {
            node_name: self.node.id.clone(),
            node_number: self.node.number,
            zone: self.node.zone.clone(),
            data_dir: self.node.data_dir.clone(),
            storage: self.storage_options(),
            wal: WalOptions {
                in_bucket: self.durability() == "object",
                object_max_bytes: self.wal.object.max_bytes.0,
                object_interval: self.wal.object.interval.0,
                ..WalOptions::new(self.wal.max_unflushed.0, self.max_unshipped()?)
            },
            segment: SegmentOptions {
                max_bytes: self.segment.max_bytes.0,
                max_age: self.segment.max_age.map_or(Duration::ZERO, |age| age.0),
                merge_bytes: self.segment.merge_bytes.0,
                merge_after: self.segment.merge_after.0,
            },
            cache: CacheOptions { memory: self.cache.memory.0, disk: self.cache.disk.0 },
            topics: TopicOptions {
                auto_create: self.topics.auto_create,
                default_partitions: self.topics.default_partitions,
                default_retention_ms: self
                    .topics
                    .default_retention
                    .0
                    .map_or(-1, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX)),
                retention_check: self.topics.retention_check.0,
                producer_expiration: self.topics.producer_expiration.0,
            },
            groups: GroupOptions {
                coordinator: CoordinatorOptions {
                    initial_rebalance_delay: self.groups.initial_rebalance_delay.0,
                    min_session_timeout: self.groups.min_session_timeout.0,
                    max_session_timeout: self.groups.max_session_timeout.0,
                    max_size: self.groups.max_size,
                    consumer_session_timeout: self.groups.consumer_session_timeout.0,
                    consumer_heartbeat_interval: self.groups.consumer_heartbeat_interval.0,
                    offsets_retention: self.groups.offsets_retention.0,
                    ..CoordinatorOptions::default()
                },
                offsets_partitions: self.groups.offsets_partitions,
            },
            shutdown_timeout: self.shutdown.timeout.0,
        })
    }

    pub(crate) fn storage_options(&self) -> runnel_blob::Options {
        runnel_blob::Options {
            endpoint: self.storage.endpoint.clone(),
            region: self.storage.region.clone(),
            access_key_id: self.storage.access_key_id.clone(),
            secret_access_key: self.storage.secret_access_key.clone(),
            allow_http: self.storage.allow_http,
            ..runnel_blob::Options::new(self.storage_url())
        }
    }

    /// As set, or derived from the disk of the data directory.
    pub(crate) fn max_unshipped(&self) -> anyhow::Result<u64> {
        if let Some(set) = self.wal.max_unshipped {
            return Ok(set.0);
        }
        let dir = &self.node.data_dir;
        let stat = rustix::fs::statvfs(nearest_folder(dir))
            .with_context(|| format!("cannot look at the disk of {}", dir.display()))?;
        Ok(max_unshipped_on(stat.f_blocks.saturating_mul(stat.f_frsize)))
    }

    pub(crate) fn kafka_options(
        &self,
        grpc: Option<SocketAddr>,
        http: Option<SocketAddr>,
    ) -> anyhow::Result<runnel_kafka::Options> {
        let defaults = runnel_kafka::Options::default();
        let max_frame_bytes = bytes(self.kafka.max_frame);
        let advertise = self.kafka.advertise.as_deref().map(str::parse).transpose();
        let options = runnel_kafka::Options {
            advertise: advertise.map_err(|e: String| anyhow::anyhow!("kafka.advertise: {e}"))?,
            max_frame_bytes,
            max_inflight_bytes_per_connection: defaults.max_inflight_bytes_per_connection.max(max_frame_bytes),
            max_inflight_bytes: bytes(self.kafka.max_inflight),
            max_connections: self.kafka.max_connections,
            idle_timeout: self.kafka.idle_timeout.0,
            neighbours: runnel_kafka::Neighbours { grpc, http },
            ..defaults
        };
        options.check().context("the section [kafka]")?;
        Ok(options)
    }

    pub(crate) fn grpc_options(
        &self,
        kafka: Option<SocketAddr>,
        http: Option<SocketAddr>,
    ) -> anyhow::Result<runnel_grpc::Options> {
        let defaults = runnel_grpc::Options::default();
        let max_message_bytes = bytes(self.grpc.max_message);
        let options = runnel_grpc::Options {
            max_message_bytes,
            max_inflight_bytes: bytes(self.grpc.max_inflight),
            max_inflight_bytes_per_connection: defaults.max_inflight_bytes_per_connection.max(max_message_bytes),
            max_connections: self.grpc.max_connections,
            max_streams_per_connection: self.grpc.max_streams,
            session_window_bytes: self.grpc.session_window.0,
            max_session_age: self.grpc.max_session_age.0,
            drain_grace: self.grpc.drain_grace.0,
            neighbours: runnel_grpc::Neighbours { kafka, http },
            ..defaults
        };
        options.check().context("the section [grpc]")?;
        Ok(options)
    }
}

fn bytes(size: ByteSize) -> usize {
    usize::try_from(size.0).unwrap_or(usize::MAX)
}
