#!/usr/bin/env python3
"""The main job on real data; run by `cargo xtask demo [--s3]`, which installs and builds what this needs.

Produces the flights table with one client, reads it back with another, asks DuckDB over the Parquet in the bucket, and
reads everything again after a restart. Leaves nothing running and no files, also when it fails or is interrupted.
"""
import argparse
import contextlib
import pathlib
import signal
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import duckdb  # noqa: E402
import kafka  # noqa: E402
import pyarrow.dataset  # noqa: E402
import pyarrow.fs  # noqa: E402
from kafka.admin import KafkaAdminClient, NewTopic  # noqa: E402

import flights  # noqa: E402
from harness import log, s3  # noqa: E402
from harness.broker import Broker  # noqa: E402

TOPIC, PARTITIONS, BUCKET = "flights", 6, "demo"


@contextlib.contextmanager
def step(text):
    """Prints what is done and how long it took."""
    print(f"  {text} ...", end="", flush=True)
    started = time.monotonic()
    try:
        yield
    except BaseException:
        print(" FAILED", flush=True)
        raise
    print(f" {time.monotonic() - started:.1f} s", flush=True)


def produce(address, records):
    """With kafka-python; returns what must be where: {(partition, offset): (key, value)}."""
    admin = KafkaAdminClient(bootstrap_servers=address)
    admin.create_topics([NewTopic(TOPIC, num_partitions=PARTITIONS, replication_factor=1)])
    admin.close()
    client = kafka.KafkaProducer(bootstrap_servers=address, linger_ms=20, batch_size=256 * 1024)
    stored = {}
    try:
        sent = [(client.send(TOPIC, value=value, key=key), key, value) for key, value in records]
        client.flush(timeout=120)
        for future, key, value in sent:
            at = future.get(timeout=1)
            stored[at.partition, at.offset] = (key, value)
    except BaseException:
        with contextlib.suppress(Exception):
            client.close(timeout=0)  # do not wait for a broker that is about to go
        raise
    client.close()
    assert len(stored) == len(sent), "two records were acknowledged at the same offset"
    return stored


def consume_and_compare(address, stored):
    """With confluent-kafka, record for record."""
    found = log.read_all(address, TOPIC)
    log.assert_contiguous(found)
    records = log.flat(found)
    assert len(records) == len(stored), f"{len(records)} records read, {len(stored)} written"
    for r in records:
        assert stored[r.partition, r.offset] == (r.key, r.value), f"partition {r.partition} offset {r.offset} differs"


def relation(paths, server):
    """The exact files of the log, as DuckDB sees them: on disk, or through S3."""
    if server is None:
        return duckdb.read_parquet([path.removeprefix("file://") for path in paths])
    files = pyarrow.fs.S3FileSystem(endpoint_override=server.endpoint, access_key=s3.ACCESS, secret_key=s3.SECRET,
                                    region=s3.REGION, scheme="http")
    return duckdb.from_arrow(pyarrow.dataset.dataset([path.removeprefix("s3://") for path in paths], filesystem=files))


def ask(paths, server):
    """Flights and delays by carrier, from the Parquet."""
    answer = relation(paths, server).query("log", flights.BY_CARRIER).fetchall()
    return {carrier: tuple(rest) for carrier, *rest in answer}


def show(answer):
    print("\n  carrier  flights  mean departure delay (min)")
    for carrier, (count, known, total) in sorted(answer.items()):
        print(f"  {carrier:<7}  {count:>7}  {total / known:>26.2f}")


def run(directory, server):
    settings = server.settings(f"s3://{BUCKET}/runnel") if server else {}
    broker = Broker(directory, settings)
    try:
        with step(f"reading the flights table ({flights.ROWS:,} rows)"):
            table = list(flights.rows())
            assert len(table) == flights.ROWS
        with step("starting a broker"):
            broker.start()
        with step(f"producing to topic `{TOPIC}`, {PARTITIONS} partitions, with kafka-python"):
            stored = produce(broker.address, map(flights.record, table))
        with step("consuming with confluent-kafka, comparing record for record"):
            consume_and_compare(broker.address, stored)
        with step("stopping the broker"):
            status = broker.stop()
            assert status == 0, f"exit status {status}"
        with step("asking DuckDB over the Parquet in the bucket, comparing with the source"):
            paths = broker.cli("segment", "list", TOPIC, "-o", "paths").split()
            answer = ask(paths, server)
            assert answer == flights.by_carrier(table), "the answer differs from the source"
        with step("starting the broker again"):
            broker.start()
        with step("consuming everything once more, now from the bucket"):
            consume_and_compare(broker.address, stored)
        with step("stopping the broker"):
            status = broker.stop()
            assert status == 0, f"exit status {status}"
        show(answer)
        print(f"\n  {len(paths)} Parquet files; the answer equals the source table's")
    except Exception:
        tail = broker.log()[-3000:]
        if tail:
            print(f"\nend of the broker's log:\n{tail}", file=sys.stderr)
        raise
    finally:
        broker.kill()


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--s3", action="store_true", help="keep the bucket on an S3 server")
    with_s3 = options.parse_args().s3
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="runnel-demo-") as directory:
        server = s3.S3Server(pathlib.Path(directory) / "s3") if with_s3 else None
        try:
            print(f"runnel demo, the bucket {'on an S3 server' if server else 'in a local folder'}")
            if server:
                with step("starting an S3 server"):
                    server.start().create_bucket(BUCKET)
            run(pathlib.Path(directory) / "broker", server)
        finally:
            if server:
                server.stop()
    print(f"\ndone in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except AssertionError as error:
        sys.exit(f"error: {error}")
