//! Settings that belong to no topic.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::Kind;
use super::topic::{configs, put_configs};
use crate::Error;

const SETTINGS: Kind = Kind { what: "the settings of the cluster", magic: *b"rnST", version: 1 };

/// Settings of brokers and groups and quotas of clients: the register `meta/settings`, and the metadata store's copy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterSettings {
    /// By whom they concern (`broker/0`, `group/NAME` …); nobody is there without a setting.
    pub entities: BTreeMap<String, BTreeMap<String, String>>,
}

impl ClusterSettings {
    /// The stored bytes.
    pub fn encode(&self) -> Bytes {
        SETTINGS.seal(|w| {
            w.u32(u32::try_from(self.entities.len()).unwrap_or(u32::MAX));
            for (entity, set) in &self.entities {
                w.string(entity);
                put_configs(w, set);
            }
        })
    }

    /// Reads stored bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        SETTINGS.open(bytes, |kind, r| {
            let mut entities: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
            for _ in 0..r.count(8)? {
                let (entity, set) = (r.string()?, configs(kind, r)?);
                if entities.last_key_value().is_some_and(|(last, _)| last.as_str() >= entity) {
                    return Err(kind.corrupt("entities out of order"));
                }
                if set.is_empty() {
                    return Err(kind.corrupt("an entity without settings"));
                }
                entities.insert(entity.to_owned(), set);
            }
            Ok(Self { entities })
        })
    }
}
