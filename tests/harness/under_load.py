"""Clients of a cluster that go on, whatever is done to it."""
import time

import confluent_kafka

from . import log
from .history import Background, Load, Watcher, check
from .process import wait_until

PARTITIONS = 6


class Committer(Background):
    """A member of a group that commits after what it has read, and never commits less than before."""

    def __init__(self, address, topic, group):
        self.committed, self.refused = {}, []
        self.client = confluent_kafka.Consumer({
            "bootstrap.servers": address, "group.id": group, "enable.auto.commit": False,
            "auto.offset.reset": "earliest", "session.timeout.ms": 6000, "heartbeat.interval.ms": 500,
            "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200})
        self.client.subscribe([topic])
        super().__init__()

    def finish(self):
        super().finish()
        self.client.close()

    def _run(self):
        while not self.ending.is_set():
            if not [m for m in self.client.consume(200, timeout=0.1) if m.error() is None]:
                continue
            try:
                # Of partitions that it has read nothing of, there is nothing to commit.
                for done in (done for done in self.client.commit(asynchronous=False) if done.offset >= 0):
                    self.committed[done.partition] = max(done.offset, self.committed.get(done.partition, 0))
            except confluent_kafka.KafkaException as error:
                self.refused.append(error)


def under_load(address, work):
    """Does `work` with the producers, while clients of a cluster write, read and commit; what they saw is checked against the
    log."""
    log.create_topic(address, "events", PARTITIONS)
    loads = [Load(address, "events", PARTITIONS, name).start() for name in ("a", "b")]
    watcher = Watcher(address, "events", PARTITIONS).start()
    committer = Committer(address, "events", "readers").start()
    wait_until(lambda: loads[0].acked and watcher.seen and committer.committed, "the first records", seconds=60)
    work(loads)
    # It goes on after that, too.
    acked = len(loads[0].acked)
    wait_until(lambda: len(loads[0].acked) > acked + 100, "more records", seconds=60)
    for load in loads:
        load.finish()
    watcher.finish()
    committer.finish()
    final = log.read_all(address, "events")
    check(final, loads, watcher)
    committed = committed_offsets(address, "events", "readers")
    for partition, offset in committer.committed.items():
        assert offset <= committed[partition] <= len(final[partition]), f"a commit of partition {partition} was lost"


def go_on(loads, seconds, what):
    """Lets time pass in which every producer must get on."""
    before = [len(load.acked) for load in loads]
    time.sleep(seconds)
    for load, count in zip(loads, before):
        assert len(load.acked) > count + 100, what


def committed_offsets(address, topic, group):
    client = confluent_kafka.Consumer({"bootstrap.servers": address, "group.id": group})
    try:
        asked = [confluent_kafka.TopicPartition(topic, p) for p in range(PARTITIONS)]
        return {found.partition: found.offset for found in client.committed(asked, timeout=30)}
    finally:
        client.close()
