"""Starting, stopping and refusing to start."""
import socket

import pytest

from harness import log
from harness.process import free_port

RECORDS = [(i % 3, f"k{i}".encode(), f"v{i}".encode(), None) for i in range(300)]


def test_a_clean_stop_completes_the_bucket(make_broker, storage):
    broker = make_broker(storage=storage).start()
    log.create_topic(broker.address, "t", 3)
    log.produce(broker.address, "t", RECORDS)
    before = log.read_all(broker.address, "t")
    assert broker.stop() == 0
    listed = broker.cli("segment", "list", "t", "-o", "paths").split()
    assert len(listed) == 3
    broker.start()
    assert log.read_all(broker.address, "t") == before
    assert broker.stop() == 0


def test_a_second_broker_on_the_same_data_is_refused(make_broker, broker):
    second = make_broker({"NODE__DATA_DIR": str(broker.data)})
    status, printed = second.run_to_end()
    assert status == 1
    assert str(broker.data) in printed and ("lock" in printed or "another" in printed), printed
    assert broker.http("/readyz")[0] == 200


def test_a_second_data_directory_on_the_same_bucket_is_refused(make_broker, storage):
    first = make_broker(storage=storage).start()
    log.create_topic(first.address, "t", 1)
    status, printed = make_broker(storage=storage).run_to_end()
    assert status == 1 and "error" in printed, printed
    assert first.http("/readyz")[0] == 200


def test_a_data_directory_with_another_bucket_is_refused(make_broker, broker, tmp_path):
    log.create_topic(broker.address, "t", 1)
    assert broker.stop() == 0
    other = make_broker({"NODE__DATA_DIR": str(broker.data), "STORAGE__URL": f"file://{tmp_path}/other"})
    status, printed = other.run_to_end()
    assert status == 1 and "storage" in printed.lower(), printed


def test_a_wildcard_listener_needs_consent(make_broker):
    port = free_port()
    status, printed = make_broker({"KAFKA__LISTEN": f"0.0.0.0:{port}"}).run_to_end()
    assert status == 1 and "security.insecure" in printed
    broker = make_broker({"KAFKA__LISTEN": f"0.0.0.0:{port}", "SECURITY__INSECURE": "true"}).start()
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        pass
    assert broker.stop() == 0


@pytest.mark.parametrize("setting, value, says", [
    ("SEGMENT__MAX_AEG", "1s", "max_age"),
    ("SEGMENT__MAX_AGE", "soon", "max_age"),
    ("STORAGE__URL", "ftp://somewhere", "storage.url"),
])
def test_bad_settings_are_refused_with_the_name(make_broker, setting, value, says):
    status, printed = make_broker({setting: value}).run_to_end()
    assert status != 0 and says in printed, printed


def test_a_newer_data_format_is_refused(make_broker, broker):
    """A release that does not know what is on the disk must not touch it."""
    assert broker.stop() == 0
    identity = broker.data / "identity"
    content = identity.read_bytes()
    identity.write_bytes(content[:-1] + bytes([content[-1] ^ 0xFF]))
    status, printed = broker.run_to_end()
    assert status == 1 and "identity" in printed, printed


def test_metrics_and_health(broker):
    assert broker.http("/livez")[0] == 200
    log.create_topic(broker.address, "t", 1)
    log.produce(broker.address, "t", [(0, None, b"v", None)])
    status, text = broker.http("/metrics")
    names = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if line and not line.startswith("#")}
    assert status == 200 and names and all(name.startswith("runnel_") for name in names), sorted(names)[:5]


def test_a_lost_log_is_refused_until_the_loss_is_accepted(broker):
    log.create_topic(broker.address, "t", 1)
    client = log.producer(broker.address)
    client.produce("t", b"acknowledged", partition=0)
    assert client.flush(60) == 0
    broker.kill()
    wal = broker.data / "wal"
    wal.rename(broker.data / "elsewhere")
    status, output = broker.run_to_end()
    assert status == 1 and "write-ahead log of this data directory is gone" in output
    wal.mkdir()
    (wal / "loss-accepted").touch()
    broker.start()
    assert broker.http("/readyz")[0] == 200
