"""The log as a Kafka consumer sees it, and the same log as rows of Parquet."""
import time
from typing import NamedTuple, Optional

import confluent_kafka
from confluent_kafka import admin

SECONDS = 60


class Record(NamedTuple):
    partition: int
    offset: int
    timestamp: int  # ms
    key: Optional[bytes]
    value: Optional[bytes]
    headers: tuple  # of (str, bytes or None)


def create_topic(address, topic, partitions=1, config=None):
    """Creates a topic and waits for the answer."""
    client = admin.AdminClient({"bootstrap.servers": address})
    new = admin.NewTopic(topic, num_partitions=partitions, replication_factor=1, config=config or {})
    client.create_topics([new])[topic].result(SECONDS)


def delete_topic(address, topic):
    """Deletes a topic and waits for the answer."""
    client = admin.AdminClient({"bootstrap.servers": address})
    client.delete_topics([topic])[topic].result(SECONDS)


def producer(address, **settings):
    """A librdkafka producer with its own defaults but for `settings` (`linger_ms` for `linger.ms`)."""
    dotted = {k.replace("_", "."): v for k, v in settings.items()}
    return confluent_kafka.Producer({"bootstrap.servers": address} | dotted)


def produce(address, topic, records, **settings):
    """Produces (partition, key, value, headers) in order; fails unless each is acknowledged."""
    errors, client = [], producer(address, **settings)
    for partition, key, value, headers in records:
        while True:
            try:
                client.produce(topic, value, key, partition, headers=headers,
                               on_delivery=lambda e, _: errors.append(e) if e else None)
                break
            except BufferError:
                client.poll(0.1)
    assert client.flush(SECONDS) == 0, "records were not acknowledged in time"
    assert not errors, errors[:3]


def reader(address):
    """A consumer to assign partitions to by hand; it commits nothing."""
    return confluent_kafka.Consumer({
        "bootstrap.servers": address, "group.id": "assigned-by-hand", "enable.auto.commit": False,
        "auto.offset.reset": "error", "check.crcs": True})


def partitions_of(client, topic):
    return sorted(client.list_topics(topic, timeout=SECONDS).topics[topic].partitions)


def end_of(client, topic, partition):
    """The present end of a partition. While it moves from one broker to another that is asked again, as librdkafka does by
    itself with everything but this."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            return client.get_watermark_offsets(confluent_kafka.TopicPartition(topic, partition), timeout=SECONDS)[1]
        except confluent_kafka.KafkaException as error:
            moves = error.args[0].code() == confluent_kafka.KafkaError.NOT_LEADER_FOR_PARTITION
            if not moves or time.monotonic() > deadline:
                raise
            client.list_topics(topic, timeout=SECONDS)  # who leads it now


def read_all(address, topic, start=0):
    """Every record from `start`, or {partition: start}, up to the present end of each partition: {partition: [Record]}."""
    client = reader(address)
    try:
        log, ends, starts = {}, {}, {}
        for p in partitions_of(client, topic):
            starts[p] = start[p] if isinstance(start, dict) else start
            ends[p] = end_of(client, topic, p)
            log[p] = []
        open_parts = {p for p in ends if ends[p] > starts[p]}
        client.assign([confluent_kafka.TopicPartition(topic, p, starts[p]) for p in open_parts])
        left = sum(ends[p] - starts[p] for p in open_parts)
        deadline = time.monotonic() + SECONDS
        while open_parts:
            assert time.monotonic() < deadline, f"partitions {open_parts} of {topic} were not read to their end"
            # It returns when it has as many as asked for, else when the time is over.
            for message in client.consume(max(1, min(10_000, left)), timeout=0.5):
                if message.error():
                    raise AssertionError(message.error())
                record, left = of_message(message), left - 1
                if record.offset < ends[record.partition]:
                    log[record.partition].append(record)
                if record.offset + 1 >= ends[record.partition]:
                    open_parts.discard(record.partition)
        return log
    finally:
        client.close()


def of_message(message):
    return Record(message.partition(), message.offset(), message.timestamp()[1], message.key(), message.value(),
                  tuple(message.headers() or ()))


def flat(log):
    """All records of `read_all`, by partition and offset."""
    return [record for p in sorted(log) for record in log[p]]


def assert_contiguous(log):
    """Offsets of each partition are 0, 1, 2, ... without gap or repetition."""
    for p, records in log.items():
        assert [r.offset for r in records] == list(range(len(records))), f"offsets of partition {p}"
