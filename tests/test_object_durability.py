"""Topics that are acknowledged once they are in the bucket: kills, outages, a lost disk's worth of log, changes of mind."""
import random
import shutil
import time

import pytest
from confluent_kafka import admin

from harness import log, rpc
from harness.history import Load, Watcher, check
from harness.process import wait_until
from harness.rpc import producer, record

OBJECT = {"runnel.durability": "object"}
RECORDS = [(i % 2, f"k{i}".encode(), b"v" * 100, None) for i in range(1000)]


def slots(broker):
    """The objects of lanes that hold records."""
    return [f for f in (broker.bucket / "wal").rglob("*") if len(f.name) == 20 and f.stat().st_size > 112]


def alter(broker, topic, value):
    """Changes the durability of a topic."""
    client = admin.AdminClient({"bootstrap.servers": broker.address})
    entry = admin.ConfigEntry("runnel.durability", value, incremental_operation=admin.AlterConfigOpType.SET)
    resource = admin.ConfigResource(admin.ResourceType.TOPIC, topic, incremental_configs=[entry])
    client.incremental_alter_configs([resource])[resource].result(30)


def test_an_acknowledgement_over_grpc_names_it(make_broker):
    """And the setting of the broker is what topics have that do not say."""
    broker = make_broker({"WAL__DURABILITY": "object"}).start()
    log.create_topic(broker.address, "in-bucket", 1)
    log.create_topic(broker.address, "on-disk", 1, {"runnel.durability": "local"})
    with rpc.Client(broker.grpc_address) as client:
        for topic, durability in (("in-bucket", record.DURABILITY_OBJECT), ("on-disk", record.DURABILITY_LOCAL)):
            sent = rpc.batch(topic, [record.Record(value=b"v")], partition=0)
            answer = client.producer.Produce(producer.ProduceRequest(batch=sent))
            assert [o.appended.durability for o in answer.outcomes] == [durability]


@pytest.mark.parametrize("max_age", ["1s", pytest.param("1m", marks=pytest.mark.long)])
def test_kills_under_load(make_broker, max_age):
    """With segments shipped all the time, and with everything in the lanes."""
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    print(f"seed {seed}")
    broker = make_broker({"SEGMENT__MAX_AGE": max_age, "WAL__DURABILITY": "object",
                          "WAL__OBJECT__INTERVAL": "20ms"}).start()
    log.create_topic(broker.address, "t", 4)
    loads = [Load(broker.address, "t", 4, name).start() for name in ("a", "b")]
    watcher = Watcher(broker.address, "t", 4).start()
    for _ in range(6):
        time.sleep(rng.uniform(0.1, 0.8))  # a moment of load: the moment of the kill is meant to be arbitrary
        broker.kill()
        broker.start()
    for load in loads:
        load.finish()
    watcher.finish()
    before = log.read_all(broker.address, "t")
    check(before, loads, watcher)
    assert broker.stop() == 0
    broker.start()
    assert log.read_all(broker.address, "t") == before
    wait_until(lambda: not slots(broker), "everything is shipped, and the lanes are empty")


# Where a session makes its lane and writes it; the process dies there while records are on the way.
WRITING = ["session.lane.recorded", "wal.object.header.created", "wal.object.put"]
# Where the next start ends the session before it, and takes its lane away when everything is shipped.
ENDING = ["session.ended", "wal.object.seal.placed", "wal.object.retire.recorded"]


@pytest.mark.parametrize("point", WRITING + ENDING)
def test_a_crash_at_every_step(make_broker, point):
    """Of making a lane, writing it, ending it and taking it away: what was acknowledged stays, once each."""
    writing = point in WRITING
    broker = make_broker({"SEGMENT__MAX_AGE": "1h"}).start(fail_points=f"{point}=abort" if writing else None)
    log.create_topic(broker.address, "t", 2, OBJECT)
    load = Load(broker.address, "t", 2, "a").start()
    if writing:
        assert broker.wait_exit() == -6, "the fail point was not reached"
    else:
        wait_until(lambda: len(load.acked) > 100, "acknowledgements")
        broker.kill()
        broker.start(fail_points=f"{point}=abort", wait=False)
        assert broker.wait_exit() == -6, "the fail point was not reached"
    acked = len(load.acked)
    broker.start()
    wait_until(lambda: len(load.acked) > acked + 100, "acknowledgements again")
    load.finish()
    check(log.read_all(broker.address, "t"), [load])


