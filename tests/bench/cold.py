#!/usr/bin/env python3
"""cold.py PART DIRECTORY [--quick]: one broker whose bucket is on an S3 server, as JSON; run by `cargo xtask bench`.

PART is `bucket`, what a topic that lies in the bucket alone is read at, beside the same bytes got by `object_store` itself and
the rebuilding of batches on one core; or `replay`, what such reading does to the latency of a tail. DIRECTORY is emptied. The
client is `runnel bench`; GETS_BIN names the loop of `crates/blob/examples/gets.rs`, MICRO_BIN the benchmark of the hot paths.
"""
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import threading

import broker
import parts
import store
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from sending import PATIENCE, send

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from harness.broker import Broker  # noqa: E402
from harness.s3 import S3Server  # noqa: E402

BUCKET, PREFIX, TOPIC = "lake", "cold", "cold"
PARTITIONS = 12
# Requests that the loop has on their way.
IN_FLIGHT = 4
SIZE = 1024
WORDS = ("payment accepted by gateway retry for customer order shipped from warehouse north delayed because address was "
         "incomplete refund issued after inspection of returned goods").split()
TAIL_RATE, TAIL_SECONDS = 1000, 20


def values(count):
    """JSON of 1 KiB, the same in every run."""
    numbers = random.Random(42)
    for number in range(count):
        head = json.dumps({"id": f"{numbers.getrandbits(64):016x}", "sequence": number, "amount": numbers.randrange(10**6) / 100,
                           "items": [f"{numbers.randrange(10**7):07}" for _ in range(4)]})
        note = " ".join(numbers.choices(WORDS, k=160))
        yield (head[:-1] + ', "note": "' + note)[:SIZE - 2].encode() + b'"}'


class Site:
    """The S3 server, and the broker."""

    def __init__(self, directory, settings):
        self.s3 = S3Server(directory / "s3").start()
        self.s3.create_bucket(BUCKET)
        self.broker = Broker(directory / "broker", self.s3.settings(f"s3://{BUCKET}/{PREFIX}") | settings).start()

    def fill(self, mib):
        """Puts so much into the bucket; returns the bytes of the values."""
        client = AdminClient({"bootstrap.servers": self.broker.address, "log_level": 4})
        client.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])[TOPIC].result(PATIENCE)
        producer = Producer({"bootstrap.servers": self.broker.address, "linger.ms": 20, "batch.size": 1 << 16,
                             "queue.buffering.max.kbytes": 1 << 17})
        count = mib * 1024
        send(producer, TOPIC, list(values(20_000)), count, lambda number: number // 64 % PARTITIONS)
        self.broker.cli("segment", "seal", TOPIC, "--wait", *self.grpc())
        return count * SIZE

    def grpc(self):
        return "--bootstrap", self.broker.grpc_address

    def start_cold(self):
        """The broker again, with nothing of the bucket in its caches or in the page cache."""
        assert self.broker.stop() == 0
        shutil.rmtree(self.broker.data / "cache", ignore_errors=True)
        self.forget_pages()
        self.broker.start()

    def forget_pages(self):
        """What the kernel has of the objects."""
        for path in self.objects():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)

    def objects(self):
        return list((self.s3.data / BUCKET / PREFIX / "topics").rglob("*.parquet"))

    def bench(self, *args):
        """What a verb of `runnel bench` measured."""
        return json.loads(self.broker.cli("bench", *args, "-o", "json", *self.grpc()))

    def read(self):
        """All of the topic."""
        return self.bench("consume", "--topic", TOPIC)["consume"]

    def got(self):
        """(GET requests, bytes of their bodies) since the broker started."""
        lines = [line for line in self.broker.http("/metrics")[1].splitlines() if 'op="get' in line and "objstore" in line]
        total = lambda name: sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))
        return total("runnel_objstore_requests_total"), total("runnel_objstore_bytes_total")

    def close(self):
        self.broker.kill()
        self.s3.stop()


