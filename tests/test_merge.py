"""Merging: many small files become few, while consumers and engines read on, through kills at every step."""
import random

import duckdb
import pytest

from harness import history, log
from harness.process import wait_until

# Segments of at least eight neighbours are merged, as soon as they are there.
MERGING = {"SEGMENT__MERGE_BYTES": "256MiB", "SEGMENT__MERGE_AFTER": "0s", "SEGMENT__MAX_AGE": "200ms", "TOPICS__RETENTION_CHECK": "50ms"}
APART = {"SEGMENT__MERGE_BYTES": "0", "SEGMENT__MAX_AGE": "1h"}
SMALL = {"runnel.segment.max_bytes": "1024"}
SOON = {"file.delete.delay.ms": "0"}


def listed(broker, topic):
    return broker.cli("segment", "list", topic, "-o", "paths").split()


def seal(broker, topic):
    broker.cli("segment", "seal", topic, "--wait", "--bootstrap", broker.grpc_address)


def fill(broker, topic, segments, config=None, bytes_each=600):
    """A topic of so many segments at least, and what a consumer reads of it."""
    log.create_topic(broker.address, topic, config=SMALL | (config or {}))
    noise = random.Random(1)
    for i in range(segments):
        log.produce(broker.address, topic, [(0, None, b"%d-%d:" % (i, n) + noise.randbytes(bytes_each), []) for n in (0, 1)])
        seal(broker, topic)
    return log.flat(log.read_all(broker.address, topic))


def merged(broker, topic, most=1):
    """Waits until no more files are left than `most`, in the list and in the bucket."""
    wait_until(lambda: len(listed(broker, topic)) <= most, "the merges")
    wait_until(lambda: len(broker.parquet_files(topic)) <= most, "the old files go")


def test_many_small_files_become_one(make_broker, storage):
    """In a folder and on S3: the list, the engines and the consumers agree before and after."""
    broker = make_broker(APART, storage).start()
    consumed = fill(broker, "t", 12, SOON, bytes_each=900_000)
    segments = len(listed(broker, "t"))
    broker.stop()
    broker.settings |= MERGING
    broker.start()
    # 21 MB that hardly shrink: on S3 they go up in parts.
    wait_until(lambda: len(listed(broker, "t")) == 1, "the merge")
    assert log.flat(log.read_all(broker.address, "t")) == consumed
    assert broker.cli("segment", "verify", "t") == "1 of 1 segments are sound, 24 records\n"
    assert broker.metric("runnel_merge_segments_total") == segments
    assert broker.metric("runnel_merge_bytes_total") > 20_000_000
    broker.kill()
    broker.start()
    assert log.flat(log.read_all(broker.address, "t")) == consumed


def test_an_engine_reads_the_list_while_segments_are_merged(make_broker):
    """Whoever has a list of files reads from them what a consumer read, within the grace period."""
    broker = make_broker(MERGING).start()
    log.create_topic(broker.address, "t", config=SMALL)
    for i in range(40):
        log.produce(broker.address, "t", [(0, None, b"%d" % i * 600, [])])
        seal(broker, "t")
        files = ", ".join(f"'{path}'" for path in listed(broker, "t"))
        seen = duckdb.sql(f"select count(*), count(distinct kafka_offset), max(kafka_offset) from read_parquet([{files}])")
        assert seen.fetchall() == [(i + 1, i + 1, i)]
    wait_until(lambda: len(listed(broker, "t")) < 16, "the merges")
    assert [r.offset for r in log.flat(log.read_all(broker.address, "t"))] == list(range(40))


POINTS = ["merge.put", "ship.after_chunk", "ship.after_root_cas", "merge.committed", "ship.root_kept", "merge.root_kept",
          "retention.deleted"]


@pytest.mark.parametrize("point", POINTS)
def test_a_crash_while_merging(make_broker, point):
    """The process dies at every step of a merge: nothing is lost, nothing is there twice, nothing is left over."""
    # References beyond 128 move into a chunk, in which they are merged as well.
    segments = 135 if point == "ship.after_chunk" else 10
    broker = make_broker(APART).start()
    consumed = fill(broker, "t", segments, SOON)
    broker.stop()
    broker.settings |= MERGING
    broker.start(fail_points=f"{point}=abort", wait=False)
    broker.wait_exit()
    broker.start()
    assert log.flat(log.read_all(broker.address, "t")) == consumed
    merged(broker, "t", 2 if segments > 128 else 1)
    assert log.flat(log.read_all(broker.address, "t")) == consumed


def test_kills_while_producers_write_and_segments_are_merged(make_broker):
    broker = make_broker(MERGING).start()
    log.create_topic(broker.address, "t", 2, config=SMALL | SOON)
    loads = [history.Load(broker.address, "t", 2, name).start() for name in ("a", "b")]
    watcher = history.Watcher(broker.address, "t", 2).start()
    for i in range(5):
        before = broker.metric("runnel_merge_total") or 0
        wait_until(lambda b=before: (broker.metric("runnel_merge_total") or 0) > b + 1, "merges under load")
        broker.kill()
        broker.start()
    for load in loads:
        load.finish()
    watcher.finish()
    history.check(log.read_all(broker.address, "t"), loads, watcher)
