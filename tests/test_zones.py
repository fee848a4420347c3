"""Three brokers in three zones: consumers read in their own, and nothing they see differs from what the leaders have."""
import json

import confluent_kafka
import pytest
from confluent_kafka import admin

from harness import log, tools
from harness.broker import binary
from harness.drivers import Driver
from harness.history import Background, Load, check
from harness.process import wait_until

PARTITIONS = 6
ZONES = ["a", "b", "c"]


@pytest.fixture
def cluster(make_cluster):
    cluster = make_cluster()
    for broker, zone in zip(cluster.brokers, ZONES):
        broker.settings["NODE__ZONE"] = zone
    return cluster.start_all()


class InZone(Background):
    """A consumer that reads along in its zone: every offset of each partition once and in order."""

    def __init__(self, address, topic, zone):
        self.read = {p: [] for p in range(PARTITIONS)}  # values, by offset
        self.wrong = []
        self.client = confluent_kafka.Consumer({
            "bootstrap.servers": address, "group.id": f"in-{zone}", "enable.auto.commit": False, "client.rack": zone,
            "auto.offset.reset": "error", "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200})
        self.client.assign([confluent_kafka.TopicPartition(topic, p, 0) for p in range(PARTITIONS)])
        super().__init__()

    def count(self):
        return sum(len(values) for values in self.read.values())

    def finish(self):
        super().finish()
        self.client.close()
        assert not self.wrong, self.wrong[:5]

    def _run(self):
        while not self.ending.is_set():
            for message in self.client.consume(1000, timeout=0.1):
                if message.error() is not None:
                    if not message.error().retriable():
                        self.wrong.append(message.error())
                    continue
                values = self.read[message.partition()]
                if message.offset() != len(values):
                    self.wrong.append((message.partition(), message.offset(), len(values)))
                values.append(message.value())


def metric(broker, name):
    return broker.metric(name) or 0


def leaders(cluster, topic):
    """Broker by partition, once each is led."""
    client = admin.AdminClient({"bootstrap.servers": cluster.bootstrap()})

    def led():
        found = {p: at.leader for p, at in client.list_topics(topic, timeout=30).topics[topic].partitions.items()}
        return found if found and all(leader >= 0 for leader in found.values()) else None

    return wait_until(led, "leaders")


def fill(cluster, topic, count=3000, size=1000):
    log.create_topic(cluster.bootstrap(), topic, PARTITIONS)
    client = log.producer(cluster.bootstrap())
    for n in range(count):
        client.produce(topic, f"{n}:{'x' * size}", partition=n % PARTITIONS)
    assert client.flush(60) == 0


def seal(cluster, topic):
    """Everything is in the bucket."""
    sealed = tools.run([binary(), "segment", "seal", topic, "--wait", "-o", "json", "--bootstrap",
                        cluster.brokers[0].grpc_address])
    assert sum(part["shipped_offset"] for part in json.loads(sealed)) == 3000


def served(cluster, reader):
    """Bytes of records that the others gave to anybody."""
    return sum(metric(broker, "runnel_fetch_bytes_total") for broker in cluster.brokers if broker is not reader)


def test_what_is_shipped_crosses_no_zone(cluster):
    """librdkafka and Java, each through a reader that has everything to read first."""
    fill(cluster, "events")
    seal(cluster, "events")
    address, (reader, other, _) = cluster.bootstrap(), cluster.brokers
    before = served(cluster, reader)
    consumer = InZone(address, "events", "a").start()
    wait_until(lambda: consumer.count() == 3000 or consumer.wrong, "all records", seconds=60)
    consumer.finish()
    led = list(leaders(cluster, "events").values())
    shares = 1000 * 3000 / PARTITIONS
    assert metric(reader, "runnel_reader_bytes_total") >= (PARTITIONS - led.count(0)) * shares
    assert metric(reader, "runnel_reader_fetched_bytes_total") == 0
    assert served(cluster, reader) == before, "somebody in another zone was asked"

    driver = Driver("kafka-clients")
    try:
        before = served(cluster, other)
        read = list(driver.consume(address, "events", list(range(PARTITIONS)), 3000, rack="b"))
    finally:
        driver.stop()
    assert len({(record.partition, record.offset) for record in read}) == 3000
    assert metric(other, "runnel_reader_bytes_total") >= (PARTITIONS - led.count(1)) * shares
    assert metric(other, "runnel_reader_fetched_bytes_total") == 0
    assert served(cluster, other) == before, "somebody in another zone was asked"

    # gRPC, by way of the broker that it reaches.
    lines = tools.run([binary(), "consume", "events", "--until", "end", "--bootstrap", cluster.brokers[2].grpc_address])
    assert len(lines.splitlines()) == 3000
    assert metric(cluster.brokers[2], "runnel_reader_fetched_bytes_total") == 0


def test_the_tail_crosses_once_and_brokers_may_die(cluster):
    """Two consumers of one zone. The broker that reads for them dies, and then one that leads."""
    address, reader = cluster.bootstrap(), cluster.brokers[0]
    log.create_topic(address, "events", PARTITIONS)
    leaders(cluster, "events")
    load = Load(address, "events", PARTITIONS, "load").start()
    consumers = [InZone(address, "events", "a").start() for _ in range(2)]

    def go_on(count, what):
        since = [consumer.count() for consumer in consumers]
        wait_until(lambda: all(c.wrong or c.count() > n + count for c, n in zip(consumers, since)), what, seconds=60)

    go_on(1000, "the first records")
    wait_until(lambda: metric(reader, "runnel_reader_bytes_total") > 500_000, "reads in the zone", seconds=60)
    # Both had all of it. What one of them got before it was sent there came from leaders.
    saved = metric(reader, "runnel_reader_bytes_total") / metric(reader, "runnel_reader_fetched_bytes_total")
    assert saved > 1.6, saved
    reader.kill()
    go_on(1000, "records after the broker of the zone died")
    cluster.start(0)
    cluster.kill(1)
    go_on(1000, "records after a leader died")
    cluster.start(1)
    go_on(1000, "more records")
    load.finish()
    final = log.read_all(address, "events")
    wait_until(lambda: all(c.wrong or c.count() >= sum(map(len, final.values())) for c in consumers), "the rest",
               seconds=60)
    check(final, [load])
    for consumer in consumers:
        consumer.finish()
        for p, records in final.items():
            assert consumer.read[p] == [record.value for record in records], f"partition {p} differs"
