"""A data directory and a bucket that do not fit together: a broker never guesses."""
import shutil

import pytest

from harness import log

RECORDS = [(0, None, f"v{i}".encode(), None) for i in range(100)]


@pytest.fixture
def apart(make_broker, tmp_path):
    """A broker that was stopped cleanly with records shipped, its bucket outside of its data directory."""
    broker = make_broker({"STORAGE__URL": f"file://{tmp_path}/lake"})
    broker.bucket = tmp_path / "lake"
    broker.start()
    log.create_topic(broker.address, "t", 1)
    log.produce(broker.address, "t", RECORDS)
    assert broker.stop() == 0
    return broker


def values(broker):
    return [r.value for r in log.read_all(broker.address, "t")[0]]


def test_an_old_disk_image_is_refused(apart, tmp_path):
    """It would give out offsets again that the bucket already has."""
    shutil.copytree(apart.data, tmp_path / "image")
    apart.start()
    log.produce(apart.address, "t", RECORDS)
    assert apart.stop() == 0
    apart.data.rename(tmp_path / "newest")
    shutil.copytree(tmp_path / "image", apart.data)

    apart.expect_error("")
    apart.start(wait=False)
    outcome = []
    client = log.producer(apart.address, message_timeout_ms=5000)
    client.produce("t", b"would take the place of another", partition=0, on_delivery=lambda e, _: outcome.append(e))
    client.flush(30)
    apart.kill()
    assert outcome and outcome[0] is not None, "an old disk image took a write"

    shutil.rmtree(apart.data)
    (tmp_path / "newest").rename(apart.data)
    apart.start()
    assert values(apart) == [v for _, _, v, _ in RECORDS] * 2


def test_lost_metadata_is_rebuilt_from_log_and_bucket(apart):
    apart.start()
    log.produce(apart.address, "t", RECORDS)
    apart.kill()
    (apart.data / "metadata.redb").unlink()
    apart.start()
    assert values(apart) == [v for _, _, v, _ in RECORDS] * 2
    log.produce(apart.address, "t", RECORDS)
    assert apart.stop() == 0
    apart.start()
    assert values(apart) == [v for _, _, v, _ in RECORDS] * 3


def test_an_emptied_bucket_is_refused(apart, tmp_path):
    apart.bucket.rename(tmp_path / "elsewhere")
    status, printed = apart.run_to_end()
    assert status == 1 and "bucket" in printed, printed
    if apart.bucket.exists():
        shutil.rmtree(apart.bucket)
    (tmp_path / "elsewhere").rename(apart.bucket)
    apart.start()
    assert values(apart) == [v for _, _, v, _ in RECORDS]


def test_a_fresh_data_directory_on_a_full_bucket_is_refused(apart, make_broker):
    status, printed = make_broker({"STORAGE__URL": apart.settings["STORAGE__URL"]}).run_to_end()
    assert status == 1 and "bucket" in printed, printed
