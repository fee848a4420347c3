"""The bucket is away: local writes go on, a restart works, and everything is shipped when it is back."""
import itertools
import time

import pytest

from harness import log, wire
from harness.history import Load, check
from harness.process import wait_until

RECORDS = [(i % 2, f"k{i}".encode(), b"v" * 100, None) for i in range(1000)]


def test_writes_and_a_restart_during_an_outage(make_broker, s3):
    broker = make_broker(s3.settings("s3://lake") | {"SEGMENT__MAX_AGE": "1s"}).start()
    broker.bucket = s3.data / "lake"
    log.create_topic(broker.address, "t", 2)
    log.produce(broker.address, "t", RECORDS)
    wait_until(lambda: len(broker.parquet_files("t")) >= 2, "the first segments in the bucket")

    s3.stop()
    log.produce(broker.address, "t", RECORDS)
    broker.kill()
    broker.start()
    assert "does not answer" in broker.http("/readyz")[1]
    log.produce(broker.address, "t", RECORDS)

    # Not by number: those of before are orphans, and removed, if the outage came between an object and its commit.
    shipped = set(broker.parquet_files("t"))
    s3.start()
    wait_until(lambda: set(broker.parquet_files("t")) - shipped, "shipping again")
    everything = log.flat(log.read_all(broker.address, "t"))
    assert len(everything) == 3 * len(RECORDS)
    assert broker.stop() == 0
    broker.start()
    assert log.flat(log.read_all(broker.address, "t")) == everything


def test_a_clean_stop_without_the_bucket_keeps_the_log(make_broker, s3):
    """What cannot be shipped in time stays in the log, and the exit is still clean."""
    broker = make_broker(s3.settings("s3://lake") | {"SHUTDOWN__TIMEOUT": "1s"}).start()
    log.create_topic(broker.address, "t", 2)
    log.produce(broker.address, "t", RECORDS)
    before = log.read_all(broker.address, "t")
    s3.stop()
    assert broker.stop() == 0
    s3.start()
    broker.start()
    assert log.read_all(broker.address, "t") == before


MIB = 1 << 20
STORAGE_ERROR = 56
OUTAGE = [2, pytest.param(60, marks=pytest.mark.long)]


@pytest.mark.parametrize("seconds", OUTAGE)
@pytest.mark.parametrize("how", ["hang", "stop"])
def test_reads_and_writes_under_load_while_the_bucket_is_away(make_broker, s3, how, seconds):
    """It hangs, or refuses connections, across a restart of the broker. Every read goes on that needs no bucket: from
    memory, from the log, from the cache. What is in the bucket alone gets a clear error, soon."""
    broker = make_broker(s3.settings("s3://lake") | {"SEGMENT__MAX_AGE": "1s"}).start()
    broker.bucket = s3.data / "lake"
    for topic in ("cold", "warm", "t"):
        log.create_topic(broker.address, topic, 2)
    for topic in ("cold", "warm"):
        log.produce(broker.address, topic, RECORDS)
        wait_until(lambda: len(broker.parquet_files(topic)) >= 2, "its segments in the bucket")
    assert broker.stop() == 0
    broker.start()
    warm, before = log.read_all(broker.address, "warm"), broker.memory()

    getattr(s3, how)()
    load = Load(broker.address, "t", 2, "a", pause=0.01).start()
    go_on(broker, load, seconds)
    assert log.read_all(broker.address, "warm") == warm, "from the cache"
    begun = time.monotonic()
    assert wire.fetch_error(broker.kafka_port, "cold", 0) == STORAGE_ERROR
    assert time.monotonic() - begun < 20, "a client gives up after 30 s"
    assert broker.memory() < before + 200 * MIB

    broker.kill()
    broker.start()
    go_on(broker, load, seconds)
    assert broker.memory() < before + 200 * MIB
    assert not broker.parquet_files("t")

    s3.resume()
    wait_until(lambda: len(broker.parquet_files("t")) >= 2, "shipping again")
    load.finish()
    final = log.read_all(broker.address, "t")
    check(final, [load])
    assert log.read_all(broker.address, "warm") == warm
    assert len(log.flat(log.read_all(broker.address, "cold"))) == len(RECORDS)
    assert broker.stop() == 0
    broker.start()
    assert log.read_all(broker.address, "t") == final


def go_on(broker, load, seconds):
    """Writes are acknowledged and reads see them all the time."""
    until = time.monotonic() + seconds
    for _ in itertools.count():
        acked = len(load.acked)
        wait_until(lambda: len(load.acked) > acked + 100, "writes going on", seconds=30)
        records = log.read_all(broker.address, "t")
        log.assert_contiguous(records)
        assert sum(map(len, records.values())) >= acked, "reads see what was acknowledged"
        if time.monotonic() > until:
            return


@pytest.mark.long
def test_a_partition_in_the_bucket_alone_does_not_hold_up_the_others(make_broker, s3):
    """One consumer of both: while the bucket hangs, it gets what is in memory."""
    broker = make_broker(s3.settings("s3://lake") | {"SEGMENT__MAX_AGE": "1s"}).start()
    broker.bucket = s3.data / "lake"
    log.create_topic(broker.address, "t", 2)
    log.produce(broker.address, "t", [(0, None, b"cold", None)])
    wait_until(lambda: broker.parquet_files("t"), "a segment in the bucket")
    assert broker.stop() == 0
    broker.start()
    s3.hang()
    log.produce(broker.address, "t", [(1, None, b"hot", None)])
    client = log.reader(broker.address)
    client.assign([log.confluent_kafka.TopicPartition("t", p, 0) for p in (0, 1)])
    message = wait_until(lambda: client.poll(0.1), "the record in memory", seconds=20)
    assert message.value() == b"hot"
    s3.resume()
    message = wait_until(lambda: client.poll(0.1), "the record in the bucket", seconds=60)
    assert message.value() == b"cold"
    client.close()
