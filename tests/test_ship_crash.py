"""The process dies at every arrow of the ship order: nothing is lost, and no file in the bucket is wrong."""

import re

import pyarrow.parquet
import pytest

from harness import log
from harness.process import wait_until

RECORDS = [(i % 2, f"k{i}".encode(), f"v{i}".encode() * 20, [("n", str(i).encode())]) for i in range(2000)]

# Between two durable steps each; those that begin with `bucket.` are inside the writes to a folder.
POINTS = ["ship.built", "ship.put", "ship.after_root_cas", "ship.committed", "ship.root_kept"]
FOLDER_POINTS = ["bucket.staged", "bucket.renamed"]


def files_agree(broker, topic, consumed):
    """Every Parquet file, referenced or orphan, holds only what the log has at these offsets."""
    at = {(r.partition, r.offset): r for r in consumed}
    for file in broker.parquet_files(topic):
        for row in pyarrow.parquet.ParquetFile(file).read().to_pylist():
            record = at[row["kafka_partition"], row["kafka_offset"]]
            assert (row["kafka_key"], row["kafka_value"]) == (record.key, record.value)
            assert tuple((h["key"], h["value"]) for h in row["kafka_headers"]) == record.headers


@pytest.mark.parametrize("point", POINTS)
def test_a_crash_while_shipping(make_broker, storage, point):
    """A clean stop ships; the process aborts on the way."""
    broker = make_broker(storage=storage).start(fail_points=f"{point}=abort")
    log.create_topic(broker.address, "t", 2)
    log.produce(broker.address, "t", RECORDS)
    consumed = log.flat(log.read_all(broker.address, "t"))
    assert broker.stop() == -6, "the fail point was not reached"
    files_agree(broker, "t", consumed)

    broker.start()
    assert log.flat(log.read_all(broker.address, "t")) == consumed
    log.produce(broker.address, "t", RECORDS)
    longer = log.flat(log.read_all(broker.address, "t"))
    assert len(longer) == 2 * len(RECORDS)
    assert broker.stop() == 0
    files_agree(broker, "t", longer)

    listed = broker.cli("segment", "list", "t", "-o", "paths").split()
    assert len(listed) == len(set(listed))
    broker.start()
    assert log.flat(log.read_all(broker.address, "t")) == longer, "the log from the bucket differs"


@pytest.mark.parametrize("point", FOLDER_POINTS)
def test_a_crash_inside_a_write_to_a_folder(make_broker, point):
    """Already the first write of a start may die half done; the next start must not mind."""
    broker = make_broker()
    broker.start(fail_points=f"{point}=abort", wait=False)
    assert broker.wait_exit() == -6
    staged = lambda: [path for path in broker.files() if re.search("(?<!^lock)#", path.name)]
    assert bool(staged()) == (point == "bucket.staged")
    broker.start()
    wait_until(lambda: not staged(), "what was left is deleted", 60)
    log.create_topic(broker.address, "t", 2)
    log.produce(broker.address, "t", RECORDS)
    assert broker.stop() == 0
    assert len(broker.cli("segment", "list", "t", "-o", "paths").split()) == 2
