"""Every client library against the broker; what each is known not to do is in docs/kafka-compatibility.md.

Each library's driver (tests/clients/) writes what a reference consumer reads, and reads what a reference producer wrote.
The reference is confluent-kafka, which the other tests use as well.
"""
import collections
import random

import pyarrow.parquet
import pytest

from harness import log
from harness.broker import Broker
from harness.drivers import CLIENTS, NO_CONFIG_OF_TOPICS, ONLY_PRODUCE

# Codecs that a library offers without a plugin. @platformatic/kafka needs Node 22 for zstd; these run on Node 20.
ALL_CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
CODECS = {"kafkajs": ["none", "gzip"], "@platformatic/kafka": ["none", "gzip", "snappy", "lz4"]}

# What a library cannot do at all.
CHOOSES_NO_PARTITION = {"rskafka"}
ASKS_FOR_NO_TOPIC = {"rskafka", "franz-go", "@platformatic/kafka"}  # unless told
HASHES_KEYS_ITS_OWN_WAY = {"sarama"}
HEADERS_ARE_A_MAP = {"rskafka"}
NO_NULL_IN_HEADERS = {"kafka-python", "kafkajs", "rskafka"}

# Topics that the consumers read, and the codecs of their batches; headers hold nulls only in the last.
PREPARED = {"mixed": ["none", "gzip", "snappy", "lz4"], "zstd": ["zstd"], "nulls": ["none"]}
UNREADABLE = {("@platformatic/kafka", "zstd"), ("rskafka", "zstd"), ("rskafka", "nulls")}

BINARY = bytes(range(256))
PARTITIONS = 12
BASE_TIME = 1_700_000_000_000
LARGE = random.Random(1).randbytes(900_000)


def odd_records(repeated_headers=True, null_headers=True):
    """(partition, key, value, headers, timestamp) of all sorts, to every partition."""
    contents = [
        (None, b"no key", []),
        (b"", b"", [("empty", b"")]),
        (b"tombstone", None, []),
        (BINARY, BINARY, [("binary", BINARY)]),
        ("clé".encode(), '{"a": "ü"}'.encode(), [("schlüssel", "wert".encode())]),
        (b"large", LARGE, []),
    ]
    if repeated_headers:
        contents.append((b"repeated", b"v", [("h", b"1"), ("h", BINARY), ("h", b"2")]))
    if null_headers:
        contents.append((b"null", b"v", [("null", None)]))
    few = [(i % PARTITIONS, f"k{i}".encode(), b"x" * i, [("n", str(i).encode())]) for i in range(200)]
    records = [(i % 2, *content) for i, content in enumerate(contents)] + few
    return [(*record, BASE_TIME + 7 * i) for i, record in enumerate(records)]


def as_read(records):
    """The same as a consumer sees them: {partition: [(timestamp, key, value, headers)]}."""
    found = collections.defaultdict(list)
    for partition, key, value, headers, timestamp in records:
        found[partition].append((timestamp, key, value, tuple(headers)))
    return found


def without_offsets(read):
    return {p: [record[2:] for record in records] for p, records in read.items()}


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    """One broker for all clients. Of each prepared topic a part is in the bucket and a part only in the log."""
    broker = Broker(tmp_path_factory.mktemp("matrix"), {"SEGMENT__MAX_AGE": "1h"}).start()
    try:
        for topic in PREPARED:
            log.create_topic(broker.address, topic, PARTITIONS)
            produce_reference(broker, topic, odd_records(null_headers=topic == "nulls"), linger_ms=20)
        assert broker.stop() == 0
        assert all(broker.parquet_files(topic) for topic in PREPARED)
        broker.start()
        for topic, codecs in PREPARED.items():
            for codec in codecs:
                records = odd_records(null_headers=topic == "nulls")
                produce_reference(broker, topic, records, compression_type=codec, linger_ms=20)
        yield broker
    finally:
        broker.kill()
    assert not broker.unexpected_errors()


def produce_reference(broker, topic, records, **settings):
    client = log.producer(broker.address, **settings)
    for partition, key, value, headers, timestamp in records:
        client.produce(topic, value, key, partition, headers=headers, timestamp=timestamp)
    assert client.flush(log.SECONDS) == 0


def fresh(name, client):
    """A topic of this client's own."""
    return f"{name}-{client}".replace("@", "").replace("/", "-")


@pytest.mark.parametrize("client", CLIENTS)
def test_producer(broker, driver, client):
    """With its defaults, with every codec that it offers, and as an idempotent producer."""
    topic, codecs = fresh("written", client), [None, *CODECS.get(client, ALL_CODECS)]
    records = odd_records(client not in HEADERS_ARE_A_MAP, client not in NO_NULL_IN_HEADERS)
    log.create_topic(broker.address, topic, PARTITIONS)
    for codec in codecs:
        driver(client).produce(broker.address, topic, records, codec)
    driver(client).produce(broker.address, topic, records, idempotent=True)
    read = log.read_all(broker.address, topic)
    log.assert_contiguous(read)
    assert without_offsets(read) == as_read(records * (len(codecs) + 1))


