"""kill -9 under load: what was acknowledged or seen stays as it was."""
import random
import time

import pytest

from harness import log
from harness.history import Load, Watcher, check

PARTITIONS = 4


def kill_under_load(broker, kills, pauses):
    log.create_topic(broker.address, "events", PARTITIONS)
    loads = [Load(broker.address, "events", PARTITIONS, name).start() for name in ("a", "b")]
    watcher = Watcher(broker.address, "events", PARTITIONS).start()
    for _ in range(kills):
        time.sleep(pauses())  # a moment of load: the moment of the kill is meant to be arbitrary
        broker.kill()
        broker.start()
    for load in loads:
        load.finish()
    watcher.finish()
    assert all(load.acked for load in loads) and watcher.seen
    return loads, watcher


@pytest.mark.parametrize("max_age", ["1s", "1m"])
def test_twenty_kills_under_load(make_broker, max_age):
    """With segments shipped all the time, and with everything in the log."""
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    print(f"seed {seed}")
    broker = make_broker({"SEGMENT__MAX_AGE": max_age}).start()
    loads, watcher = kill_under_load(broker, 20, lambda: rng.uniform(0.1, 0.6))
    before = log.read_all(broker.address, "events")
    check(before, loads, watcher)
    assert broker.stop() == 0
    broker.start()
    assert log.read_all(broker.address, "events") == before, "the log from the bucket differs"


@pytest.mark.long
def test_a_gigabyte_in_the_log_restarts_quickly(make_broker):
    """Ready within two seconds with 1 GiB that is not shipped."""
    settings = {"SEGMENT__MAX_AGE": "1h", "SEGMENT__MAX_BYTES": "1GiB", "WAL__MAX_UNSHIPPED": "4GiB"}
    broker = make_broker(settings).start()
    log.create_topic(broker.address, "bulk", 4)
    value = random.Random(1).randbytes(64 * 1024)
    log.produce(broker.address, "bulk", ((i % 4, None, value, None) for i in range(16 * 1024)), batch_size=1_000_000)
    broker.kill()
    started = time.monotonic()
    broker.start()
    took = time.monotonic() - started
    assert took < 2, f"ready after {took:.2f} s"
    assert sum(len(records) for records in log.read_all(broker.address, "bulk").values()) == 16 * 1024
