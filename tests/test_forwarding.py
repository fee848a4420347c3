"""gRPC and the command line, through a broker that leads nothing of what they are about."""
import json

import pytest
from confluent_kafka import admin

from harness import log, tools
from harness.broker import binary
from harness.cluster import Cluster
from harness.process import wait_until

LINES = "".join(f"record {n}\n" for n in range(200))


@pytest.fixture(name="cluster", scope="module")
def one_cluster(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("forwarding"), 2).start_all()
    yield cluster
    cluster.close()
    assert not cluster.unexpected_errors(), cluster.unexpected_errors()[:5]


@pytest.fixture(name="followers")
def make_topic(cluster, request):
    """A topic of the test's name with one partition, and a command line at the broker that does not lead it."""
    topic = request.node.name
    log.create_topic(cluster.bootstrap(), topic, 1)
    client = admin.AdminClient({"bootstrap.servers": cluster.bootstrap()})

    def led():
        leader = client.list_topics(topic, timeout=30).topics[topic].partitions[0].leader
        return [leader] if leader >= 0 else None

    leader, = wait_until(led, "a leader")
    other = cluster.brokers[1 - leader]

    def cli(*args, text=None):
        return tools.run([binary(), *args, "--bootstrap", other.grpc_address], text)

    return topic, cli, other


def test_records_are_written_read_shipped_and_given_up(followers):
    topic, cli, other = followers
    before = other.metric("runnel_forwarded_requests_total") or 0
    cli("produce", topic, text=LINES)
    assert cli("consume", topic, "--until", "end") == LINES
    assert cli("consume", topic, "--from", "-3", "--until", "end") == "record 197\nrecord 198\nrecord 199\n"
    sealed, = json.loads(cli("segment", "seal", topic, "--wait", "-o", "json"))
    assert sealed["shipped_offset"] == 200
    trimmed, = json.loads(cli("topic", "trim", topic, "--before", "150", "--yes", "-o", "json"))
    assert trimmed == {"partition": 0, "log_start_offset": 150, "error": None}
    assert cli("consume", topic, "--until", "end") == "".join(LINES.splitlines(True)[150:])
    assert other.metric("runnel_forwarded_requests_total") > before
    assert other.metric("runnel_forwarded_bytes_total") > len(LINES)


def test_groups_work_wherever_they_are_coordinated(followers):
    """Enough groups that each broker coordinates some."""
    topic, cli, _ = followers
    cli("produce", topic, text=LINES)
    groups = [f"group-{n}" for n in range(8)]
    for group in groups:
        assert cli("consume", topic, "--group", group, "--from", "start", "-n", "10").count("\n") == 10
        lag = json.loads(cli("group", "lag", group, "-o", "json"))
        assert lag["lag"] == 190, lag
    listed = {one["group"] for one in json.loads(cli("group", "list", "-o", "json"))}
    assert listed >= set(groups)
    for group in groups:
        cli("group", "reset", group, "--to-latest", "--topic", topic)
        cli("group", "delete", group, "--yes")
    assert not {one["group"] for one in json.loads(cli("group", "list", "-o", "json"))} & set(groups)
