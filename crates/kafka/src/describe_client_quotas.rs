//! DescribeClientQuotas (KIP-546).

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::describe_client_quotas_request::{ComponentData, DescribeClientQuotasRequest};
use kafka_protocol::messages::describe_client_quotas_response::{
    DescribeClientQuotasResponse, EntityData, EntryData, ValueData,
};
use runnel_api::{ClientQuota, QuotaEntity};

use crate::context::Context;
use crate::reply::Outcome;
use crate::topics;

/// What of an entity is wanted, for one of its types.
#[derive(Debug, PartialEq, Eq)]
enum Match {
    Name(String),
    Default,
    Any,
}

pub(crate) async fn handle(
    ctx: Arc<Context>,
    _version: i16,
    request: DescribeClientQuotasRequest,
) -> DescribeClientQuotasResponse {
    let wanted = match filter(request.components) {
        Ok(wanted) => wanted,
        Err((error, why)) => {
            let response = DescribeClientQuotasResponse::default().with_entries(None);
            return response.with_error_code(error.code()).with_error_message(Some(topics::text(why)));
        }
    };
    let quotas = ctx.broker.client_quotas().await;
    let found = quotas.iter().filter(|quota| matches(&quota.entity, &wanted, request.strict));
    DescribeClientQuotasResponse::default().with_error_message(None).with_entries(Some(found.map(entry).collect()))
}

fn filter(components: Vec<ComponentData>) -> Result<BTreeMap<String, Match>, (ResponseError, &'static str)> {
    let mut wanted = BTreeMap::new();
    for component in components {
        let kind = component.entity_type.to_string();
        if !["user", "client-id", "ip"].contains(&kind.as_str()) {
            let error = if kind.is_empty() { ResponseError::InvalidRequest } else { ResponseError::UnsupportedVersion };
            return Err((error, "quotas are of a user, a client-id or an ip"));
        }
        let matched = match (component.match_type, component._match) {
            (0, Some(name)) => Match::Name(name.to_string()),
            (1, None) => Match::Default,
            (2, None) => Match::Any,
            _ => return Err((ResponseError::InvalidRequest, "a match is 0 with a name, or 1 or 2 without one")),
        };
        if wanted.insert(kind, matched).is_some() {
            return Err((ResponseError::InvalidRequest, "a type of entity is named twice"));
        }
    }
    if wanted.contains_key("ip") && wanted.len() > 1 {
        return Err((ResponseError::InvalidRequest, "a quota of an ip is not of a user or a client-id as well"));
    }
    Ok(wanted)
}

/// Strictly an entity has the wanted types and no others.
fn matches(entity: &QuotaEntity, wanted: &BTreeMap<String, Match>, strict: bool) -> bool {
    let part = |(kind, wanted): (&String, &Match)| match (entity.get(kind), wanted) {
        (None, _) => false,
        (Some(_), Match::Any) | (Some(None), Match::Default) => true,
        (Some(Some(name)), Match::Name(wanted)) => name == wanted,
        _ => false,
    };
    wanted.iter().all(part) && (!strict || entity.len() == wanted.len())
}

fn entry(quota: &ClientQuota) -> EntryData {
    let entity = quota.entity.iter().map(|(kind, name)| {
        EntityData::default().with_entity_type(topics::text(kind)).with_entity_name(name.as_deref().map(topics::text))
    });
    let values =
        quota.values.iter().map(|(key, value)| ValueData::default().with_key(topics::text(key)).with_value(*value));
    EntryData::default().with_entity(entity.collect()).with_values(values.collect())
}

impl Outcome for DescribeClientQuotasResponse {
    fn error_code(&self) -> i16 {
        self.error_code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_as_in_kafka() {
        let entity = |parts: &[(&str, Option<&str>)]| -> QuotaEntity {
            parts.iter().map(|(kind, name)| ((*kind).to_owned(), name.map(str::to_owned))).collect()
        };
        let wanted = |kind: &str, matched| BTreeMap::from([(kind.to_owned(), matched)]);
        let (both, user) = (entity(&[("client-id", Some("c")), ("user", Some("u"))]), entity(&[("user", None)]));
        assert!(matches(&both, &BTreeMap::new(), false) && !matches(&both, &BTreeMap::new(), true));
        assert!(matches(&both, &wanted("user", Match::Name("u".to_owned())), false));
        assert!(!matches(&both, &wanted("user", Match::Name("u".to_owned())), true));
        assert!(!matches(&both, &wanted("user", Match::Default), false));
        assert!(
            matches(&user, &wanted("user", Match::Default), true) && matches(&user, &wanted("user", Match::Any), true)
        );
        assert!(!matches(&user, &wanted("ip", Match::Any), false));
    }
}
