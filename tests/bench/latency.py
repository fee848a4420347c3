#!/usr/bin/env python3
"""latency.py ADDRESS TOPIC RATE SECONDS: percentiles from producer to consumer, as JSON; run by `cargo xtask bench`.

A record carries the moment at which it should have been sent, so a producer that falls behind does not hide it. Producer
and consumer are two processes, so that neither waits for the other's interpreter.
"""
import json
import multiprocessing
import struct
import sys
import time

from confluent_kafka import OFFSET_END, Consumer, Producer, TopicPartition

SIZE = 1024
WARM_UP = b"warm-up"
# The last records of a run may take this long to arrive.
PATIENCE = 30


def produce(address, topic, rate, count):
    """Sends `count` records, `rate` a second, each by itself."""
    producer = Producer({"bootstrap.servers": address, "acks": "all", "linger.ms": 0, "enable.idempotence": True})
    # A first record, which is not measured: librdkafka takes up to half a second to get its producer id.
    producer.produce(topic, WARM_UP)
    assert producer.flush(PATIENCE) == 0, "the first record was not stored"
    pad = bytes(SIZE - 8)
    start = time.monotonic() + 0.2
    for number in range(count):
        due = start + number / rate
        while (wait := due - time.monotonic()) > 0:
            producer.poll(wait)
        producer.produce(topic, struct.pack(">d", due) + pad)
    producer.flush(PATIENCE)


def consume(address, topic, count, ready, result):
    """Waits for `count` new records and tells how long each took, in milliseconds."""
    consumer = Consumer({"bootstrap.servers": address, "group.id": "latency", "enable.auto.commit": False})
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, OFFSET_END) for partition in partitions])
    consumer.poll(2)  # by then every partition knows its end
    ready.set()
    took, last = [], time.monotonic()
    while len(took) < count and time.monotonic() < last + PATIENCE:
        message = consumer.poll(1)
        if message is None or message.error() or message.value() == WARM_UP:
            continue
        last = time.monotonic()
        took.append((last - struct.unpack_from(">d", message.value())[0]) * 1e3)
    consumer.close()
    result.put(took)


def main():
    """Runs both and prints the percentiles."""
    address, topic, rate, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    count = rate * seconds
    ready, result = multiprocessing.Event(), multiprocessing.Queue()
    consumer = multiprocessing.Process(target=consume, args=(address, topic, count, ready, result))
    consumer.start()
    assert ready.wait(PATIENCE), "the consumer is not ready"
    produce(address, topic, rate, count)
    took = sorted(result.get(timeout=2 * PATIENCE))
    consumer.join()
    assert len(took) == count, f"{len(took)} of {count} records arrived"
    at = {name: took[min(count - 1, int(count * share))] for name, share in
          (("p50", 0.5), ("p99", 0.99), ("p999", 0.999))}
    print(json.dumps(at))


if __name__ == "__main__":
    main()
