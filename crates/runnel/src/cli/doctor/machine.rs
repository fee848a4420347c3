//! The machine and the settings that can hurt.

use rustix::process::{Resource, getrlimit};

use super::report::Report;
use crate::config::Config;

/// Files that a broker opens beside its connections.
const FILES: u64 = 1024;
/// Below this not even a small broker works.
const FEW_FILES: u64 = 256;

/// How many files and sockets a process may open.
pub(super) fn descriptors(config: &Config, report: &mut Report) {
    const CHECK: &str = "open files";
    let advice = "raise it: `ulimit -n` in a shell, LimitNOFILE= in a systemd unit, --ulimit nofile= for a container";
    let wanted = u64::try_from(config.kafka.max_connections).unwrap_or(u64::MAX).saturating_add(FILES);
    let Some(limit) = getrlimit(Resource::Nofile).current else {
        return report.ok(CHECK, "no limit");
    };
    if limit < FEW_FILES {
        report.fail(CHECK, format!("the limit is {limit}"), advice);
    } else if limit < wanted {
        let detail = format!("the limit is {limit}, less than kafka.max_connections and {FILES} files need ({wanted})");
        report.warn(CHECK, detail, advice);
    } else {
        report.ok(CHECK, format!("the limit is {limit}"));
    }
}

/// Settings that are legal and dangerous.
pub(super) fn dangers(config: &Config, report: &mut Report) {
    let open: Vec<String> = [config.kafka.listen, config.grpc.listen, config.http.listen]
        .iter()
        .filter(|address| !address.ip().is_loopback())
        .map(ToString::to_string)
        .collect();
    if open.is_empty() {
        report.ok("listeners", "on loopback only");
    } else {
        let detail = format!("{} can be reached from other machines, without TLS or authentication", open.join(", "));
        report.warn("listeners", detail, "keep them on a network that you trust, behind a firewall");
    }
    let url = config.storage_url();
    if url.starts_with("memory:") {
        let advice = "set storage.url to s3://bucket/prefix or file:///folder";
        report.warn("storage.url", "memory: everything that was shipped is gone when the broker stops", advice);
    } else if url.starts_with("file://") {
        let advice =
            "where the loss of that disk must not be the loss of the data, set storage.url to s3://bucket/prefix";
        report.warn("storage.url", format!("{url} is a folder: as safe as the disk that it is on"), advice);
    } else {
        report.ok("storage.url", url);
    }
    let plain = config.storage.endpoint.as_deref().filter(|endpoint| endpoint.starts_with("http://"));
    if let Some(endpoint) = plain.filter(|endpoint| !is_local(endpoint)) {
        let detail = format!("{endpoint}: records cross the network unencrypted");
        report.warn("storage.endpoint", detail, "use https://");
    }
}

fn is_local(endpoint: &str) -> bool {
    ["localhost", "127.", "[::1]"].iter().any(|host| endpoint["http://".len()..].starts_with(host))
}
