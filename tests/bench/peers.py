#!/usr/bin/env python3
"""peers.py PART DIRECTORY [--quick]: brokers written in Rust that acknowledge what is in the bucket, as JSON; run by
`cargo xtask bench peers`.

PART is `runnel` or `tansu`; the binary of the latter is the one that TANSU_BIN names. Both have one broker and an S3 server of
their own, and the same librdkafka as a client. DIRECTORY is emptied.
"""
import os
import pathlib
import sys
import time

import broker
import parts
from cold import SIZE, values
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from sending import PATIENCE, acknowledged_after, quantile, send

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from harness.broker import Broker  # noqa: E402
from harness.process import accepts_connections, clean_environment, free_port, spawn, wait_until  # noqa: E402
from harness.s3 import ACCESS, REGION, SECRET, S3Server  # noqa: E402

BUCKET, TOPIC, PARTITIONS = "peers", "t", 12
RATE, SECONDS = 100, 20


class Tansu:
    """One broker of Tansu, whose records and metadata are on the S3 server."""

    def __init__(self, directory, s3):
        directory.mkdir()
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        aws = {"ENDPOINT": s3.endpoint, "REGION": REGION, "DEFAULT_REGION": REGION, "ACCESS_KEY_ID": ACCESS,
               "SECRET_ACCESS_KEY": SECRET, "ALLOW_HTTP": "true"}
        environment = clean_environment() | {f"AWS_{key}": value for key, value in aws.items()}
        args = [os.environ["TANSU_BIN"], "broker", "--listener-url", f"tcp://{self.address}",
                "--advertised-listener-url", f"tcp://{self.address}", "--storage-engine", f"s3://{BUCKET}/"]
        self.process = spawn(args, directory / "tansu.log", environment | {"RUST_LOG": "warn"})
        wait_until(lambda: accepts_connections(port), "Tansu listening")

    def kill(self):
        self.process.kill()
        self.process.wait()


def runnel(directory, s3):
    return Broker(directory, s3.settings(f"s3://{BUCKET}/log")).start()


def produced(address, known, count):
    """Sends 1 KiB each; returns when all are acknowledged."""
    producer = Producer({"bootstrap.servers": address, "acks": "all", "linger.ms": 20, "batch.size": 1 << 20,
                         "queue.buffering.max.kbytes": 1 << 17})
    send(producer, TOPIC, known, count, lambda number: number // 1024 % PARTITIONS)


def read(address, count):
    """From the beginning to the end."""
    consumer = Consumer({"bootstrap.servers": address, "group.id": "peers", "enable.auto.commit": False,
                         "fetch.message.max.bytes": 1 << 20})
    consumer.assign([TopicPartition(TOPIC, partition, OFFSET_BEGINNING) for partition in range(PARTITIONS)])
    found, deadline = 0, time.monotonic() + PATIENCE
    while found < count and time.monotonic() < deadline:
        found += sum(1 for message in consumer.consume(min(1000, count - found), 0.5) if message.error() is None)
    consumer.close()
    assert found == count, f"{found} of {count} records"


def measure(directory, quick, start, configs):
    """MB/s and processor time of writing and reading, and how long acknowledgements take."""
    s3 = S3Server(directory / "s3").start()
    s3.create_bucket(BUCKET)
    ours = start(directory / "broker", s3)
    try:
        client = AdminClient({"bootstrap.servers": ours.address, "log_level": 4})
        client.create_topics([NewTopic(TOPIC, PARTITIONS, 1, config=configs)])[TOPIC].result(PATIENCE)
        known, count = list(values(20_000)), 1024 * (20 if quick else 200)
        produced(ours.address, known, PARTITIONS)  # knows the leaders, and has what is made once
        single = Producer({"bootstrap.servers": ours.address, "acks": "all", "linger.ms": 0})
        took = acknowledged_after(single, TOPIC, known[0], RATE, SECONDS, PARTITIONS)
        found = {"ack_p50": quantile(took, 0.5), "ack_p99": quantile(took, 0.99)}
        mb = count * SIZE / 1e6
        meters = broker.Meter(broker.Process(ours.process.pid)), broker.Meter(broker.Process(s3.process.pid))
        produced(ours.address, known, count)
        found |= {"produce_mb": mb / meters[0].seconds(), "produce_cpu": meters[0].cpu() / mb * 1e3,
                  "produce_s3_cpu": meters[1].cpu() / mb * 1e3}
        meters = broker.Meter(broker.Process(ours.process.pid)), broker.Meter(broker.Process(s3.process.pid))
        read(ours.address, count + PARTITIONS + len(took))
        found |= {"read_mb": mb / meters[0].seconds(), "read_cpu": meters[0].cpu() / mb * 1e3,
                  "read_s3_cpu": meters[1].cpu() / mb * 1e3}
        return found | {"mib": broker.Process(ours.process.pid).mib()}
    finally:
        ours.kill()
        s3.stop()


PARTS = {"runnel": lambda directory, quick: measure(directory, quick, runnel, {"runnel.durability": "object"}),
         "tansu": lambda directory, quick: measure(directory, quick, Tansu, {})}


if __name__ == "__main__":
    parts.main(PARTS, __doc__)
