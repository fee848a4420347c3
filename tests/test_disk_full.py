"""Full disks: writes are refused, reads go on, nothing acknowledged is lost, and room alone brings everything back."""
import itertools
import random

import kafka
import pytest
from kafka.errors import KafkaError

from harness import log
from harness.history import Load, Recorder, check
from harness.process import wait_until
from harness.small_disk import SmallDisk

PARTITIONS = 2


class Incompressible:
    """A filler for `Load`: other bytes in each record, so that the bucket grows too."""

    def __init__(self):
        self.rng = random.Random(1)

    def __format__(self, _):
        return self.rng.randbytes(1000).hex()


@pytest.fixture
def small_disk(tmp_path):
    """Makes small disks; unmounts them after the broker is gone."""
    made = []

    def make(mib):
        made.append(SmallDisk(tmp_path / f"disk{len(made)}", mib))
        return made[-1]

    yield make
    for disk in made:
        disk.unmount()


@pytest.fixture
def on_small_disk(small_disk, make_broker, tmp_path):
    """(disk, broker with its data on it, load); the bucket is elsewhere."""
    disk = small_disk(200)
    broker = make_broker({"NODE__DATA_DIR": str(disk.folder / "data"), "STORAGE__URL": f"file://{tmp_path}/lake",
                          "SEGMENT__MAX_AGE": "1h", "CACHE__DISK": "16MiB"})
    broker.data, broker.bucket = disk.folder / "data", tmp_path / "lake"
    broker.start()
    log.create_topic(broker.address, "t", PARTITIONS)
    load = Load(broker.address, "t", PARTITIONS, "a", pause=0.001)
    load.filler = Incompressible()
    yield disk, broker, load
    broker.kill()


def fill_until_refused(disk, broker, load):
    """A full disk, and a producer that is told so: the code that a plain produce gets, and what it wrote before."""
    disk.fill(leave=1 << 20)
    load.start()
    numbers, history = itertools.count(), Recorder("plain", "t")
    client = kafka.KafkaProducer(bootstrap_servers=broker.address, retries=0, acks=1, enable_idempotence=False,
                                 request_timeout_ms=3000, delivery_timeout_ms=4000, linger_ms=0)

    def refused():
        number = next(numbers)
        history.tell("send", f'"partition":0,"value":{number}')
        try:
            done = client.send("t", f"plain:{number}:{load.filler}".encode(), partition=0).get(5)
            history.tell("acked", f'"partition":0,"value":{number},"offset":{done.offset}')
            return None
        except KafkaError as error:
            return error

    error = wait_until(refused, "a produce refused on a full disk")
    client.close(timeout=1)
    return error, history


def acked_grows(load):
    before = len(load.acked)
    wait_until(lambda: len(load.acked) > before + 100, "writes going on by themselves")


def verify(broker, load, *others):
    load.finish()
    everything = log.read_all(broker.address, "t")
    check(everything, [load], *others)
    assert broker.stop() == 0
    broker.start()
    assert log.read_all(broker.address, "t") == everything, "the log from the bucket differs"


def test_a_full_data_disk(on_small_disk):
    disk, broker, load = on_small_disk
    error, plain = fill_until_refused(disk, broker, load)
    assert error.retriable, error
    acked = len(load.acked)
    assert sum(map(len, log.read_all(broker.address, "t").values())) >= acked, "reads go on"
    broker.kill()
    broker.start()
    assert sum(map(len, log.read_all(broker.address, "t").values())) >= acked
    disk.relieve()
    acked_grows(load)
    verify(broker, load, plain)


def test_shipping_makes_room_on_a_full_disk(on_small_disk):
    """Trimming needs commits of the metadata store, which must find room when nothing else does."""
    disk, broker, load = on_small_disk
    broker.stop()
    broker.settings["SEGMENT__MAX_AGE"] = "500ms"
    broker.start()
    disk.fill()
    load.start()
    for _ in range(3):
        shipped = len(broker.parquet_files("t"))
        wait_until(lambda: len(broker.parquet_files("t")) > shipped, "shipping on a full disk")
    assert broker.http("/readyz")[0] == 200
    disk.relieve()
    acked_grows(load)
    verify(broker, load)


def test_a_full_bucket_disk(small_disk, make_broker):
    """The log takes what it may, then refuses."""
    disk = small_disk(8)
    broker = make_broker({"STORAGE__URL": f"file://{disk.folder}/lake", "SEGMENT__MAX_AGE": "500ms",
                          "WAL__MAX_UNSHIPPED": "12MiB", "SHUTDOWN__TIMEOUT": "1s"}).start()
    broker.bucket = disk.folder / "lake"
    log.create_topic(broker.address, "t", PARTITIONS)
    load = Load(broker.address, "t", PARTITIONS, "a", pause=0.001)
    load.filler = Incompressible()
    load.start()
    wait_until(lambda: broker.metric("runnel_wal_unshipped_bytes") > 11 << 20, "the backlog at its limit")
    acked = len(load.acked)
    assert sum(map(len, log.read_all(broker.address, "t").values())) >= acked, "reads go on"
    assert broker.metric("runnel_wal_unshipped_bytes") < 13 << 20, "the log takes what it may, no more"
    assert broker.stop() == 0
    broker.start()
    assert sum(map(len, log.read_all(broker.address, "t").values())) >= acked
    disk.resize(400)
    acked_grows(load)
    verify(broker, load)
    broker.kill()
