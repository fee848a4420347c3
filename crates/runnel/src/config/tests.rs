#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::Write;

use super::*;

fn load(env: &[(&str, &str)], sets: &[&str]) -> anyhow::Result<Config> {
    let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    Config::load(None, env, &sets.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>())
}

/// A broker that shares an etcd, with nothing but what it must say.
const SHARED: [&str; 3] = ["metadata.url=etcd://a:1,b:2", "node.number=3", "storage.url=s3://lake"];

#[test]
fn every_setting_is_in_the_reference_and_the_reverse() {
    let mut full = Config::default();
    full.node.zone = Some("z".into());
    full.node.number = Some(1);
    full.kafka.advertise = Some("h:1".into());
    full.grpc.advertise = Some("h:2".into());
    full.wal.durability = Some("object".into());
    let etcd = &mut full.metadata.etcd;
    for file in [&mut etcd.ca, &mut etcd.cert, &mut etcd.key] {
        *file = Some("x".into());
    }
    full.wal.max_unshipped = Some(ByteSize(1));
    full.segment.max_age = Some(Span(std::time::Duration::ZERO));
    full.telemetry.otlp_endpoint = Some("x".into());
    for field in [
        &mut full.storage.url,
        &mut full.storage.endpoint,
        &mut full.storage.region,
        &mut full.storage.access_key_id,
        &mut full.storage.secret_access_key,
        &mut full.metadata.etcd.user,
        &mut full.metadata.etcd.password,
    ] {
        *field = Some("x".into());
    }
    let value = Value::serialize(&full).unwrap();
    let keys: std::collections::BTreeSet<String> = names(value.as_dict().unwrap()).into_iter().collect();
    let documented: std::collections::BTreeSet<String> = SETTINGS.iter().map(|s| s.key.to_owned()).collect();
    assert_eq!(keys, documented);
}

#[test]
fn later_sources_win() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "[kafka]\nlisten = \"127.0.0.1:1\"\n[cache]\nmemory = 1048576\ndisk = \"2GiB\"").unwrap();
    let env = [("RUNNEL_KAFKA__LISTEN".to_owned(), "127.0.0.1:2".to_owned())];
    let config = Config::load(Some(file.path()), env.into_iter(), &["cache.disk=0".to_owned()]).unwrap();
    assert_eq!(config.kafka.listen.port(), 2);
    assert_eq!((config.cache.memory.0, config.cache.disk.0), (1 << 20, 0));
}

#[test]
fn sections_lie_in_sections() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "[wal.object]\ninterval = \"1s\"\nmax_bytes = \"1MiB\"").unwrap();
    let env = [("RUNNEL_WAL__OBJECT__INTERVAL".to_owned(), "20ms".to_owned())];
    let config = Config::load(Some(file.path()), env.into_iter(), &[]).unwrap();
    assert_eq!((config.wal.object.interval.0.as_millis(), config.wal.object.max_bytes.0), (20, 1 << 20));
    let set = load(&[], &["wal.object.interval=30ms", "wal.durability=object"]).unwrap();
    assert_eq!((set.wal.object.interval.0.as_millis(), set.durability()), (30, "object"));
    let error = load(&[], &["wal.object.intervall=30ms"]).unwrap_err().to_string();
    assert!(error.contains("did you mean `wal.object.interval`"), "{error}");
}

#[test]
fn text_from_the_environment_stays_text() {
    let config = load(&[("RUNNEL_NODE__ID", "042"), ("RUNNEL_STORAGE__ACCESS_KEY_ID", "1e5")], &[]).unwrap();
    assert_eq!(config.node.id, "042");
    assert_eq!(config.storage.access_key_id.as_deref(), Some("1e5"));
    let config = load(&[("RUNNEL_NODE__NUMBER", "7"), ("RUNNEL_METADATA__ETCD__CA", "")], &[]).unwrap();
    assert_eq!((config.node.number, config.metadata.etcd.ca), (Some(7), None));
}

#[test]
fn unknown_keys_suggest_the_nearest() {
    let error = load(&[("RUNNEL_KAFKA__LISTN", "x")], &[]).unwrap_err().to_string();
    assert!(error.contains("did you mean `kafka.listen`"), "{error}");
    let error = load(&[], &["storge.url=x"]).unwrap_err().to_string();
    assert!(error.contains("did you mean `storage.url`"), "{error}");
    load(&[("RUNNEL_SERVICE_HOST", "10.0.0.1"), ("RUNNEL_PORT", "x")], &[]).unwrap();
}

