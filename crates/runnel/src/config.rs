//! Settings: defaults < TOML file < environment (`RUNNEL_<SECTION>__<KEY>`) < `--set`.

mod docs;
mod metadata;
mod values;
mod wiring;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use figment::Figment;
use figment::providers::{Format, Serialized, Toml};
use figment::value::{Dict, Value};
use runnel_peer::THE_ONE;
use serde::{Deserialize, Serialize};

pub(crate) use docs::{SETTINGS, Setting};
pub(crate) use metadata::MetadataStore;
pub(crate) use values::{ByteSize, Retention, Span};
use values::{lenient, lenient_option};

/// All settings. The reference of each is in [`SETTINGS`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Config {
    pub(crate) node: Node,
    pub(crate) kafka: Kafka,
    pub(crate) grpc: Grpc,
    pub(crate) http: Http,
    pub(crate) storage: Storage,
    pub(crate) metadata: Metadata,
    pub(crate) wal: Wal,
    pub(crate) segment: Segment,
    pub(crate) cache: Cache,
    pub(crate) topics: Topics,
    pub(crate) groups: Groups,
    pub(crate) shutdown: Stop,
    pub(crate) security: Security,
    pub(crate) log: Log,
    pub(crate) telemetry: Telemetry,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Node {
    #[serde(deserialize_with = "lenient")]
    pub(crate) id: String,
    #[serde(default, deserialize_with = "lenient_option", skip_serializing_if = "Option::is_none")]
    pub(crate) number: Option<i32>,
    #[serde(default, deserialize_with = "lenient_option", skip_serializing_if = "Option::is_none")]
    pub(crate) zone: Option<String>,
    pub(crate) data_dir: PathBuf,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Kafka {
    pub(crate) listen: SocketAddr,
    #[serde(default, deserialize_with = "lenient_option", skip_serializing_if = "Option::is_none")]
    pub(crate) advertise: Option<String>,
    pub(crate) advertise_mode: AdvertiseMode,
    pub(crate) max_frame: ByteSize,
    pub(crate) max_inflight: ByteSize,
    #[serde(deserialize_with = "lenient")]
    pub(crate) max_connections: usize,
    pub(crate) idle_timeout: Span,
}

/// Whom Kafka clients are told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AdvertiseMode {
    /// Every broker, and who leads what.
    Broker,
    /// One broker that leads everything.
    Single,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Grpc {
    pub(crate) listen: SocketAddr,
    #[serde(default, deserialize_with = "lenient_option", skip_serializing_if = "Option::is_none")]
    pub(crate) advertise: Option<String>,
    pub(crate) max_message: ByteSize,
    pub(crate) max_inflight: ByteSize,
    #[serde(deserialize_with = "lenient")]
    pub(crate) max_connections: usize,
    #[serde(deserialize_with = "lenient")]
    pub(crate) max_streams: u32,
    pub(crate) session_window: ByteSize,
    pub(crate) max_session_age: Span,
    pub(crate) drain_grace: Span,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Http {
    pub(crate) listen: SocketAddr,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Storage {
    #[serde(default, deserialize_with = "lenient_option", skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    #[serde(default, deserialize_with = "lenient_option", skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<String>,
    #[serde(default, deserialize_with = "lenient_option", skip_serializing_if = "Option::is_none")]
    pub(crate) region: Option<String>,
    #[serde(default, deserialize_with = "lenient_option", skip_serializing_if = "Option::is_none")]
    pub(crate) access_key_id: Option<String>,
    #[serde(default, deserialize_with = "lenient_option", skip_serializing_if = "Option::is_none")]
    pub(crate) secret_access_key: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(crate) allow_http: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) url: String,
    /// Of brokers that share a store.
    pub(crate) lease_ttl: Span,
    pub(crate) etcd: MetadataEtcd,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct MetadataEtcd {
    #[serde(default, deserialize_with = "lenient_option", skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<PathBuf>,
    #[serde(default, deserialize_with = "lenient_option", skip_serializing_if = "Option::is_none")]
    pub(crate) cert: Option<PathBuf>,
    #[serde(default, deserialize_with = "lenient_option", skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<PathBuf>,
    #[serde(default, deserialize_with = "lenient_option", skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    #[serde(default, deserialize_with = "lenient_option", skip_serializing_if = "Option::is_none")]
    pub(crate) password: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Wal {
    #[serde(default, deserialize_with = "lenient_option", skip_serializing_if = "Option::is_none")]
    pub(crate) durability: Option<String>,
    pub(crate) object: WalObject,
    pub(crate) max_unflushed: ByteSize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_unshipped: Option<ByteSize>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WalObject {
    pub(crate) interval: Span,
    pub(crate) max_bytes: ByteSize,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Segment {
    pub(crate) max_bytes: ByteSize,
    #[serde(default, deserialize_with = "lenient_option", skip_serializing_if = "Option::is_none")]
    pub(crate) max_age: Option<Span>,
    pub(crate) merge_bytes: ByteSize,
    pub(crate) merge_after: Span,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Cache {
    pub(crate) memory: ByteSize,
    pub(crate) disk: ByteSize,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Topics {
    #[serde(deserialize_with = "lenient")]
    pub(crate) auto_create: bool,
    #[serde(deserialize_with = "lenient")]
    pub(crate) default_partitions: i32,
    pub(crate) default_retention: Retention,
    pub(crate) retention_check: Span,
    pub(crate) producer_expiration: Span,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Groups {
    pub(crate) initial_rebalance_delay: Span,
    pub(crate) min_session_timeout: Span,
    pub(crate) max_session_timeout: Span,
    #[serde(deserialize_with = "lenient")]
    pub(crate) max_size: usize,
    pub(crate) consumer_session_timeout: Span,
    pub(crate) consumer_heartbeat_interval: Span,
    pub(crate) offsets_retention: Span,
    #[serde(deserialize_with = "lenient")]
    pub(crate) offsets_partitions: i32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Stop {
    pub(crate) timeout: Span,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Security {
    #[serde(deserialize_with = "lenient")]
    pub(crate) insecure: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Log {
    pub(crate) level: String,
    pub(crate) format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Telemetry {
    #[serde(default, deserialize_with = "lenient_option", skip_serializing_if = "Option::is_none")]
    pub(crate) otlp_endpoint: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(crate) otlp_sampling: f64,
}

/// A log that holds less could not take one default batch.
const MIN_WAL_LIMIT: u64 = 1 << 20;

impl Default for Config {
    fn default() -> Self {
        use std::time::Duration;
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            node: Node { id: host_name(), number: None, zone: None, data_dir: "runnel-data".into() },
            kafka: Kafka {
                listen: local(9092),
                advertise: None,
                advertise_mode: AdvertiseMode::Broker,
                max_frame: ByteSize(100 << 20),
                max_inflight: ByteSize(512 << 20),
                max_connections: 20_000,
                idle_timeout: Span(Duration::from_secs(600)),
            },
            grpc: Grpc {
                listen: local(9093),
                advertise: None,
                max_message: ByteSize(16 << 20),
                max_inflight: ByteSize(256 << 20),
                max_connections: 10_000,
                max_streams: 128,
                session_window: ByteSize(8 << 20),
                max_session_age: Span(Duration::from_secs(3600)),
                drain_grace: Span(Duration::from_secs(5)),
            },
            http: Http { listen: local(9094) },
            storage: Storage {
                url: None,
                endpoint: None,
                region: None,
                access_key_id: None,
                secret_access_key: None,
                allow_http: false,
            },
            metadata: Metadata {
                url: metadata::EMBEDDED.into(),
                lease_ttl: Span(Duration::from_secs(3)),
                etcd: MetadataEtcd::default(),
            },
            wal: Wal {
                durability: None,
                object: WalObject { interval: Span(Duration::from_millis(100)), max_bytes: ByteSize(8 << 20) },
                max_unflushed: ByteSize(64 << 20),
                max_unshipped: None,
            },
            segment: Segment {
                max_bytes: ByteSize(64 << 20),
                max_age: None,
                merge_bytes: ByteSize(256 << 20),
                merge_after: Span(Duration::from_secs(120)),
            },
            cache: Cache { memory: ByteSize(256 << 20), disk: ByteSize(1 << 30) },
            topics: Topics {
                auto_create: true,
                default_partitions: 1,
                default_retention: Retention(None),
                retention_check: Span(Duration::from_secs(10)),
                producer_expiration: Span(Duration::from_secs(24 * 60 * 60)),
            },
            groups: Groups {
                initial_rebalance_delay: Span(Duration::from_secs(3)),
                min_session_timeout: Span(Duration::from_secs(6)),
                max_session_timeout: Span(Duration::from_secs(1800)),
                max_size: 10_000,
                consumer_session_timeout: Span(Duration::from_secs(45)),
                consumer_heartbeat_interval: Span(Duration::from_secs(5)),
                offsets_retention: Span(Duration::from_secs(7 * 24 * 3600)),
                offsets_partitions: 50,
            },
            shutdown: Stop { timeout: Span(Duration::from_secs(30)) },
            security: Security { insecure: false },
            log: Log { level: "info".into(), format: LogFormat::Text },
            telemetry: Telemetry { otlp_endpoint: None, otlp_sampling: 1.0 },
        }
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

impl Config {
    /// Reads and checks the settings. `environment` are the process's variables, `sets` the `key=value` flags.
    pub(crate) fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
        sets: &[String],
    ) -> anyhow::Result<Self> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        if let Some(path) = file {
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            let table: Dict = Toml::from_str(&text).with_context(|| format!("{} is not TOML", path.display()))?;
            check_keys(&table, &format!("in {}", path.display()))?;
            figment = figment.merge(Serialized::defaults(table));
        }
        let environment = nested(environment.filter_map(|(name, value)| Some((setting_of(&name)?, value))));
        check_keys(&environment, "in the environment (RUNNEL_SECTION__KEY)")?;
        let mut flags = Vec::new();
        for set in sets {
            let (key, value) = set.split_once('=').with_context(|| format!("--set {set}: expected key=value"))?;
            flags.push((key.trim().to_owned(), value.to_owned()));
        }
        let flags = nested(flags.into_iter());
        check_keys(&flags, "given by --set")?;
        let config: Self = figment
            .merge(Serialized::defaults(environment))
            .merge(Serialized::defaults(flags))
            .extract()
            .map_err(explain)?;
        config.checked()
    }

    /// Makes paths absolute, fills what is derived and refuses what cannot work.
    fn checked(mut self) -> anyhow::Result<Self> {
        self.settle_metadata()?;
        self.node.data_dir = std::path::absolute(&self.node.data_dir).context("node.data_dir")?;
        let url = match self.storage.url.take() {
            None => format!("file://{}", self.node.data_dir.join("bucket").display()),
            Some(url) => absolute_url(&url)?,
        };
        self.storage.url = Some(url);
        if self.metadata.lease_ttl.0.as_secs() < 1 {
            bail!("metadata.lease_ttl = {}: expected at least 1s", self.metadata.lease_ttl);
        }
        if self.kafka.advertise_mode == AdvertiseMode::Single && self.kafka.advertise.is_none() {
            bail!(
                "kafka.advertise_mode = `single` needs kafka.advertise: the host:port, of a load balancer say, under which \
                 clients reach all brokers"
            );
        }
        if !matches!(self.durability(), "local" | "object") {
            bail!("wal.durability = `{}`: expected `local` or `object`", self.durability());
        }
        if !(1..=10_000).contains(&self.wal.object.interval.0.as_millis()) {
            bail!("wal.object.interval = {}: expected 1ms to 10s", self.wal.object.interval);
        }
        if !(64 << 10..=256 << 20).contains(&self.wal.object.max_bytes.0) {
            bail!("wal.object.max_bytes = {}: expected 64KiB to 256MiB", self.wal.object.max_bytes);
        }
        if !(1..=100_000).contains(&self.topics.default_partitions) {
            bail!("topics.default_partitions = {}: expected 1 to 100000", self.topics.default_partitions);
        }
        if !(1..=1000).contains(&self.groups.offsets_partitions) {
            bail!("groups.offsets_partitions = {}: expected 1 to 1000", self.groups.offsets_partitions);
        }
        if self.groups.max_size == 0 {
            bail!("groups.max_size = 0: no group could have a member");
        }
        if self.groups.min_session_timeout.0.as_millis() < 100 {
            bail!("groups.min_session_timeout = {}: expected at least 100ms", self.groups.min_session_timeout);
        }
        if self.groups.min_session_timeout.0 > self.groups.max_session_timeout.0 {
            bail!("groups.min_session_timeout is longer than groups.max_session_timeout");
        }
        if self.groups.consumer_heartbeat_interval.0.as_millis() < 100 {
            bail!(
                "groups.consumer_heartbeat_interval = {}: expected at least 100ms",
                self.groups.consumer_heartbeat_interval
            );
        }
        if self.groups.consumer_session_timeout.0 <= self.groups.consumer_heartbeat_interval.0 {
            bail!("groups.consumer_session_timeout is not longer than groups.consumer_heartbeat_interval");
        }
        let shortest = [
            ("retention_check", self.topics.retention_check),
            ("producer_expiration", self.topics.producer_expiration),
        ];
        for (name, span) in shortest {
            if span.0.as_millis() < 10 {
                bail!("topics.{name} = {span}: expected at least 10ms");
            }
        }
        if self.segment.max_bytes.0 < 1024 || self.segment.max_bytes.0 > 1 << 30 {
            bail!("segment.max_bytes = {}: expected 1KiB to 1GiB", self.segment.max_bytes);
        }
        if !matches!(self.segment.merge_bytes.0, 0 | 0x10_0000..=0x4000_0000) {
            bail!("segment.merge_bytes = {}: expected 1MiB to 1GiB, or 0 to merge nothing", self.segment.merge_bytes);
        }
        if let Some(age) = self.segment.max_age.filter(|age| age.0.as_millis() < 100) {
            bail!("segment.max_age = {age}: expected at least 100ms");
        }
        for (name, size) in
            [("wal.max_unflushed", Some(self.wal.max_unflushed)), ("wal.max_unshipped", self.wal.max_unshipped)]
        {
            if size.is_some_and(|size| size.0 < MIN_WAL_LIMIT) {
                bail!("{name}: expected at least {}", ByteSize(MIN_WAL_LIMIT));
            }
        }
        if self.node.id.is_empty() {
            bail!("node.id is empty");
        }
        if let Some(number) = self.node.number.filter(|number| !(0..THE_ONE).contains(number)) {
            bail!("node.number = {number}: expected 0 to {}", THE_ONE - 1);
        }
        crate::telemetry::filter(&self.log)?;
        crate::telemetry::check(&self.telemetry)?;
        self.kafka_options(None, None)?;
        self.grpc_options(None, None)?;
        let listeners =
            [("kafka.listen", self.kafka.listen), ("grpc.listen", self.grpc.listen), ("http.listen", self.http.listen)];
        for (name, listen) in listeners {
            if !listen.ip().is_loopback() && !self.security.insecure {
                bail!(
                    "{name} = {listen} is reachable from other machines, and this release has no TLS or authentication yet: \
                     listen on 127.0.0.1, or set security.insecure = true if the network is trusted"
                );
            }
        }
        Ok(self)
    }

    /// `storage.url`, which [`Config::load`] always fills.
    pub(crate) fn storage_url(&self) -> &str {
        self.storage.url.as_deref().unwrap_or_default()
    }

    /// `wal.durability`, which [`Config::load`] always fills.
    pub(crate) fn durability(&self) -> &str {
        self.wal.durability.as_deref().unwrap_or_default()
    }

    /// A copy whose secrets are masked, for printing.
    pub(crate) fn masked(&self) -> Self {
        let mut masked = self.clone();
        let storage = &mut masked.storage;
        let secrets = [&mut storage.access_key_id, &mut storage.secret_access_key, &mut masked.metadata.etcd.password];
        for secret in secrets {
            if secret.is_some() {
                *secret = Some("********".into());
            }
        }
        masked
    }
}

/// Only names with `__` are settings: Kubernetes injects others that start with the name of a service.
fn setting_of(variable: &str) -> Option<String> {
    let rest = variable.strip_prefix("RUNNEL_")?;
    let (section, key) = rest.split_once("__")?;
    Some(format!("{}.{}", section.to_lowercase(), key.to_lowercase().replace("__", ".")))
}

/// Settings by their dotted names, as sections in sections.
fn nested(pairs: impl Iterator<Item = (String, String)>) -> Dict {
    let mut sections = Dict::new();
    for (key, value) in pairs {
        insert(&mut sections, &key, Value::from(value));
    }
    sections
}

fn insert(into: &mut Dict, key: &str, value: Value) {
    let Some((section, rest)) = key.split_once('.') else {
        into.insert(key.to_owned(), value);
        return;
    };
    let inner = into.entry(section.to_owned()).or_insert_with(|| Value::from(Dict::new()));
    if let Value::Dict(_, dict) = inner {
        insert(dict, rest, value);
    }
}

/// The dotted names of all values.
fn names(dict: &Dict) -> Vec<String> {
    let of = |(name, value): (&String, &Value)| match value.as_dict() {
        Some(inner) => names(inner).into_iter().map(|rest| format!("{name}.{rest}")).collect(),
        None => vec![name.clone()],
    };
    dict.iter().flat_map(of).collect()
}

fn check_keys(dict: &Dict, whence: &str) -> anyhow::Result<()> {
    for key in names(dict) {
        if !SETTINGS.iter().any(|s| s.key == key) {
            let hint = docs::nearest(&key).map_or_else(String::new, |near| format!(": did you mean `{near}`?"));
            bail!("unknown setting `{key}` {whence}{hint} (`runnel config docs` lists them all)");
        }
    }
    Ok(())
}

fn explain(error: figment::Error) -> anyhow::Error {
    let lines: Vec<String> = error.into_iter().map(|e| format!("{}: {}", e.path.join("."), e.kind)).collect();
    anyhow::anyhow!("invalid setting: {}", lines.join("; "))
}

fn absolute_url(url: &str) -> anyhow::Result<String> {
    match url.strip_prefix("file://") {
        Some(path) if !path.starts_with('/') => {
            Ok(format!("file://{}", std::path::absolute(path).context("storage.url")?.display()))
        }
        Some(_) => Ok(url.to_owned()),
        None if url.starts_with("s3://") || url == "memory:" => Ok(url.to_owned()),
        None => bail!("storage.url = `{url}`: expected file:///folder, s3://bucket/prefix or memory:"),
    }
}

#[cfg(test)]
mod tests;
