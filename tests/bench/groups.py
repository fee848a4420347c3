#!/usr/bin/env python3
"""groups.py commits|rebalances|thousand ADDRESS PID SECONDS: what coordinators do, as JSON; run by `cargo xtask bench`.

Commits and rebalances are those of librdkafka. The thousand members of one group speak the protocol by hand
(`tests/harness/swarm.py`): as many real clients would have several thousand threads.
"""
import asyncio
import json
import pathlib
import statistics
import sys
import threading
import time
import uuid

import broker
import confluent_kafka
from confluent_kafka.admin import AdminClient, NewTopic

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import swarm  # noqa: E402  (it is beside this folder)

PATIENCE = 120
# Members learn of a rebalance with their next sign of life: seldom ones would be all that is measured. The consumer
# protocol has it from the broker, which `cargo xtask bench` sets to the same.
HEARTBEAT = 0.5
# While a group of a thousand does nothing: the default of clients.
IDLE_HEARTBEAT = 3
IDLE = 10
COMMITTED = 12
MEMBERS, PARTITIONS = 50, 200
# Of joins and leaves the median counts.
TIMES = 3
THOUSAND = 1000


def topic_of(admin, partitions):
    """A new topic."""
    name = f"groups-{uuid.uuid4()}"
    admin.create_topics([NewTopic(name, partitions, 1)])[name].result(PATIENCE)
    return name


def commits(address, process, seconds, admin):
    """Offsets of 12 partitions in each commit, from one thread and from 16, each of a group of its own."""
    topic, found = topic_of(admin, COMMITTED), {}
    for threads in (1, 16):
        clients = [confluent_kafka.Consumer({"bootstrap.servers": address, "group.id": f"{topic}-{n}"})
                   for n in range(threads)]
        for client in clients:
            first_commit(client, topic)
        counts, until = [0] * threads, time.monotonic() + seconds

        def run(number):
            while time.monotonic() < until:
                counts[number] += 1
                commit(clients[number], topic, counts[number])
        meter = process.meter()
        workers = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        found[f"commits_{threads}"] = sum(counts) / meter.seconds()
        found[f"commits_{threads}_cpu_ms"] = meter.cpu() * 1e6 / sum(counts)
        for client in clients:
            client.close()
    return found


def commit(client, topic, offset):
    """One commit, acknowledged."""
    offsets = [confluent_kafka.TopicPartition(topic, p, offset) for p in range(COMMITTED)]
    failed = [p.error for p in client.commit(offsets=offsets, asynchronous=False) if p.error]
    assert not failed, failed[0]


def first_commit(client, topic):
    """Finds the coordinator, which is only being made when the first group asks for one."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return commit(client, topic, 0)
        except confluent_kafka.KafkaException:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


class Member:
    """A consumer, and what it was given."""

    def __init__(self, address, topic, settings):
        self.parts = set()
        self.client = confluent_kafka.Consumer({
            "bootstrap.servers": address, "group.id": topic, "enable.auto.commit": False, **settings})
        self.client.subscribe([topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked)

    def _assigned(self, _, partitions):
        self.parts |= {p.partition for p in partitions}

    def _revoked(self, _, partitions):
        self.parts -= {p.partition for p in partitions}


def until_shared(members):
    """Polls until each partition is one member's, and each member has its share; seconds."""
    begun = time.monotonic()
    while True:
        for member in members:
            message = member.client.poll(0)
            # A topic that was made a moment ago may have no leader yet.
            assert message is None or not message.error() or not message.error().fatal(), message.error()
        owned = [p for member in members for p in member.parts]
        least = PARTITIONS // len(members)
        if len(owned) == PARTITIONS == len(set(owned)) and all(len(m.parts) in (least, least + 1) for m in members):
            return time.monotonic() - begun
        assert time.monotonic() < begun + PATIENCE, "the group does not become stable"
        time.sleep(0.002)


def rebalance(address, process, admin, settings):
    """(forming, one more joins, one leaves, the broker's processor time for one more and one less, in ms)."""
    topic = topic_of(admin, PARTITIONS)
    begun = time.monotonic()
    members = [Member(address, topic, settings) for _ in range(MEMBERS)]
    until_shared(members)
    formed, joins, leaves, cpu = time.monotonic() - begun, [], [], []
    for _ in range(TIMES):
        until = time.monotonic() + 1  # everyone has settled
        while time.monotonic() < until:
            until_shared(members)
        meter = process.meter()
        members.append(Member(address, topic, settings))
        joins.append(until_shared(members))
        leaving = members.pop(0)
        begun = time.monotonic()
        # Closing waits for the coordinator, and meanwhile nobody would poll the others.
        closing = threading.Thread(target=leaving.client.close)
        closing.start()
        until_shared(members)
        leaves.append(time.monotonic() - begun)
        cpu.append(meter.cpu() * 1e3)
        closing.join()
    for closing in [threading.Thread(target=member.client.close) for member in members]:
        closing.start()
    admin.delete_topics([topic])[topic].result(PATIENCE)
    return formed, statistics.median(joins), statistics.median(leaves), statistics.median(cpu)


PROTOCOLS = {
    "range": {"partition.assignment.strategy": "range", "heartbeat.interval.ms": int(HEARTBEAT * 1e3)},
    "sticky": {"partition.assignment.strategy": "cooperative-sticky", "heartbeat.interval.ms": int(HEARTBEAT * 1e3)},
    "consumer": {"group.protocol": "consumer"},
}


def rebalances(address, process, _seconds, admin):
    """50 members on 200 partitions, in each protocol."""
    found = {}
    for name, settings in PROTOCOLS.items():
        figures = rebalance(address, process, admin, settings)
        found |= {f"{name}_{what}": figure for what, figure in zip(("form", "join", "leave", "cpu_ms"), figures)}
    return found


async def a_thousand(address, process, kind, topic, idle):
    """(forming, the broker's processor time for it, one leaves, idle percent, MiB)."""
    group = swarm.Swarm(address, f"{topic}-{kind.__name__}", topic, THOUSAND, HEARTBEAT)
    meter = process.meter()
    await group.join(kind, THOUSAND)
    await group.until_stable(PATIENCE)
    formed, cpu = meter.seconds(), meter.cpu()
    begun = time.monotonic()
    await group.leave(group.members[THOUSAND // 2])
    await group.until_stable(PATIENCE)
    left = time.monotonic() - begun
    group.every = IDLE_HEARTBEAT
    await asyncio.sleep(IDLE_HEARTBEAT)
    meter = process.meter()
    await asyncio.sleep(idle)
    figures = formed, cpu, left, meter.percent(), process.mib()
    assert group.is_stable(), "an idle group changed"
    await group.end()
    return figures


def thousand(address, process, seconds, admin):
    """1,000 members on 1,000 partitions, in both protocols."""
    found, topic = {}, topic_of(admin, THOUSAND)
    for kind in (swarm.Classic, swarm.Modern):
        figures = asyncio.run(a_thousand(address, process, kind, topic, min(IDLE, seconds)))
        names = (f"thousand_{kind.__name__.lower()}_{what}" for what in ("form", "form_cpu", "leave", "idle", "mib"))
        found |= dict(zip(names, figures))
    admin.delete_topics([topic])[topic].result(PATIENCE)
    return found


def main():
    """One of the three."""
    verb, address, pid, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    measure = {"commits": commits, "rebalances": rebalances, "thousand": thousand}[verb]
    print(json.dumps(measure(address, broker.Process(pid), seconds, AdminClient({"bootstrap.servers": address}))))


if __name__ == "__main__":
    main()