def test_nothing_acknowledged_is_on_the_disk_alone(make_broker):
    """The log of the disk is taken away: what was acknowledged is in the bucket."""
    broker = make_broker({"SEGMENT__MAX_AGE": "1h"}).start()
    log.create_topic(broker.address, "t", 2, OBJECT)
    log.produce(broker.address, "t", RECORDS)
    assert slots(broker) and not broker.parquet_files("t")
    before = log.read_all(broker.address, "t")
    broker.kill()
    shutil.rmtree(broker.data / "wal")
    (broker.data / "wal").mkdir()
    (broker.data / "wal" / "loss-accepted").touch()
    broker.start()
    assert log.read_all(broker.address, "t") == before
    wait_until(lambda: not slots(broker), "what was inherited is shipped at once")
    assert len(broker.parquet_files("t")) == 2


def test_the_metadata_store_is_lost(make_broker):
    """It is rebuilt from the bucket and the log, and the lanes in the bucket are found again."""
    broker = make_broker({"SEGMENT__MAX_AGE": "1h"}).start()
    log.create_topic(broker.address, "t", 2, OBJECT)
    log.create_topic(broker.address, "on-disk", 1)
    log.produce(broker.address, "t", RECORDS)
    log.produce(broker.address, "on-disk", [(0, None, b"v", None)])
    before = log.read_all(broker.address, "t")
    broker.kill()
    (broker.data / "metadata.redb").unlink()
    broker.start()
    assert log.read_all(broker.address, "t") == before
    assert len(log.flat(log.read_all(broker.address, "on-disk"))) == 1


def test_the_bucket_is_away(make_broker, s3):
    """Nothing is acknowledged meanwhile, also across a restart, and nothing is lost; topics on the disk go on."""
    broker = make_broker(s3.settings("s3://lake") | {"SEGMENT__MAX_AGE": "1h"}).start()
    broker.bucket = s3.data / "lake"
    log.create_topic(broker.address, "t", 2, OBJECT)
    log.create_topic(broker.address, "on-disk", 1)
    load = Load(broker.address, "t", 2, "a", pause=0.01).start()
    wait_until(lambda: len(load.acked) > 100, "acknowledgements")
    s3.stop()
    log.produce(broker.address, "on-disk", [(0, None, b"v", None)])
    broker.kill()
    broker.start()
    acked = len(load.acked)
    log.produce(broker.address, "on-disk", [(0, None, b"v", None)])
    assert len(log.flat(log.read_all(broker.address, "on-disk"))) == 2
    assert len(load.acked) == acked, "nothing can be acknowledged"
    s3.start()
    wait_until(lambda: len(load.acked) > acked + 100, "acknowledgements again")
    load.finish()
    check(log.read_all(broker.address, "t"), [load])


def test_durability_changes_under_load(make_broker):
    """To the bucket and back, again and again, with kills in between: each acknowledgement holds."""
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    print(f"seed {seed}")
    broker = make_broker({"SEGMENT__MAX_AGE": "1h", "WAL__OBJECT__INTERVAL": "20ms"}).start()
    log.create_topic(broker.address, "t", 2)
    load = Load(broker.address, "t", 2, "a").start()
    watcher = Watcher(broker.address, "t", 2).start()
    for turn in range(6):
        alter(broker, "t", ["object", "local"][turn % 2])
        time.sleep(rng.uniform(0.2, 1.5))  # before, in the middle of, or after the change
        if turn % 3:
            broker.kill()
            broker.start()
    load.finish()
    watcher.finish()
    before = log.read_all(broker.address, "t")
    check(before, [load], watcher)
    broker.kill()
    broker.start()
    assert log.read_all(broker.address, "t") == before


def test_idle_topics_change_at_once(make_broker):
    """Without traffic the change is made as well, and the next acknowledgement is of the new kind."""
    broker = make_broker({"SEGMENT__MAX_AGE": "1h"}).start()
    log.create_topic(broker.address, "t", 1)
    log.produce(broker.address, "t", [(0, None, b"on disk", None)])
    assert not broker.parquet_files("t")
    alter(broker, "t", "object")
    wait_until(lambda: broker.parquet_files("t"), "what is on the disk is shipped first")
    wait_until(lambda: "another durability" in broker.log(), "the change")
    log.produce(broker.address, "t", [(0, None, b"in the bucket", None)])
    assert len(slots(broker)) == 1
    assert [r.value for r in log.flat(log.read_all(broker.address, "t"))] == [b"on disk", b"in the bucket"]
