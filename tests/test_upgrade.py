"""From one release to the next: brokers of two builds in one cluster, the way back, and what an older release refuses."""
import json

import pytest

from harness import log, versions
from harness.broker import binary, previous_binary
from harness.history import Load, check
from harness.process import wait_until
from harness.under_load import go_on, under_load

OLD, NEW = previous_binary(), binary()


def status(broker):
    done = broker.run("cluster", "status", "-o", "json", "--bootstrap", broker.grpc_address)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def upgrade(broker, *args):
    done = broker.run("cluster", "upgrade", *args, "--bootstrap", broker.grpc_address)
    return done.returncode, done.stderr


def replace(cluster, i, build):
    """Stops a broker and starts another build in its place."""
    assert cluster.stop(i) == 0
    cluster.brokers[i].binary = build
    cluster.start(i)


def refuses(broker, text):
    """The build of a broker that is down does not start, and says why."""
    code, printed = broker.run_to_end()
    assert code != 0 and text in printed, printed


def test_a_rolling_upgrade_of_a_cluster_and_the_way_back(make_cluster):
    """With clients at work: each broker in turn, one of each build killed while there are both, and one set back."""
    cluster = make_cluster(settings={"SEGMENT__MAX_AGE": "5s"})
    for broker in cluster.brokers:
        broker.binary = OLD
    cluster.start_all()
    a, b, c = range(3)

    def work(loads):
        replace(cluster, a, NEW)
        go_on(loads, 3, "one broker is new")
        for victim, what in ((b, "an old broker died"), (a, "the new broker died")):
            cluster.kill(victim)
            go_on(loads, 6, what)
            cluster.start(victim)
        replace(cluster, b, NEW)
        go_on(loads, 3, "two brokers are new")
        replace(cluster, a, OLD)
        go_on(loads, 3, "one went back")
        replace(cluster, a, NEW)
        replace(cluster, c, NEW)
        go_on(loads, 3, "all are new")
        replace(cluster, c, OLD)
        replace(cluster, c, NEW)
        to_the_highest_level(cluster)
        go_on(loads, 3, "the level is raised")
        cluster.kill(a)
        go_on(loads, 6, "a broker died at the new level")
        cluster.start(a)

    under_load(cluster.bootstrap(), work)


def to_the_highest_level(cluster):
    """Raises the level; no way leads back from there."""
    first, last = cluster.brokers[0], cluster.brokers[-1]
    before, highest = status(first)["level"], status(first)["nodes"][0]["levels"][1]
    assert before <= highest and (before < highest or OLD == NEW)
    assert upgrade(first, "--dry-run")[0] == 0 and status(first)["level"] == before
    if before < highest:
        code, printed = upgrade(first)
        assert code != 0 and "nothing was changed" in printed and status(first)["level"] == before, printed
    code, printed = upgrade(last, "--yes")
    assert code == 0, printed
    for broker in cluster.brokers:
        wait_until(lambda: status(broker)["level"] == highest, "the new level")
    if before < highest:
        assert cluster.stop(2) == 0
        last.binary = OLD
        refuses(last, "newer release")
        last.binary = NEW
        cluster.start(2)


def test_the_level_stays_while_a_broker_is_old(make_cluster):
    cluster = make_cluster(brokers=2)
    for broker in cluster.brokers:
        broker.binary = OLD
    cluster.start_all()
    replace(cluster, 0, NEW)
    shown = status(cluster.brokers[0])
    before, levels = shown["level"], {node["id"]: node["levels"] for node in shown["nodes"]}
    assert upgrade(cluster.brokers[0], "--yes")[0] == 0
    assert status(cluster.brokers[0])["level"] == before == levels[1][1]
    held_back = levels[0][1] > levels[1][1]
    assert ("others support more: 1" in upgrade(cluster.brokers[0], "--dry-run")[1]) == held_back == (OLD != NEW)
    # The old one notices nothing.
    log.create_topic(cluster.bootstrap(), "t", 4)
    log.produce(cluster.brokers[1].address, "t", [(p, None, b"v", []) for p in range(4)])
    replace(cluster, 1, OLD)


def test_the_data_directory_of_a_single_node(make_broker):
    """With records that are in segments and in the log, offsets of groups, and kills; back and forth before the level is
    raised, and refused afterwards."""
    broker = make_broker({"SEGMENT__MAX_AGE": "2s"})
    broker.binary = OLD
    broker.start()
    log.create_topic(broker.address, "t", 2)
    load = Load(broker.address, "t", 2, "a").start()
    for build in (NEW, OLD, NEW):
        before = len(load.acked)
        wait_until(lambda: len(load.acked) > before + 500, "records")
        wait_until(lambda: broker.parquet_files("t"), "a segment")
        broker.kill()
        broker.binary = build
        broker.start()
    level, highest = status(broker)["level"], status(broker)["nodes"][0]["levels"][1]
    code, printed = upgrade(broker, "--yes")
    assert code == 0 and status(broker)["level"] == highest, printed
    if level < highest:
        assert broker.stop() == 0
        broker.binary = OLD
        refuses(broker, "newer release")
        broker.binary = NEW
        broker.start()
    before = len(load.acked)
    wait_until(lambda: len(load.acked) > before + 100, "more records")
    load.finish()
    check(log.read_all(broker.address, "t"), [load])


