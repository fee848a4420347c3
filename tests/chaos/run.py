"""A cluster that has a bad time: its clients go on throughout, and what they saw is judged at the end."""
import collections
import contextlib
import random
import threading
import time

from harness import log
from harness.cluster import Cluster
from harness.history import Committer, Load, Recorder, Watcher, check
from harness.libraries import Foreign
from harness.link import Link
from harness.process import wait_until
from harness.under_load import PARTITIONS
from harness.unreliable import UnreliableBucket

from .hands import OnBrokers, OnServers
from .work import EVENTS, PARTITIONS_TRIMMED, TRIMMED, Operator

EVERY = 10  # seconds between two lines about how far it is
PAUSE = 0.1  # seconds between ten records of a producer: groups that commit every time keep up in a debug build
SETTINGS = {"SEGMENT__MAX_AGE": "2s", "SEGMENT__MERGE_AFTER": "5s"}


class Chaos:
    """`tell` gets a line for each thing that happens. The seed says what is done to whom, the machine how soon."""

    def __init__(self, directory, seed, minutes, tell, libraries=()):
        self.directory, self.rng, self.seconds = directory, random.Random(seed), 60 * minutes
        self._tell, self.libraries, self.begun = tell, libraries, time.monotonic()
        self.cluster, self.hands = Cluster(directory, settings=SETTINGS), []
        Recorder.folder = directory / "histories"

    def run(self):
        """Fails with what is wrong; returns the counts of what was done."""
        try:
            self._start()
            return self._live()
        finally:
            for link in getattr(self.cluster, "to_etcd", ()):
                link.heal()  # what waits in it must not wait for ever
            self.cluster.close()
            for hand in self.hands:
                hand.ending.set()
                hand.let_go()

    def say(self, what):
        self._tell(f"{time.monotonic() - self.begun:7.1f} s  {what}")

    def _start(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        cluster = self.cluster
        cluster.start_servers()
        cluster.unreliable = UnreliableBucket(cluster.s3.port, self.rng.randrange(1 << 32))
        cluster.to_etcd = [Link(cluster.etcd.port) for _ in cluster.brokers]
        for broker, link in zip(cluster.brokers, cluster.to_etcd):
            broker.settings |= {"STORAGE__ENDPOINT": f"http://{cluster.unreliable.address}",
                                "METADATA__URL": cluster.etcd.url().replace(cluster.etcd.address, link.address)}
            broker.start(wait=False)
        for broker in cluster.brokers:
            broker.wait_ready()
        self.say("three brokers, etcd and an S3 server are up")

    def _live(self):
        address = self.cluster.bootstrap()
        log.create_topic(address, EVENTS, PARTITIONS)
        log.create_topic(address, TRIMMED, PARTITIONS_TRIMMED, {"file.delete.delay.ms": "1000"})
        writers = [(EVENTS, PARTITIONS, "a"), (EVENTS, PARTITIONS, "b"), (TRIMMED, PARTITIONS_TRIMMED, "c")]
        loads = [Load(address, topic, parts, name, PAUSE).start() for topic, parts, name in writers]
        watcher = Watcher(address, EVENTS, PARTITIONS).start()
        members = [Committer(address, topic, f"readers-of-{topic}").start() for topic in (EVENTS, TRIMMED)]
        others = [Foreign(library, address, EVENTS, PARTITIONS, self.seconds + 900).start() for library in self.libraries]
        clients = Clients(loads, watcher, members, others)
        wait_until(clients.all_got_on, "the first records", seconds=120)
        self.hands = [kind(self.cluster, self.rng.randrange(1 << 32), self.say).start()
                      for kind in (OnBrokers, OnServers, Operator)]
        on_brokers, _, operator = self.hands
        with self._progress(clients):
            self._suffer()
            self.say("everything is well from here on")
            on_brokers.make_good()
            clients.mark()
            wait_until(clients.all_got_on, "progress of every client", seconds=120)
            for client in (*loads, *others):
                client.finish()
            patience = [member.catch_up() for member in members]
            watcher.finish()
            for member in members:
                member.finish()
        final, asked = log.read_all(address, EVENTS), Recorder("asker", EVENTS)
        asked.committed(address, f"readers-of-{EVENTS}", PARTITIONS)
        rest = operator.read_what_is_left()
        files = check(final, loads, watcher, *members, *patience, asked, *others, rest, operator.trims, *operator.recorders)
        errors = self.cluster.unexpected_errors()
        assert not errors, f"{len(errors)} errors in the logs of brokers: {errors[:5]}"
        return self._summary(clients, files)

    def _suffer(self):
        until = time.monotonic() + self.seconds
        while time.monotonic() < until and not any(hand.failure for hand in self.hands):
            time.sleep(0.5)  # it is the time that passes that was asked for
        for hand in self.hands:
            hand.ending.set()
        for hand in self.hands:
            hand.finish()

    @contextlib.contextmanager
    def _progress(self, clients):
        """Says how far it is every now and then."""
        over = threading.Event()

        def tell():
            while not over.wait(EVERY):
                self.say(f"[{clients}]")
        thread = threading.Thread(target=tell, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _summary(self, clients, files):
        done = sum((hand.done for hand in self.hands), collections.Counter())
        return {"clients": clients.counts(), "done": dict(done.most_common()), "histories": len(files)}


class Clients:
    """All that use the cluster, and how far they have come."""

    def __init__(self, loads, watcher, members, others):
        self.loads, self.watcher, self.members, self.others, self.before = loads, watcher, members, others, None
        self.mark()

    def mark(self):
        """What counts as progress lies behind this."""
        self.before = self._standing()

    def _standing(self):
        commits = [sum(member.committed.values()) for member in self.members]
        return [*(len(load.acked) for load in self.loads), self.watcher.seen, *commits, *(other.acked for other in self.others)]

    def all_got_on(self):
        return all(now > before for now, before in zip(self._standing(), self.before))

    def counts(self):
        return {"sent": sum(sum(load.sent) for load in self.loads), "acknowledged": sum(len(load.acked) for load in self.loads),
                "read along": self.watcher.seen, "acknowledged to other libraries": sum(other.acked for other in self.others)}

    def __str__(self):
        return ", ".join(f"{count:,} {what}" for what, count in self.counts().items())