def test_codecs_arrive(make_broker, driver):
    """A client that is told to compress does: some leave it where they do not like what ApiVersions lists."""
    broker = make_broker().start()
    for client in CLIENTS:
        log.create_topic(broker.address, fresh("coded", client), len(ALL_CODECS))
        for codec in CODECS.get(client, ALL_CODECS):
            records = [(ALL_CODECS.index(codec), None, b"x" * 1000, [], None)] * 100
            driver(client).produce(broker.address, fresh("coded", client), records, codec)
    assert broker.stop() == 0
    for client in CLIENTS:
        seen = {partition: attributes & 7 for file in broker.parquet_files(fresh("coded", client))
                for partition, attributes in codec_columns(file)}
        assert seen == {i: i for i, codec in enumerate(ALL_CODECS) if codec in CODECS.get(client, ALL_CODECS)}, client


def codec_columns(file):
    """(partition, attributes of the batch) of each row; the attributes hold the codec that the client used."""
    columns = ["kafka_partition", "kafka_batch_attributes"]
    table = pyarrow.parquet.ParquetFile(file).read(columns)
    return zip(*(table[name].to_pylist() for name in columns))


@pytest.mark.parametrize("client", [c for c in CLIENTS if c not in ASKS_FOR_NO_TOPIC])
def test_the_first_record_makes_the_topic(broker, driver, client):
    topic = fresh("made", client)
    driver(client).produce(broker.address, topic, [(None, None, b"first", [], None)])
    assert [r.value for r in log.flat(log.read_all(broker.address, topic))] == [b"first"]


@pytest.mark.parametrize("client", [c for c in CLIENTS if c not in ONLY_PRODUCE])
def test_consumer(broker, driver, client):
    """From offset 0 in the bucket, through what is only in the log, into records that are written while it reads."""
    for topic in PREPARED:
        if (client, topic) in UNREADABLE:
            continue
        written = len(log.flat(log.read_all(broker.address, topic)))
        tail = [(p, b"tail", client.encode(), [], BASE_TIME) for p in range(PARTITIONS)]
        reading = driver(client).consume(broker.address, topic, list(range(PARTITIONS)), written + len(tail))
        read = [next(reading) for _ in range(written)]
        produce_reference(broker, topic, tail)
        read += reading
        by_partition = {p: [record for record in read if record.partition == p] for p in range(PARTITIONS)}
        expected = log.read_all(broker.address, topic)
        if client in HEADERS_ARE_A_MAP:
            by_partition, expected = headers_as_map(by_partition), headers_as_map(expected)
        assert by_partition == expected, topic


def headers_as_map(read):
    return {p: [r._replace(headers=tuple(sorted((name, data or b"") for name, data in dict(r.headers).items())))
                for r in records] for p, records in read.items()}


@pytest.mark.parametrize("client", [c for c in CLIENTS if c not in ONLY_PRODUCE])
def test_seek(broker, driver, client):
    """To an offset inside of a batch, and to a time; in the bucket and in the log."""
    whole = log.read_all(broker.address, "mixed")[0]
    in_log = max(i for i, r in enumerate(whole) if r.timestamp == BASE_TIME and r.key is None)  # the last time round
    for start in (3, 11, in_log + 5):
        record, = driver(client).consume(broker.address, "mixed", [0], 1, offset=start)
        assert (record.offset, record.key, record.value) == (start, whole[start].key, whole[start].value)
    for time in (BASE_TIME + 1, BASE_TIME + 7 * 50 - 3):
        record, = driver(client).consume(broker.address, "mixed", [0], 1, time=time)
        assert record.offset == next(r.offset for r in whole if r.timestamp >= time)


@pytest.mark.parametrize("client", [c for c in CLIENTS if c not in CHOOSES_NO_PARTITION])
def test_keys_choose_the_partition_that_they_choose_in_java(broker, driver, client):
    records = [(None, f"key {i}".encode(), b"v", [], None) for i in range(200)]
    chosen = {}
    for name in {"kafka-clients", client}:
        topic = fresh(f"keys-{name}", client)
        log.create_topic(broker.address, topic, PARTITIONS)
        driver(name).produce(broker.address, topic, records, java_keys=True)
        chosen[name] = {r.key: r.partition for r in log.flat(log.read_all(broker.address, topic))}
        assert len(set(chosen[name].values())) == PARTITIONS
    assert (chosen[client] == chosen["kafka-clients"]) == (client not in HASHES_KEYS_ITS_OWN_WAY)


@pytest.mark.parametrize("client", CLIENTS)
def test_admin(broker, driver, client):
    """A topic is made, altered, described, deleted, and made again under its name: nobody sees the old records."""
    topic, asked = fresh("admin", client), driver(client)
    config = {} if client in NO_CONFIG_OF_TOPICS else {"retention.ms": "3600000"}
    for life in (b"first", b"second"):
        asked.ask("create", broker.address, topic, partitions=3, config=config)
        produce_reference(broker, topic, [(1, None, life, [], BASE_TIME)] * 5)
        if client not in NO_CONFIG_OF_TOPICS:
            config = config | {"max.message.bytes": "2000000"}
            asked.ask("alter", broker.address, topic, config=config)
        described, = asked.ask("describe", broker.address, topic)
        assert config.items() <= described.pop("config").items()
        assert described == {"partitions": 3, "earliest": [0, 0, 0], "latest": [0, 5, 0]}
        if client not in ONLY_PRODUCE:
            read = asked.consume(broker.address, topic, [0, 1, 2], 5)
            assert [(r.partition, r.offset, r.value) for r in read] == [(1, i, life) for i in range(5)]
        asked.ask("delete", broker.address, topic)
        assert topic not in topics(broker)


def topics(broker):
    client = log.reader(broker.address)
    try:
        return client.list_topics(timeout=log.SECONDS).topics
    finally:
        client.close()
