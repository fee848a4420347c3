"""Old records, records deleted on request, deleted topics: gone from the log, then from the bucket; through kill -9."""
import random
import threading

import confluent_kafka
import pytest
from confluent_kafka import admin

from harness import log
from harness.process import wait_until

FAST = {"TOPICS__RETENTION_CHECK": "50ms", "SEGMENT__MAX_AGE": "200ms"}
SOON = {"file.delete.delay.ms": "0"}


def client(broker):
    """To be kept until its futures are done: they do not keep it."""
    return admin.AdminClient({"bootstrap.servers": broker.address})


def values(name, count):
    return [(0, None, f"{name}-{i}".encode() * 10, []) for i in range(count)]


def seal(broker, topic):
    """Returns when everything is in the bucket."""
    broker.cli("segment", "seal", topic, "--wait", "--bootstrap", broker.grpc_address)


def offsets(broker, topic):
    """Log start and end."""
    reader = log.reader(broker.address)
    found = reader.get_watermark_offsets(confluent_kafka.TopicPartition(topic, 0), timeout=30)
    reader.close()
    return found


def delete_records(broker, topic, before):
    """Returns the log start."""
    partition = confluent_kafka.TopicPartition(topic, 0, before)
    asking = client(broker)
    return asking.delete_records([partition])[partition].result(60).low_watermark


def read_from(broker, topic, start):
    """(offset, value) of every record from `start` on, which the log still has."""
    return [(r.offset, r.value) for r in log.flat(log.read_all(broker.address, topic, start)) if r.offset >= start]


def read_what_there_is(broker, topic):
    """Log start, end, and what lies between; the log start may move meanwhile."""
    def attempt():
        start, end = offsets(broker, topic)
        try:
            return start, end, dict(read_from(broker, topic, start))
        except AssertionError:
            assert offsets(broker, topic)[0] > start
            return None
    return wait_until(attempt, "a read between two moves of the log start")


def traces(broker, topic_id):
    """Objects that bear the id of a topic, but for its tombstone."""
    paths = [path.relative_to(broker.bucket) for path in broker.files()]
    return [path for path in paths if topic_id in str(path) and path.parts[:2] != ("meta", "tombstones")]


def id_of(broker, topic):
    asking = client(broker)
    return asking.describe_topics(confluent_kafka.TopicCollection([topic]))[topic].result(30).topic_id


def hex_id(topic_id):
    return f"{(topic_id.get_most_significant_bits() & (2**64 - 1)):016x}" \
           f"{(topic_id.get_least_significant_bits() & (2**64 - 1)):016x}"


def test_old_records_go(make_broker, storage):
    """By age and by size: consumers are told that the offset is out of range, files go, new records stay."""
    broker = make_broker(FAST, storage).start()
    log.create_topic(broker.address, "old", config={"retention.ms": "1000"} | SOON)
    log.create_topic(broker.address, "large", config={"retention.bytes": "1"} | SOON)
    log.create_topic(broker.address, "kept")
    for topic in ("old", "large", "kept"):
        for part in range(3):
            log.produce(broker.address, topic, values(f"{topic}{part}", 100))
            wait_until(lambda t=topic, n=part: len(broker.cli("segment", "list", t, "-o", "paths").split()) > 0 or n > 0,
                       "a segment")
    wait_until(lambda: offsets(broker, "old") == (300, 300), "the old records are gone")
    wait_until(lambda: not broker.parquet_files("old"), "their files are gone")
    wait_until(lambda: len(broker.parquet_files("large")) == 1, "one file is enough")
    assert offsets(broker, "kept") == (0, 300)
    assert broker.cli("segment", "list", "old", "-o", "paths").split() == []
    log.produce(broker.address, "large", values("more", 1))
    assert [offset for offset, _ in read_from(broker, "large", 300)] == [300]
    broker.kill()
    broker.start()
    assert offsets(broker, "old") == (300, 300)
    assert offsets(broker, "kept") == (0, 300)


POINTS = ["ship.after_root_cas", "retention.committed", "retention.root_kept", "retention.deleted"]


@pytest.mark.parametrize("point", POINTS)
def test_a_crash_in_a_retention_pass(make_broker, point):
    """The process dies at every step; the log start does not go back, and what is above it is there."""
    broker = make_broker(FAST).start()
    log.create_topic(broker.address, "t", config=SOON)
    log.produce(broker.address, "t", values("a", 50))
    seal(broker, "t")
    log.produce(broker.address, "t", values("b", 50))
    seal(broker, "t")
    before = read_from(broker, "t", 50)
    broker.kill()
    broker.start(fail_points=f"{point}=abort")
    size = broker.parquet_files("t")[1].stat().st_size
    resource = admin.ConfigResource(admin.ConfigResource.Type.TOPIC, "t", incremental_configs=[
        admin.ConfigEntry("retention.bytes", str(size), incremental_operation=admin.AlterConfigOpType.SET)])
    asking = client(broker)
    answer = asking.incremental_alter_configs([resource])
    assert broker.wait_exit() == -6, "the fail point was not reached"
    del asking, answer
    broker.start()
    wait_until(lambda: offsets(broker, "t") == (50, 100), "the log start")
    wait_until(lambda: len(broker.parquet_files("t")) == 1, "the old file is gone")
    assert read_from(broker, "t", 50) == before
    log.produce(broker.address, "t", values("c", 5))
    assert broker.stop() == 0
    broker.start()
    assert offsets(broker, "t")[0] >= 50
    assert [offset for offset, _ in read_from(broker, "t", 100)] == list(range(100, 105))


