//! Where leadership is agreed on, and what is asked of a broker that shares it with others.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use runnel_kafka::HostPort;
use runnel_metastore::{EtcdOptions, EtcdTls};

use super::{Config, Span};

/// `metadata.url` of a broker that is alone.
pub(super) const EMBEDDED: &str = "embedded";

const SCHEME: &str = "etcd://";

/// Prefix of the keys in etcd where the URL has none.
const PREFIX: &str = "runnel";

/// `segment.max_age` unless it is set. What waits in the bucket's log is as safe as in a segment, and fewer segments are
/// better ones.
const MAX_AGE: Duration = Duration::from_secs(60);
const MAX_AGE_SHARED: Duration = Duration::from_secs(5 * 60);

/// Where leadership and topics are agreed on.
pub(crate) enum MetadataStore {
    /// In the data directory: the broker is alone.
    Embedded,
    /// In an etcd, with all brokers that have the same.
    Etcd(EtcdOptions),
}

/// Where clients reach a broker, as other brokers tell them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Advertised {
    pub(crate) kafka: HostPort,
    pub(crate) grpc: HostPort,
}

impl Config {
    /// Fills what depends on whether the broker is alone, and refuses what cannot work if it is not.
    pub(super) fn settle_metadata(&mut self) -> anyhow::Result<()> {
        self.metadata_store()?;
        for (setting, address) in [("kafka.advertise", &self.kafka.advertise), ("grpc.advertise", &self.grpc.advertise)]
        {
            parse(setting, address.as_deref())?;
        }
        let alone = self.is_alone();
        if !alone {
            self.check_shared()?;
        }
        if alone {
            self.node.number.get_or_insert_default();
        }
        let max_age = if alone { MAX_AGE } else { MAX_AGE_SHARED };
        self.segment.max_age.get_or_insert(Span(max_age));
        self.wal.durability.get_or_insert_with(|| if alone { "local" } else { "object" }.to_owned());
        Ok(())
    }

    fn check_shared(&self) -> anyhow::Result<()> {
        match self.storage.url.as_deref() {
            None => bail!(
                "storage.url is not set, and brokers that share an etcd share a bucket: set s3://bucket/prefix, \
                 or file:///folder on a file system that all of them see"
            ),
            Some("memory:") => bail!(
                "storage.url = `memory:` is a bucket that no other broker sees: set s3://bucket/prefix, \
                 or file:///folder on a file system that all of them see"
            ),
            Some(_) => {}
        }
        self.advertised(self.kafka.listen, self.grpc.listen).map(drop)
    }

    /// Whether there can be no other broker.
    pub(crate) fn is_alone(&self) -> bool {
        self.metadata.url == EMBEDDED
    }

    /// What `metadata` says, with the files that it names.
    pub(crate) fn metadata_store(&self) -> anyhow::Result<MetadataStore> {
        let etcd = &self.metadata.etcd;
        let given = [
            ("ca", etcd.ca.is_some()),
            ("cert", etcd.cert.is_some()),
            ("key", etcd.key.is_some()),
            ("user", etcd.user.is_some()),
            ("password", etcd.password.is_some()),
        ];
        if self.metadata.url == EMBEDDED {
            return match given.iter().find(|(_, given)| *given) {
                None => Ok(MetadataStore::Embedded),
                Some((name, _)) => bail!(
                    "metadata.etcd.{name} is set, and metadata.url = `{EMBEDDED}` asks no etcd: \
                     set metadata.url to {SCHEME}host:2379, or take metadata.etcd.{name} out"
                ),
            };
        }
        let (endpoints, prefix) = parse_url(&self.metadata.url)?;
        let user = both(("user", etcd.user.clone()), ("password", etcd.password.clone()))?;
        let client = match both(("cert", etcd.cert.as_ref()), ("key", etcd.key.as_ref()))? {
            None => None,
            Some((cert, key)) => Some((read("cert", cert)?, read("key", key)?)),
        };
        let ca = etcd.ca.as_ref().map(|ca| read("ca", ca)).transpose()?;
        let tls = (ca.is_some() || client.is_some()).then_some(EtcdTls { ca, client });
        Ok(MetadataStore::Etcd(EtcdOptions { endpoints, prefix, user, tls }))
    }

    /// Where clients reach this broker, whose listeners are bound to these addresses.
    pub(crate) fn advertised(&self, kafka: SocketAddr, grpc: SocketAddr) -> anyhow::Result<Advertised> {
        let told = |setting, advertise: Option<&str>, listen: SocketAddr| match parse(setting, advertise)? {
            Some(address) => Ok(address),
            None if listen.ip().is_unspecified() => bail!(
                "{setting} is not set, and {listen} is no address that other brokers could tell clients: \
                 set {setting} to the host:port under which clients reach this broker"
            ),
            None => Ok(listen.into()),
        };
        Ok(Advertised {
            kafka: told("kafka.advertise", self.kafka.advertise.as_deref(), kafka)?,
            grpc: told("grpc.advertise", self.grpc.advertise.as_deref(), grpc)?,
        })
    }
}

fn parse(setting: &str, address: Option<&str>) -> anyhow::Result<Option<HostPort>> {
    address.map(str::parse).transpose().map_err(|error: String| anyhow::anyhow!("{setting}: {error}"))
}

/// Members of etcd, and the prefix of our keys.
fn parse_url(url: &str) -> anyhow::Result<(Vec<String>, String)> {
    // Not repeated in the error: it may hold a password.
    if url.contains('@') {
        bail!("metadata.url names a user: set metadata.etcd.user and metadata.etcd.password instead");
    }
    let Some(rest) = url.strip_prefix(SCHEME) else {
        bail!(
            "metadata.url = `{url}`: expected `{EMBEDDED}` or {SCHEME}host1:2379,host2:2379/prefix \
             (for TLS set metadata.etcd.ca)"
        );
    };
    let (members, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let member = |member: &str| match member.parse::<HostPort>() {
        Ok(address) => Ok(address.to_string()),
        Err(_) => {
            bail!("metadata.url = `{url}`: `{member}` is not host:port, as in {SCHEME}etcd-1:2379,etcd-2:2379/prefix")
        }
    };
    let members = members.split(',').map(member).collect::<anyhow::Result<_>>()?;
    let prefix = prefix.trim_matches('/');
    if !prefix.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c)) {
        bail!("metadata.url = `{url}`: the prefix `{prefix}` may hold letters, digits, `-`, `_`, `.` and `/` only");
    }
    Ok((members, if prefix.is_empty() { PREFIX } else { prefix }.to_owned()))
}

/// Two settings below `metadata.etcd` of which neither is of use alone.
fn both<T>(one: (&str, Option<T>), other: (&str, Option<T>)) -> anyhow::Result<Option<(T, T)>> {
    let alone = |set: &str, missing: &str| {
        bail!("metadata.etcd.{set} is set without metadata.etcd.{missing}: set both, or neither")
    };
    match (one.1, other.1) {
        (Some(first), Some(second)) => Ok(Some((first, second))),
        (None, None) => Ok(None),
        (Some(_), None) => alone(one.0, other.0),
        (None, Some(_)) => alone(other.0, one.0),
    }
}

fn read(name: &str, path: &PathBuf) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("metadata.etcd.{name}: cannot read {}", path.display()))
}
