"""Three brokers, one etcd, one bucket: clients go on while brokers die, stall, restart, and lose touch."""
import time

import confluent_kafka
import pytest

from harness import log
from harness.history import Background, Load, Watcher, check
from harness.process import wait_until

PARTITIONS = 6
LEASE = 3  # seconds, the default


@pytest.fixture
def cluster(make_cluster):
    return make_cluster().start_all()


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


def under_load(cluster, work):
    """Does `work` while clients write, read and commit; returns what they saw, checked against the log."""
    address = cluster.bootstrap()
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
    return loads


def committed_offsets(address, topic, group):
    client = confluent_kafka.Consumer({"bootstrap.servers": address, "group.id": group})
    try:
        asked = [confluent_kafka.TopicPartition(topic, p) for p in range(PARTITIONS)]
        return {found.partition: found.offset for found in client.committed(asked, timeout=30)}
    finally:
        client.close()


def test_brokers_are_killed_one_after_the_other(cluster):
    def work(_loads):
        for i in (0, 1, 2):
            cluster.kill(i)
            time.sleep(1.5)  # a moment of load on those who are left
            cluster.start(i)

    under_load(cluster, work)


def test_a_rolling_restart(cluster):
    """Nobody sees an error: what a broker led goes to others before it stops."""
    def work(_loads):
        for i in (0, 1, 2):
            assert cluster.stop(i) == 0
            cluster.start(i)

    under_load(cluster, work)


def test_all_brokers_are_killed_at_once(cluster):
    def work(_loads):
        for i in (0, 1, 2):
            cluster.kill(i)
        for i in (0, 1, 2):
            cluster.start(i, wait=False)

    under_load(cluster, work)


def test_a_broker_stalls_for_longer_than_its_lease(cluster):
    """It was replaced meanwhile, and finds that out when it goes on."""
    def work(_loads):
        cluster.pause(1)
        time.sleep(LEASE + 2)  # it is its silence that is tested
        cluster.resume(1)
        cluster.brokers[1].wait_ready()

    under_load(cluster, work)


def test_etcd_is_away(cluster):
    """Clients are served meanwhile, for longer than leases last."""
    def work(loads):
        cluster.etcd.stop()
        before = [len(load.acked) for load in loads]
        time.sleep(LEASE + 3)  # as above
        for load, count in zip(loads, before):
            assert len(load.acked) > count + 100, "records were not acknowledged while etcd was away"
        cluster.etcd.start()

    under_load(cluster, work)


def test_the_bucket_is_away(cluster):
    def work(_loads):
        cluster.s3.stop()
        time.sleep(3)  # nothing can be acknowledged meanwhile
        cluster.s3.start()

    under_load(cluster, work)
