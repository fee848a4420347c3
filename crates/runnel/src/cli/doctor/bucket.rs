//! The bucket: what the broker may do there, how fast, and whose it is.

use std::path::Path;
use std::time::Duration;

use runnel_blob::{Ability, Checkup, Error, ErrorKind, Options, checkup};
use runnel_broker::{Ports, Standing, compare};
use runnel_runtime::Clock;

use super::report::Report;

/// A request of the doctor may take this long; a broker has more patience.
const PATIENCE: Duration = Duration::from_secs(10);
/// Slower small writes make metadata changes and shipping slow.
const SLOW: Duration = Duration::from_secs(1);
/// From this skew on S3 refuses signatures.
const REFUSED_SKEW_MS: i64 = 15 * 60 * 1000;
/// A clock kept by NTP is never this far off.
const SKEW_MS: i64 = 60 * 1000;

/// Every permission, conditional writes, latency, the store's clock. Returns whether the bucket can be used.
pub(super) async fn abilities(storage: &Options, clock: &dyn Clock, report: &mut Report) -> bool {
    let storage = Options { request_timeout: PATIENCE, ..storage.clone() };
    let found = match checkup(&storage, clock).await {
        Ok(found) => found,
        Err(error) => {
            report.fail("bucket", line(&error), "correct the section [storage]");
            return false;
        }
    };
    for (ability, outcome) in &found.tried {
        let check = format!("bucket {}", ability.label());
        match outcome {
            Ok(()) => report.ok(check, "works"),
            Err(error) => report.fail(check, line(error), advice(*ability, error)),
        }
    }
    latency(&found, report);
    skew(&found, report);
    found.tried.iter().all(|(_, outcome)| outcome.is_ok())
}

fn latency(found: &Checkup, report: &mut Report) {
    match found.put_latency {
        Some(took) if took > SLOW => {
            report.warn("bucket latency", format!("a small PUT takes {took:.1?}"), "use a bucket that is nearer");
        }
        Some(took) => report.ok("bucket latency", format!("a small PUT takes {took:.1?}")),
        None => {}
    }
}

fn skew(found: &Checkup, report: &mut Report) {
    let Some(skew_ms) = found.clock_skew_ms else { return };
    let detail = format!("the store's clock is {} s ahead of this machine's", skew_ms / 1000);
    if skew_ms.abs() >= REFUSED_SKEW_MS {
        report.fail("bucket clock", detail, "requests are signed with the time: set the clock, with NTP for one");
    } else if skew_ms.abs() >= SKEW_MS {
        report.warn("bucket clock", detail, "past 15 minutes requests are refused: set the clock, with NTP for one");
    } else {
        report.ok("bucket clock", "agrees with this machine's");
    }
}

/// Whether data directory and bucket belong together, as a start would see it.
pub(super) async fn identity(data_dir: &Path, storage: &Options, ports: &Ports, report: &mut Report) {
    const CHECK: &str = "identity";
    match compare(data_dir, storage, ports).await {
        Ok((standing, claimed_ms)) => {
            match standing {
                Standing::New => report.ok(CHECK, "data directory and bucket are new to each other and unused"),
                Standing::Begun => report.ok(CHECK, "a first start was cut short; the next one completes it"),
                Standing::Together(_) => report.ok(CHECK, "data directory and bucket belong together"),
                Standing::Rebuild(_) => {
                    report.ok(CHECK, "the metadata is lost; the next start rebuilds it from bucket and log");
                }
                Standing::Silent => {
                    let advice = "a start goes on without it; bring it back before the log is full";
                    report.warn(CHECK, "the bucket does not answer, so it cannot be compared", advice);
                }
            }
            let ahead_ms = claimed_ms.unwrap_or(0).saturating_sub(ports.clock.now_ms());
            if ahead_ms > SKEW_MS {
                let detail = format!("the last broker here started {} s in the future", ahead_ms / 1000);
                report.warn("clock jump", detail, "this machine's clock was set back: set it right, with NTP for one");
            }
        }
        Err(error) => report.fail(CHECK, line(&error), "a start refuses for this reason: do what it says"),
    }
}

fn advice(ability: Ability, error: &Error) -> String {
    match (error, error.kind()) {
        (Error::Clock { .. }, _) => "set this machine's clock, with NTP for one".to_owned(),
        (_, ErrorKind::Denied) => {
            let action = match ability {
                Ability::List => "s3:ListBucket",
                Ability::Put => "s3:PutObject",
                Ability::Get | Ability::GetRange => "s3:GetObject",
                Ability::Delete => "s3:DeleteObject",
                Ability::ConditionalWrites => "s3:PutObject with conditions",
            };
            format!(
                "check the credentials, and that they allow {action} below the prefix (for a folder: its owner and mode)"
            )
        }
        (_, ErrorKind::NotFound) => {
            "create the bucket, or correct storage.url, storage.endpoint or storage.region".to_owned()
        }
        (_, ErrorKind::Unavailable | ErrorKind::Timeout) => {
            "check storage.endpoint, the network, and that the server runs".to_owned()
        }
        (_, ErrorKind::Unsupported) => "use a store that honours If-None-Match and If-Match on PUT".to_owned(),
        (_, ErrorKind::Corrupt) => "do not use this store: it does not give back what was written".to_owned(),
        (_, ErrorKind::Conflict | ErrorKind::Invalid | ErrorKind::Internal) => {
            "correct the section [storage]".to_owned()
        }
    }
}

/// An error with its causes, on one line: a store's answer may be a page of XML.
fn line(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        words.push_str(": ");
        words.push_str(&cause.to_string());
        next = cause.source();
    }
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}
