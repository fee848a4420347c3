"""The bucket is away: local writes go on, a restart works, and everything is shipped when it is back."""
from harness import log
from harness.process import wait_until

RECORDS = [(i % 2, f"k{i}".encode(), b"v" * 100, None) for i in range(1000)]


def test_writes_and_a_restart_during_an_outage(make_broker, s3):
    broker = make_broker(s3.settings("s3://lake") | {"SEGMENT__MAX_AGE": "1s"}).start()
    broker.bucket = s3.data / "lake"
    log.create_topic(broker.address, "t", 2)
    log.produce(broker.address, "t", RECORDS)
    wait_until(lambda: len(broker.parquet_files("t")) >= 2, "the first segments in the bucket")

    s3.stop()
    log.produce(broker.address, "t", RECORDS)
    broker.kill()
    broker.start()
    assert "does not answer" in broker.http("/readyz")[1]
    log.produce(broker.address, "t", RECORDS)

    s3.start()
    shipped = len(broker.parquet_files("t"))
    wait_until(lambda: len(broker.parquet_files("t")) > shipped, "shipping again")
    everything = log.flat(log.read_all(broker.address, "t"))
    assert len(everything) == 3 * len(RECORDS)
    assert broker.stop() == 0
    broker.start()
    assert log.flat(log.read_all(broker.address, "t")) == everything


def test_a_clean_stop_without_the_bucket_keeps_the_log(make_broker, s3):
    """What cannot be shipped in time stays in the log, and the exit is still clean."""
    broker = make_broker(s3.settings("s3://lake") | {"SHUTDOWN__TIMEOUT": "1s"}).start()
    log.create_topic(broker.address, "t", 2)
    log.produce(broker.address, "t", RECORDS)
    before = log.read_all(broker.address, "t")
    s3.stop()
    assert broker.stop() == 0
    s3.start()
    broker.start()
    assert log.read_all(broker.address, "t") == before
