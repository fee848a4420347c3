#!/usr/bin/env python3
"""partitions.py fill|list ADDRESS PID TOPICS, or open ADDRESS TOPIC PARTITIONS: many partitions, as JSON; run by
`cargo xtask bench`.

`fill` creates them one after the other and asks for the end of every partition, which is when all are open; the first
topic warms up and does not count. `list` asks for the ends alone, as after a restart, and `open` for those of one topic.
"""
import json
import statistics
import sys
import time

import broker
import confluent_kafka
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

PARTITIONS = 1000
PATIENCE = 300
IDLE = 10


def name(number):
    return f"many-{number}"


def create(client, topic):
    """Until the answer."""
    client.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(PATIENCE)


def list_all(client, topic, partitions=PARTITIONS):
    """Until every partition has said where it ends."""
    left = [confluent_kafka.TopicPartition(topic, p) for p in range(partitions)]
    deadline = time.monotonic() + PATIENCE
    while left:
        assert time.monotonic() < deadline, f"{len(left)} partitions of {topic} do not answer"
        asked = client.list_offsets({p: OffsetSpec.latest() for p in left}, request_timeout=PATIENCE)
        left = [p for p, found in asked.items() if not_there(found)]


def not_there(found):
    """Whether it does not answer yet: it has no leader, say."""
    try:
        found.result(PATIENCE)
        return False
    except confluent_kafka.KafkaException:
        return True


def timed(work, *args):
    """Seconds."""
    begun = time.monotonic()
    work(*args)
    return time.monotonic() - begun


def fill(client, process, topics):
    """Creates, lists, and looks at the broker while it is idle."""
    created, listed = [], []
    for number in range(topics):
        created.append(timed(create, client, name(number)))
        listed.append(timed(list_all, client, name(number)))
    time.sleep(3)  # what an opening leaves to do
    meter = process.meter()
    time.sleep(IDLE)
    return {"create_s": statistics.median(created[1:]), "list_s": statistics.median(listed[1:]),
            "idle_mib": process.mib(), "idle_cpu": meter.percent()}


def main():
    """One of the three."""
    verb, address, what, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    client = AdminClient({"bootstrap.servers": address})
    if verb == "fill":
        print(json.dumps(fill(client, broker.Process(int(what)), count)))
    elif verb == "list":
        print(json.dumps({"listed_s": sum(timed(list_all, client, name(number)) for number in range(count))}))
    else:
        print(json.dumps({"opened_s": timed(list_all, client, what, count)}))


if __name__ == "__main__":
    main()
