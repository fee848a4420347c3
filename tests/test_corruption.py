"""Damage on disk and in the bucket is reported and blocks only what it must; a torn tail is cut."""
import confluent_kafka
import pytest

from harness import log
from harness.process import wait_until

PAGE = 4096


def value(i):
    return f"needle-{i:06}-".encode() + bytes(range(200))


def produce_one_by_one(broker, topic, count):
    """Each record in a batch and a synced block of its own."""
    client = log.producer(broker.address)
    for i in range(count):
        client.produce(topic, value(i), partition=0)
        assert client.flush(60) == 0


def read_until_error(broker, topic):
    """The values that can be read from the start, and the error that ends it (None at the end of the log)."""
    client = log.reader(broker.address)
    _, end = client.get_watermark_offsets(confluent_kafka.TopicPartition(topic, 0), timeout=30)
    client.assign([confluent_kafka.TopicPartition(topic, 0, 0)])
    found, error = [], None
    for _ in range(60):
        if error is not None or len(found) == end:
            break
        for message in client.consume(1000, timeout=0.5):
            if message.error():
                error = message.error()
                break
            found.append(message.value())
    client.close()
    return found, error, end


def find_in_log(broker, needle):
    """(file, position) of bytes in the write-ahead log."""
    for file in sorted((broker.data / "wal").rglob("*")):
        at = file.read_bytes().find(needle) if file.is_file() else -1
        if at >= 0:
            return file, at
    raise AssertionError(f"{needle} is not in the log")


def flip(file, at):
    with open(file, "r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 0x40]))


@pytest.mark.parametrize("what", ["records", "block header"])
def test_a_flipped_bit_in_the_log_blocks_only_what_it_must(broker, what):
    """Records below the damage and other partitions are served; from the damage on there is an error, never a guess."""
    for topic in ("hurt", "well"):
        log.create_topic(broker.address, topic, 1)
        produce_one_by_one(broker, topic, 20)
    broker.kill()
    file, at = find_in_log(broker, value(10)[:14])
    flip(file, at + 3 if what == "records" else at // PAGE * PAGE + 8)
    broker.expect_error("")
    broker.start(wait=False)
    wait_until(lambda: broker.http("/livez")[0] == 200, "alive")
    assert [r.value for r in log.read_all(broker.address, "well")[0]] == [value(i) for i in range(20)]
    found, error, end = read_until_error(broker, "hurt")
    assert found == [value(i) for i in range(10)], "what is below the damage is served, and nothing else"
    if what == "records":
        assert end == 20 and error is not None, "the damage was not reported to the consumer"
    else:
        assert end == 10 and error is None, "offsets are known up to the damage"
        outcome = []
        client = log.producer(broker.address, message_timeout_ms=2000)
        client.produce("hurt", b"would take the place of a lost record", on_delivery=lambda e, _: outcome.append(e))
        client.flush(30)
        assert outcome and outcome[0] is not None, "an offset that was acknowledged is given out again"
    assert " ERROR " in broker.log(), "the damage is not in the log"


def test_the_operator_may_accept_the_loss(broker):
    """Not without consent; then the partition takes writes again where the readable part ended, in a new epoch."""
    log.create_topic(broker.address, "hurt", 1)
    produce_one_by_one(broker, "hurt", 20)
    broker.kill()
    file, at = find_in_log(broker, value(10)[:14])
    flip(file, at // PAGE * PAGE + 8)
    broker.expect_error("")
    accept = ["topic", "accept-loss", "hurt", "--partition", "0"]
    assert broker.run(*accept).returncode == 1, "without --yes and without a terminal nothing is given up"
    broker.cli(*accept, "--yes")
    broker.start()
    produce_one_by_one(broker, "hurt", 3)
    for _ in ("from the log", "from the bucket"):
        assert [r.value for r in log.read_all(broker.address, "hurt")[0]] == [value(i) for i in [*range(10), *range(3)]]
        assert broker.stop() == 0
        broker.start()


def test_garbage_after_the_last_block_is_cut(broker):
    """What a torn write leaves: bytes behind the last block that was acknowledged."""
    log.create_topic(broker.address, "t", 1)
    produce_one_by_one(broker, "t", 20)
    broker.kill()
    file, _ = find_in_log(broker, value(19)[:14])
    content = file.read_bytes()
    end = len(content.rstrip(b"\0"))
    at = -(-end // PAGE) * PAGE
    assert at < len(content), "the file has room behind its last block"
    with open(file, "r+b") as f:
        f.seek(at)
        f.write(bytes((i * 7 + 1) % 256 for i in range(PAGE)))
    broker.start()
    produce_one_by_one(broker, "t", 5)
    expected = [value(i) for i in range(20)] + [value(i) for i in range(5)]
    assert [r.value for r in log.read_all(broker.address, "t")[0]] == expected


@pytest.mark.parametrize("where", [0.1, 0.5])
def test_a_flipped_bit_in_a_segment_is_reported(make_broker, where):
    broker = make_broker({"CACHE__DISK": "0"}).start()
    for topic in ("hurt", "well"):
        log.create_topic(broker.address, topic, 1)
        log.produce(broker.address, topic, [(0, None, value(i), None) for i in range(3000)])
    assert broker.stop() == 0
    [file] = broker.parquet_files("hurt")
    flip(file, int(file.stat().st_size * where))

    assert broker.run("segment", "verify", "hurt").returncode == 1
    broker.cli("segment", "verify", "well")

    broker.expect_error("")
    broker.start()
    found, error, end = read_until_error(broker, "hurt")
    assert end == 3000
    assert found == [value(i) for i in range(len(found))], "damaged bytes were served"
    assert len(found) < end and error is not None, "the damage was not reported to the consumer"
    assert [r.value for r in log.read_all(broker.address, "well")[0]] == [value(i) for i in range(3000)]
    broker.kill()
