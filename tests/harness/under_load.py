"""Clients of a cluster that go on, whatever is done to it."""
import time

from . import log
from .history import Committer, Load, Recorder, Watcher, check
from .libraries import Foreign
from .process import wait_until

PARTITIONS = 6


def under_load(address, work, libraries=(), pause=0.002):
    """Does `work` with the producers, while clients of a cluster write, read and commit, also those of other `libraries`;
    what they saw is judged."""
    log.create_topic(address, "events", PARTITIONS)
    loads = [Load(address, "events", PARTITIONS, name, pause).start() for name in ("a", "b")]
    watcher = Watcher(address, "events", PARTITIONS).start()
    committer = Committer(address, "events", "readers").start()
    others = [Foreign(library, address, "events", PARTITIONS).start() for library in libraries]
    wait_until(lambda: loads[0].acked and watcher.seen and committer.committed and all(other.acked for other in others),
               "the first records", seconds=60)
    work(loads)
    # It goes on after that, too.
    acked = [len(loads[0].acked), *(other.acked for other in others)]
    wait_until(lambda: all(now > before + 100 for now, before in
                           zip([len(loads[0].acked), *(other.acked for other in others)], acked)), "more records", seconds=60)
    for client in (*loads, *others):
        client.finish()
    patience = committer.catch_up()
    watcher.finish()
    committer.finish()
    final, asked = log.read_all(address, "events"), Recorder("asker", "events")
    asked.committed(address, "readers", PARTITIONS)
    check(final, loads, watcher, committer, patience, asked, *others)


def go_on(loads, seconds, what):
    """Lets time pass, at least until every producer got on: how soon is for benchmarks to say."""
    before = [len(load.acked) for load in loads]
    time.sleep(seconds)
    for load, count in zip(loads, before):
        wait_until(lambda load=load, count=count: len(load.acked) > count + 100, what)

