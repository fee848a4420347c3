#!/usr/bin/env python3
"""cost.py DIRECTORY [--quick]: requests to the bucket in an hour of three workloads, as JSON; run by `cargo xtask bench`.

Three brokers, by their own count. With small segments an hour passes in two minutes: the rate is thirty times as high and every age of
segments a thirtieth, so that segments come as often and are as large; two thirds of that hour are measured, in which eight
segments of each partition are shipped and merged. What a timer decides is measured at the true rate: acknowledgements in the
bucket, and the small objects that brokers look at every few seconds.
"""
import argparse
import json
import pathlib
import re
import shutil
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from harness.cluster import Cluster  # noqa: E402
from harness.process import wait_until  # noqa: E402

HOUR = 3600
PARTITIONS = 12
SIZE = 1024
PATIENCE = 60
# Times as fast.
FASTER = 30
AGES = {"SEGMENT__MAX_AGE": f"{300 // FASTER}s", "SEGMENT__MERGE_AFTER": f"{120 // FASTER}s"}
UNTIL_FULL = {"SEGMENT__MAX_AGE": "1h", "SEGMENT__MERGE_AFTER": "12s"}
# What S3 charges as a PUT, as a GET (parts of segments, and whole objects), lists, and what is free.
CLASSES = {
    "put": ("put", "create", "replace", "put_part", "multipart_begin", "multipart_complete"),
    "range": ("get_range",),
    "get": ("get", "head"),
    "list": ("list",),
    "free": ("delete", "multipart_abort"),
}


def requests(cluster):
    """By class, of all brokers so far."""
    found = dict.fromkeys(CLASSES, 0)
    of = {op: name for name, ops in CLASSES.items() for op in ops}
    for one in cluster.brokers:
        for labels, count in re.findall(r"^runnel_objstore_requests_total\{(.*)\} (\d+)", one.http("/metrics")[1], re.M):
            found[of[re.search(r'op="(\w+)"', labels).group(1)]] += int(count)
    return found


def workload(directory, durability, rate, settle, seconds, settings):
    """(requests, seconds) while so many records a second are written and read at the tail, after `settle` seconds of it."""
    shutil.rmtree(directory, ignore_errors=True)
    cluster = Cluster(directory, settings=settings).start_all()
    try:
        one = cluster.brokers[0]
        where = "--bootstrap", cluster.grpc_bootstrap()
        one.cli("topic", "create", "t", "-p", str(PARTITIONS), "-c", f"runnel.durability={durability}", *where)
        args = "bench", "e2e", "--topic", "t", "--rate", str(rate), "--duration", f"{settle + seconds + 2}s", "-o", "json"
        said = []
        load = threading.Thread(target=lambda: said.append(one.run(*args, *where, seconds=PATIENCE + settle + seconds)))
        begun = time.monotonic()
        load.start()
        wait_until(lambda: time.monotonic() >= begun + settle, "settled", PATIENCE + settle)
        before, begun = requests(cluster), time.monotonic()
        wait_until(lambda: time.monotonic() >= begun + seconds, "measured", PATIENCE + seconds)
        after, took = requests(cluster), time.monotonic() - begun
        load.join()
        assert said[0].returncode == 0, said[0].stderr
        done = json.loads(said[0].stdout)["end to end"]
        assert done["records"] == rate * (settle + seconds + 2), done
        return {name: after[name] - before[name] for name in CLASSES}, took
    finally:
        cluster.close()


def hourly(found, seconds, faster=1):
    """Requests of an hour."""
    of = {name: count * HOUR / seconds for name, count in found.items()}
    return {"put": of["put"] / faster, "get": of["range"] / faster + of["get"], "list": of["list"] / faster}


def main():
    """All three."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("directory", type=pathlib.Path)
    options.add_argument("--quick", action="store_true")
    args = options.parse_args()
    second = 0.1 if args.quick else 1

    def measure(durability, rate, settle, seconds, settings):
        return workload(args.directory, durability, rate, int(settle * second), int(seconds * second), settings)
    found, took = measure("local", 1000 * FASTER, 20, 80, AGES)
    local = hourly(found, took, FASTER)
    acks = hourly(*measure("object", 1000, 10, 30, {"SEGMENT__MAX_AGE": "1h"}))
    large = hourly(*measure("local", 30_000, 20, 50, UNTIL_FULL))
    # The timers are in both.
    both = {name: local[name] + acks[name] for name in local} | {"get": local["get"]}
    figures = {"local_tb": 1000 * SIZE * HOUR / 1e12, "object_tb": 1000 * SIZE * HOUR / 1e12, "large_tb": 30_000 * SIZE * HOUR / 1e12}
    for prefix, hour in (("local", local), ("object", both), ("large", large)):
        figures |= {f"{prefix}_{name}": count for name, count in hour.items()}
    print(json.dumps(figures | {"acks_put": acks["put"], "requests_range": found["range"], "requests_get": found["get"]}))


if __name__ == "__main__":
    main()
