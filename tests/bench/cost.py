#!/usr/bin/env python3
"""cost.py DIRECTORY [--quick]: requests to the bucket in an hour of three workloads, as JSON; run by `cargo xtask bench`.

Three brokers, by their own count. An hour of the small workloads passes in six minutes, of which one is measured: their rate is ten
times as high and every age of segments a tenth, so that segments come as often and are as large. What acknowledgements
cost, which a timer decides, is measured at the true rate.
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
FASTER = 10
AGES = {"SEGMENT__MAX_AGE": f"{300 // FASTER}s", "SEGMENT__MERGE_AFTER": f"{120 // FASTER}s"}
# What S3 charges as a PUT, as a GET, and lists; deletes and giving up an upload are free.
CLASSES = {
    "put": ("put", "create", "replace", "put_part", "multipart_begin", "multipart_complete"),
    "get": ("get", "get_range", "head"),
    "list": ("list",),
    "delete": ("delete", "multipart_abort"),
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


def hourly(prefix, found, seconds, rate):
    """The requests of an hour, and the TB that are written in it."""
    figures = {f"{prefix}_{name}": count * HOUR / seconds for name, count in found.items()}
    return figures | {f"{prefix}_tb": rate * SIZE * HOUR / 1e12}


def main():
    """All three."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("directory", type=pathlib.Path)
    options.add_argument("--quick", action="store_true")
    args = options.parse_args()
    minute = 6 if args.quick else 60
    found, took = workload(args.directory, "local", 1000 * FASTER, minute // 2, minute, AGES)
    local = hourly("local", found, took * FASTER, 1000)
    found, took = workload(args.directory, "object", 1000, minute // 6, minute // 2, {"SEGMENT__MAX_AGE": "1h"})
    acks = hourly("acks", found, took, 1000)
    found, took = workload(args.directory, "local", 30_000, minute // 2, minute,
                           {"SEGMENT__MAX_AGE": "1h", "SEGMENT__MERGE_AFTER": "12s"})
    large = hourly("large", found, took, 30_000)
    both = {f"object_{name}": local[f"local_{name}"] + acks[f"acks_{name}"] for name in CLASSES}
    print(json.dumps(local | acks | large | both | {"object_tb": local["local_tb"]}))


if __name__ == "__main__":
    main()