def bucket(directory, quick):
    """MB/s of values, in all three ways."""
    site = Site(directory, {})
    try:
        logical = site.fill(60 if quick else 1800)  # more than one segment of each partition
        stored = sum(path.stat().st_size for path in site.objects())
        site.start_cold()
        ours, server = broker.Meter(broker.Process(site.broker.process.pid)), broker.Meter(broker.Process(site.s3.process.pid))
        own = broker.own_cpu()
        found = site.read()
        assert found["bytes"] == logical, f"{found} of {logical} bytes"
        gb = logical / 1e9
        figures = {"cold_mb": found["megabytes_per_second"], "cold_cpu": ours.cpu() / gb, "cold_s3_cpu": server.cpu() / gb,
                   "cold_client_cpu": (broker.own_cpu() - own) / gb, "packed": logical / stored}
        requests, size = site.got()
        figures |= {"cold_gets": requests / gb, "cold_get_kib": size / requests / 1024}
        site.forget_pages()
        args = BUCKET, f"{PREFIX}/topics", int(size / requests), IN_FLIGHT
        size, seconds = map(float, store.run(site.s3, os.environ["GETS_BIN"], *args).split())
        assert size == stored, f"{size} of {stored} bytes"
        figures["loop_mb"] = size / seconds / 1e6
        figures["loop_logical_mb"] = logical / seconds / 1e6
        figures["rebuild_mb"] = rebuild()
        figures["cold_share"] = figures["cold_mb"] / min(figures["loop_logical_mb"], figures["rebuild_mb"])
        return figures
    finally:
        site.close()


def rebuild():
    """MB/s that one core makes batches of Parquet at."""
    args = [os.environ["MICRO_BIN"], "--seconds", "1", "rebuild"]
    table = subprocess.run(args, capture_output=True, text=True, check=True).stdout
    return float(table.splitlines()[-1].split("|")[2])


def replay(directory, quick):
    """The tail's latency by itself, while the bucket is read as fast as it goes, from its start again and again, and while
    another broker does that with a bucket of its own, which shows what the machine has to do with it."""
    settings, sites = {"CACHE__DISK": 0}, []  # or the second time would not come from the bucket
    try:
        for name in "one", "other":
            (directory / name).mkdir()
            sites.append(Site(directory / name, settings))
            sites[-1].fill(60 if quick else 600)
        site, other = sites
        seconds = 2 if quick else TAIL_SECONDS
        figures = {f"alone_{name}": figure for name, figure in tail(site, seconds).items()}
        for name, read in ("beside", site), ("other", other):
            read.start_cold()
            latency, rate = tail_beside(site, read, seconds)
            figures |= {f"{name}_mb": rate} | {f"{name}_{key}": figure for key, figure in latency.items()}
        return figures
    finally:
        for site in sites:
            site.close()


def tail_beside(site, read, seconds):
    """The latency of one site's tail, and the MB/s at which all of the other's topic is read meanwhile."""
    done, rates, failed = threading.Event(), [], []

    def read_on():
        try:
            while not done.is_set():
                rates.append(read.read()["megabytes_per_second"])
        except Exception as error:  # for the thread that waits
            failed.append(error)
    reader = threading.Thread(target=read_on)
    reader.start()
    latency = tail(site, seconds)
    done.set()
    reader.join()
    if failed:
        raise failed[0]
    return latency, sum(rates) / len(rates)


def tail(site, seconds):
    """Milliseconds from producer to consumer, of records that do not wait for company; the first second does not count."""
    args = "e2e", "--topic", "tail", "--rate", str(TAIL_RATE), "--linger", "0ms", "--duration"
    site.bench(*args, "1s")
    latency = site.bench(*args, f"{seconds}s")["end to end"]["latency_ms"]
    return {name: latency[name] for name in ("p50", "p99")}


PARTS = {"bucket": bucket, "replay": replay}


if __name__ == "__main__":
    parts.main(PARTS, __doc__)
