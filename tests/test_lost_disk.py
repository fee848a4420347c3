"""Three brokers and a topic whose records are on one disk alone until they are shipped: a broker dies and does not come back."""
import json
import shutil

import pytest

from harness import log
from harness.history import Load, Recorder, Watcher, check
from harness.process import wait_until
from harness.under_load import go_on

TOPIC, PARTITIONS, RECORDS = "t", 6, 20
WAIT = 60

# Every point between two durable steps that an adoption passes with something left to do.
ARROWS = ["wal.seal.copied", "wal.seal.recorded", "wal.lane.created", "open.root_taken", "open.recorded",
          "ship.built", "ship.put", "ship.after_root_cas", "ship.committed", "move.emptied", "move.given"]
# The dead session is ended by whoever is first, which may be another broker: only its own is certain to be left to it.
LAST = "session.ended"


@pytest.fixture
def cluster(make_cluster):
    # Nothing is shipped but by need.
    return make_cluster(settings={"SEGMENT__MAX_AGE": "1h"}).start_all()


def produce(cluster, what, brokers):
    """Some records for every partition; what each has got."""
    values = {p: [b"%s-%d-%d" % (what, p, n) for n in range(RECORDS)] for p in range(PARTITIONS)}
    address = ",".join(cluster.brokers[i].address for i in brokers)
    log.produce(address, TOPIC, [(p, None, value, None) for p in values for value in values[p]])
    return values


def read(cluster, i):
    read = log.read_all(cluster.brokers[i].address, TOPIC)
    log.assert_contiguous(read)
    return {p: [r.value for r in records] for p, records in read.items()}


def with_records(cluster):
    """Makes the topic and writes to it: what there is, and the partitions of broker 1."""
    log.create_topic(cluster.bootstrap(), TOPIC, PARTITIONS, {"runnel.durability": "local"})
    values = produce(cluster, b"a", (0, 1, 2))
    leaders = log.reader(cluster.bootstrap()).list_topics(TOPIC, timeout=WAIT).topics[TOPIC].partitions
    theirs = {p for p, found in leaders.items() if found.leader == 1}
    assert len(theirs) == 2, leaders
    return values, theirs


def test_the_operator_goes_on_without_a_lost_disk(cluster):
    values, theirs = with_records(cluster)
    accept = ["topic", "accept-loss", TOPIC, "--lost-disk", "--bootstrap", cluster.brokers[0].grpc_address]
    refused = cluster.brokers[0].run(*accept, "--yes")
    assert refused.returncode == 1 and "no partition of t waits for a disk that is gone" in refused.stderr, refused.stderr
    cluster.kill(1)
    shutil.rmtree(cluster.brokers[1].data)

    # Once the others know that it is gone.
    wait_until(lambda: cluster.brokers[0].run(*accept, "--dry-run").returncode == 0, "known to be lost", WAIT)
    told = json.loads(cluster.brokers[0].cli(*accept, "--dry-run", "-o", "json"))
    assert {one["partition"] for one in told} == theirs and all(one["brokers"] == ["broker-1"] for one in told), told
    assert all(one["from"] == 0 for one in told), told
    assert cluster.brokers[0].run(*accept).returncode == 1, "without --yes and without a terminal nothing is given up"
    assert json.loads(cluster.brokers[2].cli(*accept, "--yes", "-o", "json")) == told

    more = produce(cluster, b"b", (0, 2))
    expected = {p: ([] if p in theirs else values[p]) + more[p] for p in values}
    assert read(cluster, 0) == expected
    # In its place comes a broker with an empty disk.
    cluster.start(1)
    assert read(cluster, 1) == expected


def test_a_disk_is_lost_and_given_up_under_load(cluster):
    """What was on it alone is gone, and nothing else; producers go on by themselves."""
    _, theirs = with_records(cluster)
    loads = [Load(cluster.bootstrap(), "events", PARTITIONS, name) for name in ("a", "b")]
    log.create_topic(cluster.bootstrap(), "events", PARTITIONS, {"runnel.durability": "local"})
    watcher = Watcher(cluster.bootstrap(), "events", PARTITIONS).start()
    for load in loads:
        load.start()
    go_on(loads, 1, "records were not acknowledged")
    wait_until(lambda: watcher.seen > 100, "records were read")
    watcher.finish()
    cluster.kill(1)
    shutil.rmtree(cluster.brokers[1].data)

    accept = ["topic", "accept-loss", "events", "--lost-disk", "--bootstrap", cluster.brokers[0].grpc_address]
    wait_until(lambda: cluster.brokers[0].run(*accept, "--dry-run").returncode == 0, "known to be lost", WAIT)
    operator = Recorder("operator", "events")
    given_up = json.loads(cluster.brokers[0].cli(*accept, "--yes", "-o", "json"))
    assert len(given_up) == len(theirs), given_up
    for one in given_up:
        operator.tell("loss", f'"partition":{one["partition"]},"from":{one["from"]}')
    cluster.start(1)
    go_on(loads, 1, "producers did not go on")
    for load in loads:
        load.finish()
    final = log.read_all(cluster.bootstrap(), "events")
    assert all(final[one["partition"]] for one in given_up), "nothing is written to what was given up"
    check(final, loads, watcher, operator)


def test_the_disk_of_a_dead_broker_is_adopted(cluster):
    values, theirs = with_records(cluster)
    adopt = ["wal", "adopt", str(cluster.brokers[1].data)]
    refused = cluster.brokers[0].run(*adopt)
    assert refused.returncode == 1 and "is alive and has this disk" in refused.stderr, refused.stderr
    cluster.kill(1)
    adopted = json.loads(cluster.brokers[0].cli(*adopt, "-o", "json"))
    assert (adopted["broker"], adopted["shipped"]) == ("broker-1", sorted(f"{TOPIC}-{p}" for p in theirs)), adopted
    assert adopted["left"] == []
    shutil.rmtree(cluster.brokers[1].data)
    assert read(cluster, 0) == values
    more = produce(cluster, b"b", (0, 2))
    assert read(cluster, 2) == {p: values[p] + more[p] for p in values}


def test_an_adoption_that_is_killed_is_run_again(cluster):
    values, _ = with_records(cluster)
    adopt = ["wal", "adopt", str(cluster.brokers[1].data)]
    cluster.kill(1)
    passed = [point for point in [*ARROWS, LAST]
              if cluster.brokers[0].run(*adopt, fail_points=f"{point}=abort").returncode != 0]
    assert passed == [*ARROWS, LAST]
    cluster.brokers[0].cli(*adopt)
    assert read(cluster, 0) == values
    more = produce(cluster, b"b", (0, 2))
    assert read(cluster, 2) == {p: values[p] + more[p] for p in values}
