#!/usr/bin/env python3
"""cluster.py PART DIRECTORY [--quick]: three brokers, etcd and an S3 server, as JSON; run by `cargo xtask bench`.

PART is `failover`, `acks`, `object` or `forwarding`; each starts a cluster of its own in DIRECTORY, which is emptied.
`object` runs the program that PUTS_BIN names, the bare loop of `crates/blob/examples/puts.rs`.
"""
import json
import os
import pathlib
import re
import shutil
import sys
import time
import urllib.request

import broker
import parts
import store
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from sending import PATIENCE, acknowledged_after, quantile, send

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from harness.cluster import BUCKET, Cluster  # noqa: E402
from harness.process import wait_until  # noqa: E402

INTERVAL_MS = 50
# Objects that a broker has on their way to the bucket.
IN_FLIGHT = 4
# Large, so that Python is not what is measured.
RECORD_KIB = 64


def create(cluster, topic, partitions):
    """Until every partition takes a record."""
    client = AdminClient({"bootstrap.servers": cluster.bootstrap()})
    client.create_topics([NewTopic(topic, partitions, -1)])[topic].result(PATIENCE)
    Acks(cluster, topic, range(partitions)).wait()


def leaders(cluster, topic):
    """The leader of each partition."""
    client = AdminClient({"bootstrap.servers": cluster.bootstrap()})
    found = client.list_topics(topic, timeout=PATIENCE).topics[topic].partitions
    return {number: partition.leader for number, partition in found.items()}


class Acks:
    """One record for each partition, and when it was acknowledged. The client is librdkafka as it comes: it asks again by
    itself, for as long as it takes. With idempotence it would have five requests of one partition each on their way to a
    broker, and many partitions that answer at once would still hear of it five by five."""

    def __init__(self, cluster, topic, partitions):
        settings = {"bootstrap.servers": cluster.bootstrap()}
        self.producer, self.topic, self.left, self.at = Producer(settings), topic, set(partitions), {}
        for partition in partitions:
            self.send(partition)

    def send(self, partition):
        def told(error, _message):
            assert error is None, f"partition {partition}: {error}"
            self.at.setdefault(partition, time.monotonic())
        self.producer.produce(self.topic, b"x" * 100, partition=partition, on_delivery=told)

    def wait(self):
        assert self.producer.flush(PATIENCE) == 0, "some partitions take no records"
        return self.at


def etcd_revision(cluster):
    """How many changes there were."""
    request = urllib.request.Request(f"http://{cluster.etcd.address}/v3/maintenance/status", data=b"{}")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return int(json.load(answer)["header"]["revision"])


def failover(directory, quick):
    """A broker is killed that leads a third of many partitions; then one is drained."""
    partitions = 100 if quick else 1000
    cluster = Cluster(directory).start_all()
    try:
        create(cluster, "t", partitions)
        time.sleep(3)  # what openings leave to do
        begun, before = time.monotonic(), etcd_revision(cluster)
        time.sleep(5 if quick else 20)
        writes = (etcd_revision(cluster) - before) / (time.monotonic() - begun)
        lost = [partition for partition, leader in leaders(cluster, "t").items() if leader == 0]
        warm = Acks(cluster, "t", range(partitions))  # knows all leaders
        warm.wait()
        warm.at.clear()
        killed = time.monotonic()
        cluster.kill(0)
        for partition in lost:
            warm.send(partition)
        took = [at - killed for at in warm.wait().values()]
        cluster.brokers[1].cli("cluster", "drain", "1", "--bootstrap", cluster.brokers[2].grpc_address)
        wait_until(lambda: 1 not in leaders(cluster, "t").values(), "drained", PATIENCE)
        pauses = moves(cluster.brokers[1])
        return {"failover_first_s": min(took), "failover_p99_s": quantile(took, 0.99), "failover_last_s": max(took),
                "etcd_writes": writes} | pauses
    finally:
        cluster.close()


def moves(moved):
    """How long producers had to wait while a broker handed partitions over, by its own account: bounds of its buckets."""
    pattern = r'runnel_move_pause_seconds_bucket\{le="([^"]+)"\} (\d+)'
    buckets = [(float(le), int(count)) for le, count in re.findall(pattern, moved.http("/metrics")[1])]
    bound = lambda share: next(le for le, count in buckets if count >= share * buckets[-1][1]) * 1e3
    return {"move_p50_ms": bound(0.5), "move_p99_ms": bound(0.99)}


def puts_alone(cluster, size, count):
    """Milliseconds that the S3 server takes for objects of a size, one after the other."""
    body, took = b"x" * size, []
    for number in range(count):
        begun = time.monotonic()
        cluster.s3.put(BUCKET, f"alone/{number}", body)
        took.append((time.monotonic() - begun) * 1e3)
    return took


