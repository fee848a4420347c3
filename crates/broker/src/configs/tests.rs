#![allow(clippy::unwrap_used)]

use super::*;

pub(crate) fn defaults() -> Defaults {
    Defaults {
        retention_ms: -1,
        segment_max_bytes: 64 << 20,
        segment_max_age: Duration::from_secs(60),
        durability: Durability::Local,
        own: BTreeMap::new(),
        all: BTreeMap::new(),
    }
}

fn change(name: &str, op: AlterConfigOp, value: Option<&str>) -> ConfigChange {
    ConfigChange { name: name.into(), op, value: value.map(Into::into) }
}

#[test]
fn table_is_sorted_and_its_defaults_pass_its_checks() {
    assert!(TABLE.is_sorted_by(|a, b| a.name < b.name));
    for entry in TABLE {
        check_topic(entry.name, entry.default).unwrap();
    }
}

#[test]
fn refuses_what_it_cannot_honour() {
    let cases = [
        ("cleanup.policy", "compact"),
        ("cleanup.policy", "compact,delete"),
        ("cleanup.policy", "Delete"),
        ("cleanup.policy", "delete,"),
        ("cleanup.policy", ","),
        ("runnel.durability", "quorum"),
        ("max.message.bytes", "-1"),
        ("max.message.bytes", "many"),
        ("message.timestamp.type", "createtime"),
        ("min.cleanable.dirty.ratio", "1.5"),
        ("no.such.config", "1"),
    ];
    for (name, value) in cases {
        let error = validate_new(&[(name.into(), Some(value.into()))], false).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidConfig, "{name}={value}");
    }
    assert_eq!(validate_new(&[("retention.ms".into(), None)], false).unwrap_err().kind, ErrorKind::InvalidConfig);
}

#[test]
fn kafka_segment_names_only_lower_ours() {
    let view = |pairs: &[(&str, &str)]| {
        let set = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        TopicConfig::new(&set, &defaults())
    };
    assert_eq!(view(&[("segment.bytes", "1073741824"), ("segment.ms", "604800000")]), view(&[]));
    assert_eq!(view(&[("segment.bytes", "1000000")]).segment_max_bytes, 1_000_000);
    assert_eq!(view(&[("segment.ms", "500")]).segment_max_age, Duration::from_millis(500));
}

#[test]
fn white_space_around_a_value_changes_nothing() {
    for entry in TABLE {
        let spaced = format!(" {} ", entry.default);
        let stored = validate_new(&[(entry.name.into(), Some(spaced.clone()))], false).unwrap();
        assert_eq!(stored[entry.name], entry.default.trim());
        let set = [change(entry.name, AlterConfigOp::Set, Some(&spaced))];
        assert_eq!(apply(Of::Topic, &BTreeMap::new(), &set).unwrap()[entry.name], entry.default.trim());
    }
}

#[test]
fn retention_that_cannot_be_read_keeps_everything() {
    // As an earlier release stored it.
    for value in [" -1", "-1 ", "", "for ever"] {
        let set = [("retention.ms", value), ("retention.bytes", value)].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert!(TopicConfig::new(&BTreeMap::from(set), &defaults()).retention.keeps_everything(), "`{value}`");
    }
    let set = BTreeMap::from([("retention.ms".to_owned(), " 604800000".to_owned())]);
    assert_eq!(TopicConfig::new(&set, &defaults()).retention.ms, Some(604_800_000));
}

