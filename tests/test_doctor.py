"""`runnel doctor`: finds what would keep a broker from working, says what to do, and leaves everything as it was."""
import json
import socket

import pytest

from harness import log
from harness.process import free_port


@pytest.fixture
def examine():
    """Runs doctor with the settings of a broker: (exit status, findings by check)."""
    def run(broker, *args):
        done = broker.run("doctor", "-o", "json", *args)
        findings = {finding["check"]: finding for finding in json.loads(done.stdout)}
        failed = [finding for finding in findings.values() if finding["result"] == "fail"]
        assert (done.returncode == 1) == bool(failed), (done.returncode, failed, done.stderr)
        assert all(finding["detail"] and finding["advice"] for finding in failed), failed
        return [finding["check"] for finding in failed], findings
    return run


def names(*folders):
    return {str(path) for folder in folders for path in folder.rglob("*")}


def test_before_the_first_start(make_broker, storage, examine, tmp_path):
    broker = make_broker(storage=storage)
    before = names(tmp_path)
    failed, findings = examine(broker)
    assert not failed, failed
    assert "creates it" in findings["node.data_dir"]["detail"]
    assert "is free" in findings["kafka.listen"]["detail"]
    for ability in ("list", "put", "get", "get_range", "delete", "conditional_writes"):
        assert findings[f"bucket {ability}"]["result"] == "ok"
    # The S3 server makes folders of its own for the keys; objects are what counts there.
    left = names(tmp_path) - before
    assert not [path for path in left if "broker" in path], left
    assert not [path for path in left if "probe/" in path], left


def test_beside_a_running_broker(make_broker, storage, examine):
    broker = make_broker(storage=storage).start()
    log.create_topic(broker.address, "t", 1)
    log.produce(broker.address, "t", [(0, None, b"v", None)] * 100)
    before = names(broker.bucket)
    failed, findings = examine(broker)
    assert not failed, [findings[check] for check in failed]
    for listener in ("kafka.listen", "http.listen"):
        assert "the broker that runs on this data directory" in findings[listener]["detail"], findings[listener]
    assert findings["broker"]["detail"] == "ready"
    assert "belong together" in findings["identity"]["detail"]
    assert names(broker.bucket) == before
    assert not [name for name in names(broker.data) if "doctor" in name]
    assert len(log.read_all(broker.address, "t")[0]) == 100
    assert broker.run("doctor", "--ready").returncode == 0
    assert broker.stop() == 0
    assert broker.run("doctor", "--ready").returncode == 1


def test_the_table_and_the_advice(make_broker):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = make_broker({"KAFKA__LISTEN": f"127.0.0.1:{taken.getsockname()[1]}"}).run("doctor")
    assert done.returncode == 1 and "check" in done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["CHECK", "RESULT", "DETAIL"]
    at, = [i for i, line in enumerate(lines) if line.startswith("kafka.listen")]
    assert "FAIL" in lines[at] and "held by another program" in lines[at]
    assert "-> stop it, or choose another with --set kafka.listen=HOST:PORT" in lines[at + 1]


def test_ports_of_another_broker(make_broker, broker, examine):
    mine = make_broker({"KAFKA__LISTEN": broker.address, "HTTP__LISTEN": f"127.0.0.1:{broker.http_port}"})
    failed, findings = examine(mine)
    assert failed == ["kafka.listen", "http.listen"]
    assert "a Kafka broker of cluster" in findings["kafka.listen"]["detail"]
    assert "runnel " in findings["http.listen"]["detail"]
    running = make_broker().start()
    failed, findings = examine(make_broker({"NODE__DATA_DIR": str(running.data), "KAFKA__LISTEN": broker.address}))
    assert failed == ["kafka.listen"] and "a Kafka broker of cluster" in findings["kafka.listen"]["detail"]
    assert findings["http.listen"]["result"] == "warn" and "is free, though" in findings["http.listen"]["detail"]


def test_what_only_an_operator_can_mend(make_broker, broker, examine, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    for settings, wrong, says in [
        ({"NODE__DATA_DIR": "/proc/runnel"}, "disk", "creating a folder"),
        ({"NODE__DATA_DIR": str(tmp_path / "file")}, "disk", "not a folder"),
        ({"KAFKA__LISTEN": "192.0.2.1:9092", "SECURITY__INSECURE": "true"}, "kafka.listen", "cannot listen"),
        ({"KAFKA__ADVERTISE": "no-such-host.invalid:9092"}, "kafka.advertise", "does not resolve"),
        ({"KAFKA__LISTEN": "0.0.0.0:0"}, "settings", "security.insecure"),
        ({"STORAGE__URL": "file:///proc/lake"}, "bucket", "create the folder"),
        ({"STORAGE__URL": f"file://{broker.bucket}"}, "identity", "already belongs to cluster"),
    ]:
        failed, findings = examine(make_broker(settings))
        assert wrong in failed and says in findings[wrong]["detail"], (settings, findings)


def test_a_bucket_that_refuses(make_broker, s3, examine):
    url = "s3://lake/some/prefix"
    for changed, says in [
        ({"STORAGE__SECRET_ACCESS_KEY": "wrong"}, "denied"),
        ({"STORAGE__URL": "s3://no-such-bucket/x"}, "does not exist"),
        ({"STORAGE__ENDPOINT": f"http://127.0.0.1:{free_port()}"}, "cannot be reached"),
    ]:
        failed, findings = examine(make_broker(s3.settings(url) | changed))
        assert failed == ["bucket list"] and says in findings["bucket list"]["detail"], findings


def test_etcd_is_asked(make_cluster, examine):
    cluster = make_cluster(brokers=1).start_servers()
    broker, check = cluster.brokers[0], "metadata.url"
    failed, findings = examine(broker)
    assert not failed and f"etcd at {cluster.etcd.address} answers" in findings[check]["detail"], findings
    cluster.etcd.pause()
    failed, findings = examine(broker)
    assert failed == [check] and "start etcd" in findings[check]["advice"], findings
    cluster.etcd.resume()
    assert not examine(broker)[0]
    cluster.etcd.stop()
    assert examine(broker)[0] == [check]
    cluster.etcd.start()
    assert not examine(broker)[0]
    broker.settings["GRPC__ADVERTISE"] = "no-such-host.invalid:9093"
    assert examine(broker)[0] == ["grpc.advertise"]


def test_dangers_are_warned_of(make_broker, examine):
    broker = make_broker({"KAFKA__LISTEN": f"0.0.0.0:{free_port()}", "SECURITY__INSECURE": "true",
                          "KAFKA__ADVERTISE": "localhost:9092", "WAL__MAX_UNSHIPPED": "1000TiB"})
    failed, findings = examine(broker)
    assert not failed, failed
    for check in ("listeners", "kafka.advertise", "storage.url", "free space"):
        assert findings[check]["result"] == "warn" and findings[check]["advice"], findings[check]