@pytest.mark.parametrize("point", ["ship.put", "ship.after_root_cas", "ship.root_kept", "retention.committed",
                                   "retention.root_kept", "retention.deleted"])
def test_a_crash_while_records_are_deleted(make_broker, point):
    """Nobody was told that the records are gone: they are, or they are not; above them nothing is lost."""
    broker = make_broker(FAST | {"SEGMENT__MAX_AGE": "1h"}).start(fail_points=f"{point}=abort")
    log.create_topic(broker.address, "t", config=SOON)
    log.produce(broker.address, "t", values("a", 40))
    kept = read_from(broker, "t", 25)
    partition = confluent_kafka.TopicPartition("t", 0, 25)
    asking = client(broker)
    answer = asking.delete_records([partition], request_timeout=5)[partition]
    if point == "retention.deleted":
        # Nothing ends below 25: the first file that may go is the next one's.
        assert answer.result(30).low_watermark == 25
        kept = []
        answer = asking.delete_records([confluent_kafka.TopicPartition("t", 0, 40)], request_timeout=5)
    assert broker.wait_exit() == -6, "the fail point was not reached"
    del asking, answer
    broker.start()
    start, end = offsets(broker, "t")
    assert end == 40 and start in (0, 25, 40)
    assert read_from(broker, "t", max(start, 25)) == (kept if start <= 25 else [])
    assert delete_records(broker, "t", 25) == max(start, 25)
    assert delete_records(broker, "t", -1) == 40
    log.produce(broker.address, "t", values("b", 5))
    broker.kill()
    broker.start()
    assert offsets(broker, "t") == (40, 45)
    wait_until(lambda: not broker.parquet_files("t"), "the old files are gone")


@pytest.mark.parametrize("point", ["topic.tombstoned", "topic.object_deleted", "topic.emptied"])
def test_a_crash_while_a_topic_is_deleted(make_broker, point):
    """The deletion is finished by the next start; a topic of the same name has nothing of it."""
    broker = make_broker(FAST).start()
    log.create_topic(broker.address, "t", config=SOON)
    log.produce(broker.address, "t", values("a", 40))
    seal(broker, "t")
    old = hex_id(id_of(broker, "t"))
    assert traces(broker, old)
    assert broker.stop() == 0
    broker.start(fail_points=f"{point}=abort")
    asking = client(broker)
    answer = asking.delete_topics(["t"], request_timeout=5)
    assert broker.wait_exit() == -6, "the fail point was not reached"
    del asking, answer
    broker.start()
    log.create_topic(broker.address, "t")
    assert offsets(broker, "t") == (0, 0)
    log.produce(broker.address, "t", values("b", 7))
    wait_until(lambda: not traces(broker, old), "the objects of the deleted topic are gone")
    seal(broker, "t")
    broker.kill()
    broker.start()
    assert [value for _, value in read_from(broker, "t", 0)] == [v for _, _, v, _ in values("b", 7)]


def test_deleted_topics_wait_for_their_grace(make_broker, storage):
    """By default a minute: who holds a list of files can still read them. Then all is gone, in every kind of bucket."""
    broker = make_broker(FAST, storage).start()
    ids = {}
    for topic, config in (("late", {}), ("soon", SOON)):
        log.create_topic(broker.address, topic, config=config)
        log.produce(broker.address, topic, values(topic, 10))
        seal(broker, topic)
        ids[topic] = hex_id(id_of(broker, topic))
        log.delete_topic(broker.address, topic)
    wait_until(lambda: not traces(broker, ids["soon"]), "the objects are gone")
    assert any(str(path).endswith(".parquet") for path in traces(broker, ids["late"]))


def test_kills_at_any_moment(make_broker):
    """Producing, trimming, retention and kill -9 at random: no acknowledged record above the log start is lost, the log
    start never falls, no offset has two contents."""
    broker = make_broker(FAST).start()
    log.create_topic(broker.address, "t", config={"retention.bytes": "20000"} | SOON)
    rnd, sent, lowest = random.Random(7), {}, 0
    for round_ in range(4):
        acked, lock, done = {}, threading.Lock(), threading.Event()

        def keep(error, message, acked=acked, lock=lock):
            if error is None:
                with lock:
                    acked[message.offset()] = message.value()

        def work(round_=round_, done=done, keep=keep):
            producer = confluent_kafka.Producer({"bootstrap.servers": broker.address, "enable.idempotence": True,
                                                 "message.timeout.ms": 3000})
            number = 0
            while not done.is_set():
                producer.produce("t", f"{round_}-{number}".encode() * 20, partition=0, on_delivery=keep)
                producer.poll(0.002)
                number += 1
            producer.flush(4)

        thread = threading.Thread(target=work)
        thread.start()
        moment = rnd.uniform(0.3, 1.5)
        wait_until(lambda a=acked: len(a) > 100, "some records")
        trims = [client(broker) for _ in range(2)]
        for trim in trims:
            with lock:
                highest = max(acked)
            partition = confluent_kafka.TopicPartition("t", 0, rnd.randrange(max(lowest, highest - 200), highest))
            trim.delete_records([partition], request_timeout=5)
        done.wait(moment)
        broker.kill()
        done.set()
        thread.join()
        sent |= acked
        broker.start()
        start, end, found = read_what_there_is(broker, "t")
        assert start >= lowest and end > max(sent)
        lowest = start
        assert sorted(found) == list(range(start, end))
        for offset, value in sent.items():
            assert offset < start or found[offset] == value, f"offset {offset}"
    assert lowest > 0, "nothing was ever given up"