#[test]
fn without_a_cleanup_policy_everything_is_kept() {
    let limits = [("retention.ms", "5"), ("retention.bytes", "5")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    let policy = |value: &str| {
        let set = validate_new(&[("cleanup.policy".into(), Some(value.into()))], false).unwrap();
        let stored = set["cleanup.policy"].clone();
        (stored, TopicConfig::new(&set.into_iter().chain(limits.clone()).collect(), &defaults()).retention)
    };
    let deletes = Policy { ms: Some(5), bytes: Some(5) };
    for (value, stored, retention) in [
        ("", "", Policy::default()),
        (" ", "", Policy::default()),
        ("delete", "delete", deletes),
        ("delete, delete", "delete", deletes),
    ] {
        assert_eq!(policy(value), (stored.to_owned(), retention), "`{value}`");
    }
    let mut set = BTreeMap::new();
    for (op, value, stored) in [
        (AlterConfigOp::Subtract, "delete", ""),
        (AlterConfigOp::Append, "", ""),
        (AlterConfigOp::Append, "delete", "delete"),
        (AlterConfigOp::Append, "delete", "delete"),
        (AlterConfigOp::Set, "", ""),
        (AlterConfigOp::Set, "delete,delete", "delete"),
    ] {
        set = apply(Of::Topic, &set, &[change("cleanup.policy", op, Some(value))]).unwrap();
        assert_eq!(set["cleanup.policy"], stored, "{op:?} `{value}`");
    }
    let empty_item = [change("cleanup.policy", AlterConfigOp::Set, Some(","))];
    assert_eq!(apply(Of::Topic, &set, &empty_item).unwrap_err().kind, ErrorKind::InvalidConfig);
}

#[test]
fn incremental_changes_follow_kip_339() {
    let set = BTreeMap::new();
    let set = apply(Of::Topic, &set, &[change("retention.ms", AlterConfigOp::Set, Some("5"))]).unwrap();
    assert_eq!(set["retention.ms"], "5");
    let set = apply(Of::Topic, &set, &[change("retention.ms", AlterConfigOp::Delete, None)]).unwrap();
    assert!(set.is_empty());
    let throttled = "leader.replication.throttled.replicas";
    let set = apply(Of::Topic, &set, &[change(throttled, AlterConfigOp::Append, Some("0:1,0:2"))]).unwrap();
    let set = apply(Of::Topic, &set, &[change(throttled, AlterConfigOp::Append, Some("0:2,0:3"))]).unwrap();
    assert_eq!(set[throttled], "0:1,0:2,0:3");
    let set = apply(Of::Topic, &set, &[change(throttled, AlterConfigOp::Subtract, Some("0:1"))]).unwrap();
    assert_eq!(set[throttled], "0:2,0:3");
    let set = apply(Of::Topic, &set, &[change(throttled, AlterConfigOp::Append, Some("0:4,0:4"))]).unwrap();
    assert_eq!(set[throttled], "0:2,0:3,0:4");
    assert_eq!(apply(Of::Topic, &set, &[change("no.such.config", AlterConfigOp::Delete, None)]).unwrap(), set);
    let refused = apply(Of::Topic, &set, &[change("retention.ms", AlterConfigOp::Append, Some("1"))]).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::InvalidConfig);
}

#[test]
fn describe_names_the_source_and_what_would_hold_without_it() {
    let set = BTreeMap::from([("retention.ms".to_owned(), "5".to_owned())]);
    let entry = describe(&set, &defaults(), Some(&["retention.ms".to_owned()])).remove(0);
    assert_eq!((entry.value.as_deref(), entry.source), (Some("5"), ConfigSource::Topic));
    assert_eq!(entry.synonyms[1], ("topics.default_retention".into(), "-1".into(), ConfigSource::Broker));
    assert_eq!(describe(&set, &defaults(), None).len(), TABLE.len());
}

#[test]
fn defaults_are_shown_under_the_name_that_they_have_on_kafkas_servers() {
    let shown = |name: &str| {
        let entry = describe(&BTreeMap::new(), &defaults(), Some(&[name.to_owned()])).remove(0);
        entry.synonyms.into_iter().map(|(name, _, source)| (name, source)).collect::<Vec<_>>()
    };
    assert_eq!(shown("cleanup.policy"), [("log.cleanup.policy".to_owned(), ConfigSource::Default)]);
    assert_eq!(shown("max.message.bytes"), [("message.max.bytes".to_owned(), ConfigSource::Default)]);
    assert_eq!(shown("min.insync.replicas"), [("min.insync.replicas".to_owned(), ConfigSource::Default)]);
    for (server, topic) in BROKER_TABLE {
        assert_eq!(&server_name(topic), server);
    }
}
