"""The bucket is the cluster: etcd loses everything, and the brokers come back with all that they acknowledged there."""
import json
import pathlib
import re

from harness import log
from harness.history import Committer, Load, Recorder, check
from harness.process import wait_until
from harness.under_load import PARTITIONS

ROOT = pathlib.Path(__file__).resolve().parent.parent
LOCAL = 3  # partitions of the topic whose records are acknowledged on disks


def restore(cluster, *args, **options):
    return cluster.brokers[0].run("cluster", "restore", *args, **options)


def test_a_cluster_whose_etcd_is_gone_comes_back_from_its_bucket(make_cluster):
    """Two brokers are killed, the third stalls through it all and goes on when others lead what it led."""
    cluster = make_cluster(settings={"SEGMENT__MAX_AGE": "3s"}).start_all()
    address = cluster.bootstrap()
    log.create_topic(address, "events", PARTITIONS)
    log.create_topic(address, "disk", LOCAL, {"runnel.durability": "local", "retention.ms": "86400000"})
    loads = [Load(address, "events", PARTITIONS, name).start() for name in ("a", "b")]
    committer = Committer(address, "events", "readers").start()
    wait_until(lambda: len(loads[0].acked) > 2000 and len(committer.committed) == PARTITIONS, "a history", seconds=60)
    before = [(n % LOCAL, None, b"before-%d" % n, None) for n in range(300)]
    log.produce(address, "disk", before)
    acked = len(loads[0].acked)
    wait_until(lambda: len(loads[0].acked) > acked + 500, "records that are in no segment", seconds=60)

    cluster.pause(2)
    cluster.etcd.stop()
    for i in (0, 1):
        cluster.kill(i)
    cluster.etcd.wipe()
    cluster.etcd.start()
    code, printed = cluster.brokers[0].run_to_end()
    assert code != 0 and "`runnel cluster restore`" in printed, printed

    plan = json.loads(restore(cluster, "--dry-run", "-o", "json").stdout)
    local = [topic for topic in plan["topics"] if topic["may_miss_records"]]
    assert (plan["era"], plan["next_era"], plan["open_lanes"]) == (0, 1, 3), plan
    assert [(topic["topic"], topic["partitions"]) for topic in local] == [("disk", LOCAL)]
    shown, = re.findall(r"```text\n\$ runnel cluster restore\n(.*?)Type", (ROOT / "docs/operations/README.md").read_text(), re.DOTALL)
    shown = re.escape(shown).replace("…", ".*")
    assert re.fullmatch(shown, restore(cluster, "--dry-run").stdout), "what the operations page shows"
    unasked = restore(cluster)
    assert unasked.returncode == 1 and "nothing was changed" in unasked.stderr, unasked
    # It is killed, more than once, and nobody starts on half of it. Each run raises the era anew.
    for point in ("restore.era_raised", "restore.root_fenced", "restore.recorded"):
        assert restore(cluster, "--yes", fail_points=f"{point}=abort").returncode == -6
        code, printed = cluster.brokers[1].run_to_end()
        assert code != 0, printed
    done = restore(cluster, "--yes", "-o", "json")
    assert done.returncode == 0, done.stderr
    restored = json.loads(done.stdout)["restored"]
    assert (restored["era"], restored["lanes"]) == (4, 3) and restored["unshipped"] > 0, restored
    assert restored["may_miss_records"] == [{"topic": "disk", "partition": n} for n in range(LOCAL)]
    again = restore(cluster, "--yes")
    assert again.returncode == 1 and "start the brokers instead" in again.stderr, again

    for i in (0, 1):
        cluster.start(i)
    acked = len(loads[0].acked)
    wait_until(lambda: len(loads[0].acked) > acked + 100, "producers that go on", seconds=120)
    cluster.resume(2)
    wait_until(lambda: "starts again" in cluster.brokers[2].log(), "the survivor hears of it", seconds=60)
    cluster.brokers[2].wait_ready()
    acked = [len(load.acked) for load in loads]
    wait_until(lambda: all(len(load.acked) > count + 500 for load, count in zip(loads, acked)), "all of them", seconds=120)
    for load in loads:
        load.finish()
    patience = committer.catch_up()
    committer.finish()
    final, asked = log.read_all(address, "events"), Recorder("asker", "events")
    asked.committed(address, "readers", PARTITIONS)
    check(final, loads, committer, patience, asked)

    # Of what was on disks the beginning is there, and once.
    after = [(n % LOCAL, None, b"after-%d" % n, None) for n in range(30)]
    log.produce(address, "disk", after)
    for partition, records in log.read_all(address, "disk").items():
        values = [record.value for record in records]
        old = [value for at, _, value, _ in before if at == partition]
        kept = [value for value in values if value.startswith(b"before")]
        assert kept == old[:len(kept)]
        assert values[len(kept):] == [value for at, _, value, _ in after if at == partition]
    described = json.loads(cluster.brokers[0].cli("topic", "describe", "disk", "-o", "json",
                                                  "--bootstrap", cluster.grpc_bootstrap()))
    assert "86400000" in json.dumps(described)
    verified = cluster.brokers[0].run("segment", "verify", "--all", "--deep")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_a_single_node_says_what_it_does_instead(make_broker):
    done = make_broker().run("cluster", "restore", "--yes")
    assert done.returncode == 2 and "makes lost metadata anew" in done.stderr, done