#[test]
fn refuses_what_cannot_work() {
    for set in [
        "kafka.listen=0.0.0.0:9092",
        "grpc.listen=0.0.0.0:9093",
        "grpc.max_message=1",
        "grpc.max_streams=0",
        "node.number=-1",
        "node.number=1000000000",
        "node.number=one",
        "metadata.url=zookeeper",
        "metadata.lease_ttl=999ms",
        "grpc.advertise=foo",
        "wal.durability=quorum",
        "wal.object.interval=0ms",
        "wal.object.max_bytes=1KiB",
        "segment.max_age=soon",
        "segment.max_age=0s",
        "wal.max_unflushed=0",
        "wal.max_unshipped=1KiB",
        "kafka.advertise=foo",
        "kafka.advertise_mode=single",
        "kafka.advertise_mode=double",
        "kafka.max_frame=1",
        "kafka.max_connections=0",
        "log.level=loud",
        "node.id=",
        "topics.default_partitions=0",
        "groups.min_session_timeout=0s",
        "groups.consumer_heartbeat_interval=0s",
        "groups.consumer_session_timeout=5s",
        "storage.url=ftp://x",
        "topics.auto_create=maybe",
        "telemetry.otlp_endpoint=https://collector:4317",
        "telemetry.otlp_sampling=2",
    ] {
        assert!(load(&[], &[set]).is_err(), "{set}");
    }
    load(&[], &["kafka.listen=0.0.0.0:9092", "security.insecure=true"]).unwrap();
    load(&[], &["kafka.advertise_mode=single", "kafka.advertise=lb.example:9092"]).unwrap();
}

#[test]
fn what_may_wait_for_the_bucket_depends_on_the_disk_not_on_what_is_free() {
    let by_size = [(1 << 20, 1 << 20), (200 << 20, 50 << 20), (1 << 40, 4 << 30)];
    for (disk, expected) in by_size {
        assert_eq!(wiring::max_unshipped_on(disk), expected, "a disk of {disk} bytes");
    }
    // A disk that never has anything free: a start on a full disk must not settle for a log of nothing.
    let config = load(&[], &["node.data_dir=/proc/runnel"]).unwrap();
    assert_eq!(config.max_unshipped().unwrap(), 1 << 20);
    assert_eq!(load(&[], &["wal.max_unshipped=3MiB"]).unwrap().max_unshipped().unwrap(), 3 << 20);
}

#[test]
fn secrets_are_masked() {
    let etcd = ["metadata.etcd.user=runnel", "metadata.etcd.password=hunter3"];
    let config = load(&[], &[&SHARED[..], &etcd, &["storage.secret_access_key=hunter2"]].concat()).unwrap();
    let shown = serde_json::to_string(&config.masked()).unwrap();
    assert!(!shown.contains("hunter"), "{shown}");
}

#[test]
fn a_broker_that_is_alone_needs_nothing() {
    let config = load(&[], &[]).unwrap();
    assert!(matches!(config.metadata_store().unwrap(), MetadataStore::Embedded));
    assert_eq!((config.node.number, config.durability()), (Some(0), "local"));
    load(&[], &["kafka.listen=0.0.0.0:9092", "security.insecure=true"]).unwrap();
}

#[test]
fn an_etcd_is_named_by_a_url() {
    let etcd = |url: &str| {
        let url = format!("metadata.url={url}");
        let config = load(&[], &[&[url.as_str()], &SHARED[1..]].concat()).unwrap();
        let MetadataStore::Etcd(etcd) = config.metadata_store().unwrap() else { panic!("{url}") };
        assert!(etcd.user.is_none() && etcd.tls.is_none());
        (etcd.endpoints.join(" "), etcd.prefix)
    };
    for (url, endpoints, prefix) in [
        ("etcd://a:1", "a:1", "runnel"),
        ("etcd://a:1,10.0.0.2:22,[::1]:3/", "a:1 10.0.0.2:22 [::1]:3", "runnel"),
        ("etcd://a:1/prod", "a:1", "prod"),
        ("etcd://a:1/prod/lake-1/", "a:1", "prod/lake-1"),
    ] {
        assert_eq!(etcd(url), (endpoints.to_owned(), prefix.to_owned()), "{url}");
    }
}

