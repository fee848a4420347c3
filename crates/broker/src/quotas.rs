//! Quotas of clients: checked as Kafka checks them, kept and reported. Nothing is held up by them yet.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use runnel_api::{ClientQuota, Error, ErrorKind, QuotaChange, QuotaEntity};

use crate::Broker;

/// What the entity of every quota begins with. The parts are behind zero bytes, which no name has.
const QUOTA: &str = "quota";

const USER: &str = "user";
const CLIENT: &str = "client-id";
const IP: &str = "ip";

/// Limits of users and clients, and whether each is a whole number.
const OF_CLIENTS: [(&str, bool); 4] = [
    ("consumer_byte_rate", true),
    ("controller_mutation_rate", false),
    ("producer_byte_rate", true),
    ("request_percentage", false),
];

/// How long a name server may take to say whose name an `ip` is.
const RESOLVE_WITHIN: Duration = Duration::from_secs(5);

const OF_IPS: [(&str, bool); 1] = [("connection_creation_rate", true)];

impl Broker {
    pub(crate) fn quotas(&self) -> Vec<ClientQuota> {
        let settings = self.settings.all();
        let quota = |(entity, set): (&String, &BTreeMap<String, String>)| {
            let values = set.iter().filter_map(|(name, value)| Some((name.clone(), value.parse().ok()?)));
            Some(ClientQuota { entity: parse(entity)?, values: values.collect() })
        };
        settings.entities.iter().filter_map(quota).collect()
    }

    pub(crate) async fn alter_quota(&self, change: &QuotaChange, validate_only: bool) -> Result<(), Error> {
        check(change)?;
        if let Some(Some(host)) = change.entity.get(IP) {
            resolve(host).await?;
        }
        let apply = |mut set: BTreeMap<String, String>| {
            for (name, limit) in &change.limits {
                match limit {
                    Some(limit) => drop(set.insert(name.clone(), limit.to_string())),
                    None => drop(set.remove(name)),
                }
            }
            Ok(set)
        };
        self.change_settings(&name_of(&change.entity), apply, validate_only).await
    }
}

fn invalid(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidRequest, why)
}

fn check(change: &QuotaChange) -> Result<(), Error> {
    let entity = &change.entity;
    if entity.is_empty() {
        return Err(invalid("a quota concerns a user, a client-id or an ip"));
    }
    if let Some(kind) = entity.keys().find(|kind| ![USER, CLIENT, IP].contains(&kind.as_str())) {
        return Err(invalid(format!("`{}` has no quotas: user, client-id and ip have", kind.escape_debug())));
    }
    if entity.values().flatten().any(|name| name.is_empty() || name.contains('\0')) {
        return Err(invalid("the name of a user, a client-id or an ip is empty or has a zero byte"));
    }
    let of_ip = entity.contains_key(IP);
    if of_ip && entity.len() > 1 {
        return Err(invalid("a quota of an ip is not of a user or a client-id as well"));
    }
    let known: &[(&str, bool)] = if of_ip { &OF_IPS } else { &OF_CLIENTS };
    for (name, limit) in &change.limits {
        let Some((_, whole)) = known.iter().find(|(known, _)| known == name) else {
            return Err(invalid(format!("`{}` is not a quota here", name.escape_debug())));
        };
        let Some(limit) = limit else { continue };
        if !limit.is_finite() || *limit <= 0.0 || (*whole && limit.fract() != 0.0) {
            let number = if *whole { "a whole number" } else { "a number" };
            return Err(invalid(format!("`{name}` is {number} above 0, not {limit}")));
        }
    }
    Ok(())
}

/// An address, or a name that is one's: as in Kafka a quota is kept for no other text.
async fn resolve(host: &str) -> Result<(), Error> {
    if host.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    let found = tokio::time::timeout(RESOLVE_WITHIN, tokio::net::lookup_host((host, 0))).await;
    if found.is_ok_and(|found| found.is_ok_and(|mut addresses| addresses.next().is_some())) {
        return Ok(());
    }
    Err(invalid(format!("`{}` is no address and no name of a host that can be found", host.escape_debug())))
}

fn name_of(entity: &QuotaEntity) -> String {
    let part = |(kind, name): (&String, &Option<String>)| format!("\0{kind}\0{}", name.as_deref().unwrap_or_default());
    [QUOTA.to_owned()].into_iter().chain(entity.iter().map(part)).collect()
}

fn parse(stored: &str) -> Option<QuotaEntity> {
    let mut parts = stored.strip_prefix(QUOTA)?.strip_prefix('\0')?.split('\0');
    let mut entity = QuotaEntity::new();
    while let Some(kind) = parts.next() {
        let name = parts.next()?;
        entity.insert(kind.to_owned(), (!name.is_empty()).then(|| name.to_owned()));
    }
    Some(entity)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(parts: &[(&str, Option<&str>)]) -> QuotaEntity {
        parts.iter().map(|(kind, name)| ((*kind).to_owned(), name.map(str::to_owned))).collect()
    }

    #[test]
    fn entities_are_stored_and_read_back() {
        for parts in [&[("user", Some("a/b=\"c\""))][..], &[("client-id", None), ("user", Some("ä"))], &[("ip", None)]]
        {
            assert_eq!(parse(&name_of(&entity(parts))), Some(entity(parts)));
        }
        for other in ["broker/", "group/quota", "quota", "quotas"] {
            assert_eq!(parse(other), None);
        }
    }

    #[tokio::test]
    async fn an_ip_is_an_address_or_the_name_of_a_host() {
        for known in ["10.0.0.1", "::1", "localhost"] {
            assert!(resolve(known).await.is_ok(), "{known}");
        }
        for unknown in ["10.0.0.256", "no host", "a.invalid"] {
            assert_eq!(resolve(unknown).await.unwrap_err().kind, ErrorKind::InvalidRequest, "{unknown}");
        }
    }

    #[test]
    fn quotas_are_checked_as_in_kafka() {
        let try_it = |parts: &[(&str, Option<&str>)], name: &str, limit| {
            let limits = vec![(name.to_owned(), Some(limit))];
            check(&QuotaChange { entity: entity(parts), limits }).is_ok()
        };
        assert!(try_it(&[("user", None)], "producer_byte_rate", 1024.0));
        assert!(try_it(&[("user", Some("a")), ("client-id", Some("b"))], "request_percentage", 12.5));
        assert!(try_it(&[("ip", Some("10.0.0.1"))], "connection_creation_rate", 3.0));
        assert!(!try_it(&[], "producer_byte_rate", 1.0));
        assert!(!try_it(&[("group", Some("g"))], "producer_byte_rate", 1.0));
        assert!(!try_it(&[("user", Some(""))], "producer_byte_rate", 1.0));
        assert!(!try_it(&[("ip", None), ("user", None)], "connection_creation_rate", 1.0));
        assert!(!try_it(&[("ip", None)], "producer_byte_rate", 1.0));
        assert!(!try_it(&[("user", None)], "no_such_rate", 1.0));
        for limit in [0.0, -1.0, 1.5, f64::NAN, f64::INFINITY] {
            assert!(!try_it(&[("user", None)], "consumer_byte_rate", limit), "{limit}");
        }
    }
}
