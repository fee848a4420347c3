"""The process dies between two durable steps of the write-ahead log, of its recovery, and of topic changes."""
import pytest
from confluent_kafka import admin

from harness import log
from harness.history import Load, Watcher, check

PARTITIONS = 2


@pytest.fixture
def loaded(make_broker):
    """A broker under load: (broker, load, watcher)."""
    broker = make_broker({"SEGMENT__MAX_AGE": "1s"}).start()
    log.create_topic(broker.address, "t", PARTITIONS)
    load = Load(broker.address, "t", PARTITIONS, "a").start()
    watcher = Watcher(broker.address, "t", PARTITIONS).start()
    while len(load.acked) < 200:
        load.ending.wait(0.01)
    yield broker, load, watcher


def die_at(broker, point):
    """Restarts the broker so that it dies when it reaches `point`."""
    broker.kill()
    broker.start(fail_points=f"{point}=abort", wait=False)
    assert broker.wait_exit() == -6, "the fail point was not reached"


def finish(broker, load, watcher):
    broker.start()
    more = len(load.acked) + 200
    while len(load.acked) < more:
        load.ending.wait(0.01)
    load.finish()
    watcher.finish()
    before = log.read_all(broker.address, "t")
    check(before, [load], watcher)
    assert broker.stop() == 0
    broker.start()
    assert log.read_all(broker.address, "t") == before, "the log from the bucket differs"


@pytest.mark.parametrize("point", [
    "wal.lane.created", "wal.file.prepared", "wal.block.written", "wal.block.synced", "wal.seal.copied",
    "wal.seal.recorded", "wal.trim.pointer", "wal.trim.recycle", "open.recorded"])
def test_a_crash_in_the_log_under_load(loaded, point):
    broker, load, watcher = loaded
    die_at(broker, point)
    finish(broker, load, watcher)


@pytest.mark.parametrize("point", ["wal.block.written", "wal.block.synced"])
def test_an_error_of_the_disk_under_load(loaded, point):
    """A failed write or sync ends the log and, with a reason, the broker; what was acknowledged is there after it."""
    broker, load, watcher = loaded
    broker.expect_error("the local lane has ended")
    broker.kill()
    broker.start(fail_points=f"{point}=error", wait=False)
    assert broker.wait_exit() == 1
    assert "write-ahead log failed" in broker.log()
    finish(broker, load, watcher)


def test_crashes_during_recovery_after_recovery(loaded):
    """Each recovery dies one step later than the one before it."""
    broker, load, watcher = loaded
    for point in ("wal.seal.copied", "wal.seal.recorded", "wal.lane.created", "wal.seal.copied", "open.recorded"):
        die_at(broker, point)
    finish(broker, load, watcher)


@pytest.mark.parametrize("point", ["topic.claimed", "topic.stored"])
def test_a_crash_while_a_topic_is_created(make_broker, point):
    """The creation can be asked for again and the topic works."""
    broker = make_broker().start(fail_points=f"{point}=abort")
    client = admin.AdminClient({"bootstrap.servers": broker.address})
    asked = client.create_topics([admin.NewTopic("t", 2, 1)], request_timeout=5)["t"]
    assert broker.wait_exit() == -6
    assert asked.exception(30) is not None
    broker.start()
    if "t" not in log.reader(broker.address).list_topics(timeout=30).topics:
        log.create_topic(broker.address, "t", 2)
    log.produce(broker.address, "t", [(1, None, b"v", None)])
    assert broker.stop() == 0


def test_a_crash_while_a_topic_is_deleted(make_broker):
    """Once its tombstone is written the topic is gone for good; a new one of the name starts empty."""
    broker = make_broker().start()
    log.create_topic(broker.address, "t", 1)
    log.produce(broker.address, "t", [(0, None, b"old", None)])
    assert broker.stop() == 0
    broker.start(fail_points="topic.tombstoned=abort")
    client = admin.AdminClient({"bootstrap.servers": broker.address})
    asked = client.delete_topics(["t"], request_timeout=5)["t"]
    assert broker.wait_exit() == -6
    assert asked.exception(30) is not None
    broker.start()
    assert "t" not in log.reader(broker.address).list_topics(timeout=30).topics
    log.create_topic(broker.address, "t", 1)
    log.produce(broker.address, "t", [(0, None, b"new", None)])
    assert [r.value for r in log.read_all(broker.address, "t")[0]] == [b"new"]
    assert broker.stop() == 0
