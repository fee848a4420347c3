"""Three brokers behind HAProxy, with the configuration in `deploy/`: clients know one address, and see one broker there."""
import time

import confluent_kafka
import kafka.admin as ka
import pytest
from confluent_kafka import admin

from harness import log, tools
from harness.broker import binary
from harness.process import wait_until
from harness.proxy import HAProxy
from harness.under_load import under_load

THE_ONE = 1_000_000_000


@pytest.fixture
def proxy(tmp_path):
    proxy = HAProxy(tmp_path / "proxy")
    yield proxy
    proxy.stop()


@pytest.fixture
def cluster(make_cluster, proxy):
    """Started, and the proxy in front of it."""
    cluster = make_cluster(settings=proxy.settings()).start_all()
    proxy.start(cluster.brokers)
    return cluster


def test_clients_see_one_broker_that_leads_everything(cluster, proxy):
    log.create_topic(proxy.address, "t", 6)
    client = admin.AdminClient({"bootstrap.servers": proxy.address})
    seen = client.list_topics(timeout=30)
    assert [(b.id, f"{b.host}:{b.port}") for b in seen.brokers.values()] == [(THE_ONE, proxy.address)]
    assert seen.controller_id == THE_ONE
    for partition in seen.topics["t"].partitions.values():
        assert (partition.leader, partition.replicas, partition.isrs) == (THE_ONE, [THE_ONE], [THE_ONE])
    log.produce(proxy.address, "t", [(p, b"k", b"v%d" % p, []) for p in range(6)])
    assert {p: [r.value for r in records] for p, records in log.read_all(proxy.address, "t").items()} == {
        p: [b"v%d" % p] for p in range(6)}
    forwarded = [broker.metric("runnel_forwarded_requests_total") for broker in cluster.brokers]
    assert any(forwarded), "no broker has asked another"


def test_administrators_see_the_whole_cluster(cluster, proxy):
    """What Kafka's clients ask single brokers for is answered for all of them."""
    log.create_topic(proxy.address, "t", 6)
    log.produce(proxy.address, "t", [(p, None, b"v", []) for p in range(6) for _ in range(3)])
    for group in (f"group-{n}" for n in range(8)):
        client = confluent_kafka.Consumer({"bootstrap.servers": proxy.address, "group.id": group})
        client.commit(offsets=[confluent_kafka.TopicPartition("t", 0, 1)], asynchronous=False)
        client.close()
    client = ka.KafkaAdminClient(bootstrap_servers=proxy.address)
    try:
        assert {found["group_id"] for found in client.list_groups()} >= {f"group-{n}" for n in range(8)}
        assert [broker["broker_id"] for broker in client.describe_cluster()["brokers"]] == [THE_ONE]
        asked = [ka.ConfigResource("BROKER", str(THE_ONE))]
        assert client.describe_configs(asked, config_filter="all")["broker"][str(THE_ONE)]
        of_one, = client.describe_log_dirs()
        held = [p for place in of_one["log_dirs"] for t in place["topics"] if t["name"] == "t" for p in t["partitions"]]
        assert {p["partition_index"] for p in held} == set(range(6))
    finally:
        client.close()
    at, asked = confluent_kafka.TopicPartition, admin.AdminClient({"bootstrap.servers": proxy.address})
    ends = asked.list_offsets({at("t", p): admin.OffsetSpec.latest() for p in range(6)})
    assert [end.result(30).offset for end in ends.values()] == [3] * 6
    deleted = asked.delete_records([at("t", p, 2) for p in range(6)])
    assert [start.result(60).low_watermark for start in deleted.values()] == [2] * 6


def test_the_command_line_reaches_everything_through_it(cluster, proxy):
    def cli(*args, text=None):
        return tools.run([binary(), *args, "--bootstrap", proxy.grpc_address], text)

    for topic in ("a", "b", "c"):
        cli("topic", "create", topic)
        cli("produce", topic, text=topic + "\n")
        assert cli("consume", topic, "--until", "end") == topic + "\n"


def test_brokers_are_killed_one_after_the_other(cluster, proxy):
    def work(_loads):
        for i in (0, 1, 2):
            cluster.kill(i)
            time.sleep(1.5)  # a moment of load on those who are left
            cluster.start(i)

    under_load(proxy.address, work)


def test_a_rolling_restart(cluster, proxy):
    def work(_loads):
        for i in (0, 1, 2):
            assert cluster.stop(i) == 0
            cluster.start(i)

    under_load(proxy.address, work)


def test_etcd_is_away(cluster, proxy):
    """No broker is ready then, and all of them serve: the proxy must not take that for the end."""
    def work(loads):
        cluster.etcd.stop()
        time.sleep(6)  # for longer than leases last, and until the proxy has noticed
        before = len(loads[0].acked)
        wait_until(lambda: len(loads[0].acked) > before + 100, "more records without etcd")
        cluster.etcd.start()

    under_load(proxy.address, work)