def acks(directory, quick):
    """How long an acknowledgement takes that waits for the bucket, beside what the S3 server needs for an object."""
    rate, seconds = 200, 5 if quick else 20
    cluster = Cluster(directory, settings={"WAL__OBJECT__INTERVAL": f"{INTERVAL_MS}ms"}).start_all()
    try:
        create(cluster, "t", 12)
        producer = Producer({"bootstrap.servers": cluster.bootstrap(), "linger.ms": 0, "enable.idempotence": True})
        before = slots(cluster)
        took = acknowledged_after(producer, "t", b"x" * 1000, rate, seconds, 12)
        puts = slots(cluster) - before
        alone = puts_alone(cluster, rate * seconds * 1000 // int(puts), 200)
        wide = many(cluster, rate, seconds)
        return {"ack_p50_ms": quantile(took, 0.5), "ack_p99_ms": quantile(took, 0.99),
                "put_p50_ms": quantile(alone, 0.5), "put_p99_ms": quantile(alone, 0.99),
                "puts": puts / seconds, "puts_wide": wide / seconds}
    finally:
        cluster.close()


def many(cluster, rate, seconds):
    """Objects put for the same records, spread over many partitions."""
    create(cluster, "wide", 600)
    producer = Producer({"bootstrap.servers": cluster.bootstrap(), "linger.ms": 0, "enable.idempotence": True})
    before, start = slots(cluster), time.monotonic()
    for number in range(rate * seconds):
        while (wait := start + number / rate - time.monotonic()) > 0:
            producer.poll(wait)
        producer.produce("wide", b"x" * 1000, partition=number % 600)
    assert producer.flush(PATIENCE) == 0
    return slots(cluster) - before


def slots(cluster):
    """Objects of the write-ahead log put so far."""
    return sum(one.metric("runnel_wal_slots_total") or 0 for one in cluster.brokers)


def durable(directory, quick):
    """MB/s that are acknowledged in the bucket through one broker, with shipping held back and with it, beside those of a
    loop that puts as many objects of the same size; and the processor time of all that takes part."""
    mib = 200 if quick else 800
    held = produced(directory, mib, True)
    shipped = produced(directory, mib, False)
    return held | {"held_ratio": held["held_mb"] / held["loop_mb"], "shipped_mb": shipped["held_mb"],
                   "shipped_ratio": shipped["held_mb"] / held["loop_mb"]}


def produced(directory, mib, is_held):
    """Of a cluster of one broker; with shipping held back also the loop, which has the S3 server for itself then."""
    shutil.rmtree(directory, ignore_errors=True)
    held_back = {"SEGMENT__MAX_AGE": "1h", "SEGMENT__MAX_BYTES": "1GiB", "WAL__MAX_UNSHIPPED": "8GiB"}
    cluster = Cluster(directory, brokers=1, settings=held_back if is_held else {}).start_all()
    mb = mib * 1.048576
    try:
        create(cluster, "t", 12)
        producer = Producer({"bootstrap.servers": cluster.bootstrap(), "linger.ms": 20, "batch.size": 1 << 20,
                             "queue.buffering.max.kbytes": 1 << 17})
        value = bytes(range(256)) * 4 * RECORD_KIB
        server = broker.Meter(broker.Process(cluster.s3.process.pid))
        ours = broker.Meter(broker.Process(cluster.brokers[0].process.pid))
        os.sync()  # or what was written before would be while this is measured
        before, own, begun = slots(cluster), broker.own_cpu(), time.monotonic()
        send(producer, "t", [value], mib * 1024 // RECORD_KIB, lambda number: number % 12)
        found = {"held_mb": mb / (time.monotonic() - begun),
                 "held_cpu": (server.cpu() + ours.cpu() + broker.own_cpu() - own) / mb * 1e3}
        if is_held:
            objects = int(slots(cluster) - before)
            os.sync()
            server, own = broker.Meter(broker.Process(cluster.s3.process.pid)), broker.own_cpu()
            found["loop_mb"] = mb / puts_in_a_loop(cluster, objects, mib * (1 << 20) // objects)
            found["loop_cpu"] = (server.cpu() + broker.own_cpu() - own) / mb * 1e3
        return found
    finally:
        cluster.close()


def puts_in_a_loop(cluster, objects, size):
    """Seconds that `object_store` by itself takes, with as many requests on their way as a broker has."""
    return float(store.run(cluster.s3, os.environ["PUTS_BIN"], BUCKET, "alone", objects, size, IN_FLIGHT))


def forwarding(directory, quick):
    """Processor time of all brokers for the same bytes, shipping included: sent to the leaders, and to a broker that leads
    nothing."""
    mib = 50 if quick else 400
    direct = processor_time(directory, mib, None)
    forwarded = processor_time(directory, mib, 0)
    return {"direct_cpu": direct, "forwarded_cpu": forwarded, "forwarded_ratio": forwarded / direct}


def processor_time(directory, mib, through):
    """CPU seconds per GB; `through` is the broker that all traffic goes to, and which leads nothing."""
    shutil.rmtree(directory, ignore_errors=True)
    cluster = Cluster(directory)
    if through is not None:
        for one in cluster.brokers:
            one.settings |= {"KAFKA__ADVERTISE_MODE": "single", "KAFKA__ADVERTISE": cluster.brokers[through].address}
    cluster.start_all()
    try:
        entrance = cluster.brokers[through or 0]
        if through is not None:
            entrance.cli("cluster", "drain", str(through), "--bootstrap", entrance.grpc_address)
        create(cluster, "t", 12)
        meters = [broker.Meter(broker.Process(one.process.pid)) for one in cluster.brokers]
        producer = Producer({"bootstrap.servers": entrance.address, "linger.ms": 20, "batch.size": 1 << 20,
                             "enable.idempotence": True, "queue.buffering.max.kbytes": 1 << 17})
        send(producer, "t", [bytes(range(256)) * 4], mib * 1024, lambda number: number % 12)
        for one in cluster.brokers:
            one.cli("segment", "seal", "t", "--bootstrap", one.grpc_address)
        return sum(meter.cpu() for meter in meters) / (mib / 1024 * 1.073741824)
    finally:
        cluster.close()


PARTS = {"failover": failover, "acks": acks, "object": durable, "forwarding": forwarding}


if __name__ == "__main__":
    parts.main(PARTS, __doc__)