#[test]
fn brokers_that_share_an_etcd_wait_for_the_bucket_by_default() {
    let config = load(&[], &SHARED).unwrap();
    assert_eq!(
        (config.node.number, config.durability(), config.metadata.lease_ttl.0.as_secs()),
        (Some(3), "object", 3)
    );
    assert_eq!(load(&[], &[&SHARED[..], &["wal.durability=local"]].concat()).unwrap().durability(), "local");
    load(&[], &["metadata.url=etcd://a:1", "node.number=0", "storage.url=file:///shared"]).unwrap();
}

#[test]
fn what_a_cluster_lacks_is_said_with_what_to_do() {
    let alone = ["metadata.url=embedded", "node.number=3", "storage.url=s3://lake"];
    let without = |left_out: usize| {
        let kept = SHARED.iter().enumerate().filter(|(at, _)| *at != left_out);
        kept.map(|(_, set)| *set).collect::<Vec<_>>()
    };
    let with = |sets: &[&'static str]| [&SHARED[..], sets].concat();
    for (sets, says) in [
        (without(2), "set s3://bucket/prefix"),
        (with(&["storage.url=memory:"]), "no other broker sees"),
        (with(&["metadata.url=etcd://"]), "`` is not host:port"),
        (with(&["metadata.url=etcd://a:1,b"]), "`b` is not host:port"),
        (with(&["metadata.url=etcd://a:1/x?y"]), "the prefix `x?y`"),
        (with(&["metadata.url=etcds://a:1"]), "set metadata.etcd.ca"),
        (with(&["metadata.url=etcd://runnel:hunter2@a:1"]), "metadata.etcd.password instead"),
        (with(&["metadata.etcd.user=runnel"]), "without metadata.etcd.password"),
        (with(&["metadata.etcd.password=x"]), "without metadata.etcd.user"),
        (with(&["metadata.etcd.cert=/x"]), "without metadata.etcd.key"),
        (with(&["metadata.etcd.ca=/proc/none"]), "metadata.etcd.ca: cannot read /proc/none"),
        (with(&["kafka.listen=0.0.0.0:9092", "security.insecure=true"]), "set kafka.advertise"),
        (with(&["grpc.listen=[::]:9093", "security.insecure=true"]), "set grpc.advertise"),
        ([&alone[..], &["metadata.etcd.user=runnel"]].concat(), "take metadata.etcd.user out"),
    ] {
        let error = format!("{:#}", load(&[], &sets).unwrap_err());
        assert!(error.contains(says) && !error.contains("hunter2"), "{sets:?}: {error}");
    }
}

#[test]
fn certificates_of_etcd_are_read_from_files() {
    let (ca, cert, key) = (file("ca"), file("cert"), file("key"));
    let set = |name: &str, file: &tempfile::NamedTempFile| format!("metadata.etcd.{name}={}", file.path().display());
    let tls = |sets: &[String]| {
        let sets: Vec<&str> = SHARED.into_iter().chain(sets.iter().map(String::as_str)).collect();
        let MetadataStore::Etcd(etcd) = load(&[], &sets).unwrap().metadata_store().unwrap() else { panic!("embedded") };
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        etcd.tls.map(|tls| (tls.ca.map(text), tls.client.map(|(cert, key)| (text(cert), text(key)))))
    };
    let client = Some(("cert".to_owned(), "key".to_owned()));
    assert_eq!(tls(&[set("ca", &ca)]), Some((Some("ca".to_owned()), None)));
    assert_eq!(tls(&[set("cert", &cert), set("key", &key)]), Some((None, client.clone())));
    assert_eq!(tls(&[set("ca", &ca), set("cert", &cert), set("key", &key)]), Some((Some("ca".to_owned()), client)));
}

#[test]
fn others_are_told_of_the_listener_or_of_what_is_advertised() {
    let sets = ["kafka.listen=0.0.0.0:9092", "security.insecure=true", "kafka.advertise=broker-a:19092"];
    let config = load(&[], &[&SHARED[..], &sets].concat()).unwrap();
    let bound = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let told = config.advertised(bound(1), bound(2)).unwrap();
    assert_eq!(
        (told.kafka.to_string(), told.grpc.to_string()),
        ("broker-a:19092".to_owned(), "127.0.0.1:2".to_owned())
    );
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}
