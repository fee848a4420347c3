#![allow(clippy::unwrap_used)]

use std::io::Write;

use super::*;

fn load(env: &[(&str, &str)], sets: &[&str]) -> anyhow::Result<Config> {
    let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    Config::load(None, env, &sets.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>())
}

#[test]
fn every_setting_is_in_the_reference_and_the_reverse() {
    let mut full = Config::default();
    full.node.zone = Some("z".into());
    full.kafka.advertise = Some("h:1".into());
    full.wal.max_unshipped = Some(ByteSize(1));
    full.telemetry.otlp_endpoint = Some("x".into());
    for field in [
        &mut full.storage.url,
        &mut full.storage.endpoint,
        &mut full.storage.region,
        &mut full.storage.access_key_id,
        &mut full.storage.secret_access_key,
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
    assert_eq!((set.wal.object.interval.0.as_millis(), set.wal.durability.as_str()), (30, "object"));
    let error = load(&[], &["wal.object.intervall=30ms"]).unwrap_err().to_string();
    assert!(error.contains("did you mean `wal.object.interval`"), "{error}");
}

#[test]
fn text_from_the_environment_stays_text() {
    let config = load(&[("RUNNEL_NODE__ID", "042"), ("RUNNEL_STORAGE__ACCESS_KEY_ID", "1e5")], &[]).unwrap();
    assert_eq!(config.node.id, "042");
    assert_eq!(config.storage.access_key_id.as_deref(), Some("1e5"));
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
        "metadata.url=zookeeper",
        "wal.durability=quorum",
        "wal.object.interval=0ms",
        "wal.object.max_bytes=1KiB",
        "segment.max_age=soon",
        "segment.max_age=0s",
        "wal.max_unflushed=0",
        "wal.max_unshipped=1KiB",
        "kafka.advertise=foo",
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
    let config = load(&[], &["storage.secret_access_key=hunter2"]).unwrap();
    assert!(!serde_json::to_string(&config.masked()).unwrap().contains("hunter2"));
}
