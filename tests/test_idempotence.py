"""Retries of an idempotent producer, at the level of the wire and of a real client."""
from harness import log
from harness.history import Load, check


def test_retries_after_lost_answers_are_not_written_twice(broker):
    """The broker dies under a pipelining producer, again and again, when records are durable and not acknowledged."""
    log.create_topic(broker.address, "once", 2)
    load = Load(broker.address, "once", 2, "a", pause=0.0005).start()
    for wanted in range(500, 2500, 500):
        while len(load.acked) < wanted:
            load.ending.wait(0.01)
        broker.kill()
        broker.start(fail_points="wal.block.synced=abort", wait=False)
        assert broker.wait_exit() == -6, "no block was written"
        broker.start()
    load.finish()
    check(log.read_all(broker.address, "once"), [load])


def test_a_producer_goes_on_after_its_data_went_to_the_bucket(make_broker):
    """The producer's state outlives shipping, trimming and a clean restart."""
    broker = make_broker({"SEGMENT__MAX_AGE": "1s"}).start()
    log.create_topic(broker.address, "once", 1)
    load = Load(broker.address, "once", 1, "a").start()
    for wanted in (200, 400, 600):
        while len(load.acked) < wanted:
            load.ending.wait(0.01)
        assert broker.stop() == 0
        broker.start()
    load.finish()
    check(log.read_all(broker.address, "once"), [load])
