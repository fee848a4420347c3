//! What requests set on brokers, groups and clients: kept through crashes and outages, and what it changes.

use runnel_api::{
    Admin, AlterConfigOp, ClientQuota, ConfigChange, ConfigResource, ConfigSource, Error, ErrorKind, OffsetSpec,
    QuotaChange, QuotaEntity,
};
use runnel_runtime::FailAction;

use crate::support::{Node, World, batch, eventually};

fn alter(node: &Node, resource: &ConfigResource, name: &str, value: Option<&str>) -> Result<(), Error> {
    let op = if value.is_some() { AlterConfigOp::Set } else { AlterConfigOp::Delete };
    let change = ConfigChange { name: name.to_owned(), op, value: value.map(str::to_owned) };
    node.run(node.broker().alter_configs(resource, &[change], false))
}

/// Value and source of an entry, if it is described.
fn config(node: &Node, resource: &ConfigResource, name: &str) -> Option<(String, ConfigSource)> {
    let entries = node.run(node.broker().describe_configs(resource, Some(&[name.to_owned()]))).unwrap();
    entries.into_iter().next().map(|entry| (entry.value.unwrap(), entry.source))
}

const ALL: ConfigResource = ConfigResource::Broker(None);
const OWN: ConfigResource = ConfigResource::Broker(Some(0));

fn topic() -> ConfigResource {
    ConfigResource::Topic("t".to_owned())
}

fn quota(limit: f64) -> QuotaChange {
    let entity = QuotaEntity::from([("user".to_owned(), Some("ada".to_owned())), ("client-id".to_owned(), None)]);
    QuotaChange { entity, limits: vec![("producer_byte_rate".to_owned(), Some(limit))] }
}

#[test]
fn what_is_set_on_brokers_is_what_topics_have() {
    let mut world = World::new();
    let mut node = world.start();
    node.create("t", 1, &[]);
    node.append("t", 0, batch(&["a", "b"]));
    assert_eq!(config(&node, &topic(), "retention.ms"), Some(("-1".to_owned(), ConfigSource::Broker)));
    alter(&node, &ALL, "log.retention.ms", Some("1000")).unwrap();
    alter(&node, &OWN, "log.retention.ms", Some("2000")).unwrap();
    assert_eq!(config(&node, &topic(), "retention.ms"), Some(("2000".to_owned(), ConfigSource::DynamicBroker)));
    assert_eq!(config(&node, &OWN, "log.retention.ms"), Some(("2000".to_owned(), ConfigSource::DynamicBroker)));
    alter(&node, &OWN, "log.retention.ms", None).unwrap();
    for _ in 0..2 {
        let dynamic = Some(("1000".to_owned(), ConfigSource::DynamicDefault));
        for resource in [&ALL, &OWN] {
            assert_eq!(config(&node, resource, "log.retention.ms"), dynamic);
        }
        assert_eq!(config(&node, &topic(), "retention.ms"), dynamic);
        world.kill(node);
        node = world.start();
    }
    // Shipped, and given up at once.
    world.age();
    let start = || node.list("t", 0, OffsetSpec::Earliest).unwrap().unwrap().offset.0;
    eventually("retention", || (start() == 2).then_some(()));
    assert_eq!(config(&node, &ALL, "log.retention.bytes"), None, "nothing was set");
    node.stop();
}

#[test]
fn refused_settings_change_nothing() {
    let world = World::new();
    let node = world.start();
    let group = ConfigResource::Group("g".to_owned());
    for (resource, name, value) in [
        (&ALL, "log.retention.ms", "-2"),
        (&OWN, "num.partitions", "3"),
        (&OWN, "no.such.setting", "3"),
        (&group, "consumer.session.timeout.ms", "soon"),
        (&group, "consumer.session.timeout.ms", "60001"),
        (&group, "retention.ms", "1"),
    ] {
        // Of a broker it is the request that is wrong, in Kafka's words.
        let expected = if resource == &group { ErrorKind::InvalidConfig } else { ErrorKind::InvalidRequest };
        assert_eq!(alter(&node, resource, name, Some(value)).unwrap_err().kind, expected, "{name}");
    }
    for nobody in [ConfigResource::Group(String::new()), ConfigResource::Broker(Some(7))] {
        let error = alter(&node, &nobody, "log.retention.ms", Some("1")).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidRequest);
    }
    let bad = node.run(node.broker().alter_client_quotas(&[quota(0.5), quota(7.0)], true));
    assert_eq!((bad[0].as_ref().unwrap_err().kind, &bad[1]), (ErrorKind::InvalidRequest, &Ok(())));
    assert!(node.run(node.broker().client_quotas()).is_empty());
    assert!(node.run(node.broker().configured_groups()).is_empty());
    node.stop();
}

#[test]
fn settings_survive_crashes_and_are_there_without_the_bucket() {
    let mut world = World::new();
    let mut node = world.start();
    let group = ConfigResource::Group("g".to_owned());
    alter(&node, &group, "consumer.session.timeout.ms", Some("50000")).unwrap();
    // In the bucket, and nowhere else yet.
    world.fail.arm("settings.changed", FailAction::Error);
    let changed = node.run(node.broker().alter_client_quotas(&[quota(1024.0)], false));
    assert_eq!(changed[0].as_ref().unwrap_err().kind, ErrorKind::StorageError);
    world.kill(node);
    node = world.start();
    let limits = |node: &Node| -> Vec<ClientQuota> { node.run(node.broker().client_quotas()) };
    assert_eq!(limits(&node).len(), 1);
    assert_eq!((&limits(&node)[0].entity, limits(&node)[0].values["producer_byte_rate"]), (&quota(0.0).entity, 1024.0));
    world.kill(node);
    world.faults.outage(true);
    node = world.start();
    assert_eq!(limits(&node).len(), 1);
    assert_eq!(node.run(node.broker().configured_groups()), ["g"]);
    let set = Some(("50000".to_owned(), ConfigSource::Group));
    assert_eq!(config(&node, &group, "consumer.session.timeout.ms"), set);
    assert_eq!(alter(&node, &group, "consumer.session.timeout.ms", None).unwrap_err().kind, ErrorKind::StorageError);
    world.faults.outage(false);
    node.wait_agreed();
    alter(&node, &group, "consumer.session.timeout.ms", None).unwrap();
    assert!(node.run(node.broker().configured_groups()).is_empty());
    let lift = QuotaChange { limits: vec![("producer_byte_rate".to_owned(), None)], ..quota(0.0) };
    assert_eq!(node.run(node.broker().alter_client_quotas(&[lift], false)), [Ok(())]);
    assert!(limits(&node).is_empty());
    node.stop();
}