def snapshot(cluster):
    """All that a start could change: in etcd, in the bucket, and of its own data but for a file that is locked when it is
    opened."""
    broker = cluster.brokers[0]
    own = {str(at): at.read_bytes() for at in broker.data.rglob("*") if at.is_file() and at.name != "metadata.redb"}
    shared = {str(at): at.read_bytes() for at in broker.files() if "/cluster/probe/" not in str(at)}
    return versions.Keys(cluster.etcd).all(), shared, own


AT_LEVEL = f"the cluster is at level {versions.NEWER}, and this release supports"


def raise_in_etcd(keys, _broker):
    keys.put("cluster", versions.with_level(keys.all()["cluster"]))


def raise_in_bucket(_keys, broker):
    file = broker.bucket / "cluster/id"
    broker.s3.put("lake", "cluster/cluster/id", versions.in_register(file.read_bytes(), versions.with_level))


def newer_value(prefix):
    """A value of etcd that a newer release has written."""
    def change(keys, _broker):
        name, value = next((name, value) for name, value in keys.all().items() if name.startswith(prefix))
        keys.put(name, versions.with_version(value))
    return change


def newer_identity(_keys, broker):
    file = broker.data / "identity"
    file.write_bytes(versions.with_version(file.read_bytes()))


def newer_log(_keys, broker):
    file = next((broker.data / "wal").glob("lane-*/*.wal"))
    file.write_bytes(versions.with_newer_header(file.read_bytes()))


@pytest.mark.parametrize("change,says", [
    (raise_in_etcd, AT_LEVEL), (raise_in_bucket, AT_LEVEL), (newer_value("cluster"), "the cluster record has format version 99"),
    (newer_value("topic/"), "a topic record has format version 99"),
    (newer_value("p/"), "a partition record has format version 99"),
    (newer_value("s/"), "a session record has format version 99"),
    (newer_identity, "the identity of the data directory has format version 99"),
    (newer_log, "format version 99"),
], ids=["level in etcd", "level in the bucket", "cluster record", "topic", "partition", "session", "identity", "log"])
def test_what_a_newer_release_wrote_is_refused(make_cluster, change, says):
    """Whatever of it a start meets first, nothing is changed."""
    cluster = make_cluster(brokers=1).start_all()
    broker = cluster.brokers[0]
    broker.s3 = cluster.s3
    log.create_topic(broker.address, "t", 1, {"runnel.durability": "local"})
    log.produce(broker.address, "t", [(0, None, b"v", [])])
    cluster.kill(0)
    # A file of the log that was being made holds nothing yet, and a start may delete it.
    for unfinished in (broker.data / "wal").glob("lane-*/*.next"):
        unfinished.unlink()
    keys = versions.Keys(cluster.etcd)
    wait_until(lambda: not [key for key in keys.all() if key.startswith("live/")], "the end of the lease")
    change(keys, broker)
    before = snapshot(cluster)
    refuses(broker, says)
    after = snapshot(cluster)
    assert after[:2] == before[:2]
    changed = {name for name in before[2].keys() | after[2].keys() if before[2].get(name) != after[2].get(name)}
    assert not changed, changed


def test_a_broker_leaves_when_the_level_is_raised_above_it(make_cluster):
    """As when somebody raises the level in spite of it: it hands over what it leads, and says why it went."""
    cluster = make_cluster(brokers=2).start_all()
    log.create_topic(cluster.bootstrap(), "t", 4)
    log.produce(cluster.bootstrap(), "t", [(p, None, b"v", []) for p in range(4)])
    keys = versions.Keys(cluster.etcd)
    for broker in cluster.brokers:
        broker.s3 = cluster.s3
        broker.expect_error(AT_LEVEL)
    raise_in_bucket(keys, cluster.brokers[0])
    raise_in_etcd(keys, cluster.brokers[0])
    for broker in cluster.brokers:
        assert broker.wait_exit() == 1
        assert AT_LEVEL in broker.log().splitlines()[-1], broker.log()[-2000:]
    assert not [key for key in keys.all() if key.startswith(("live/", "build/"))]
    assert len(cluster.brokers[0].parquet_files("t")) == 4, "all is shipped"
