"""The document about clients says which versions of the libraries are run, and which versions of APIs they choose."""
import collections
import itertools
import json
import pathlib
import re

import pytest

from harness.broker import Broker
from harness.drivers import CLIENTS, NO_CONFIG_OF_TOPICS, ONLY_PRODUCE
from harness.process import free_port
from harness.spy import Spy

ROOT = pathlib.Path(__file__).resolve().parent.parent
TIME = 1_700_000_000_000

API_NAMES = {0: "Produce", 1: "Fetch", 2: "ListOffsets", 3: "Metadata", 8: "OffsetCommit", 9: "OffsetFetch",
             10: "FindCoordinator", 11: "JoinGroup", 12: "Heartbeat", 13: "LeaveGroup", 14: "SyncGroup", 18: "ApiVersions", 19: "CreateTopics", 20: "DeleteTopics", 22: "InitProducerId",
             23: "OffsetForLeaderEpoch", 32: "DescribeConfigs",
             33: "AlterConfigs", 44: "IncrementalAlterConfigs", 60: "DescribeCluster", 71: "GetTelemetrySubscriptions", 72: "PushTelemetry",
             75: "DescribeTopicPartitions"}

# What clients ask for in the background: they may be done before they do.
OPTIONAL = {"FindCoordinator", "GetTelemetrySubscriptions"}


@pytest.fixture(scope="module")
def spied(tmp_path_factory):
    """(the address that clients dial, what they then ask for)."""
    port = free_port()
    broker = Broker(tmp_path_factory.mktemp("spied"), {"KAFKA__ADVERTISE": f"127.0.0.1:{port}"}).start()
    spy = Spy(port, broker.kafka_port)
    yield spy
    spy.stop()
    broker.kill()
    assert not broker.unexpected_errors()


@pytest.mark.parametrize("client", CLIENTS)
def test_versions_are_those_in_the_document(spied, driver, client):
    asked, topic = driver(client), "spied"
    spied.take()
    asked.ask("create", spied.address, topic, partitions=1, config={})
    for idempotent in (False, True):
        asked.produce(spied.address, topic, [(0, b"k", b"v", [], TIME)], idempotent=idempotent)
    if client not in ONLY_PRODUCE:
        for start in ({}, {"time": TIME}):
            assert len(list(asked.consume(spied.address, topic, [0], 1, **start))) == 1
    if client not in NO_CONFIG_OF_TOPICS:
        asked.ask("alter", spied.address, topic, config={"retention.ms": "3600000"})
    asked.ask("describe", spied.address, topic)
    asked.ask("delete", spied.address, topic)
    seen = collections.defaultdict(list)
    for key, version in sorted(spied.take()):
        seen[API_NAMES[key]].append(str(version))
    shown = document("client", "ApiVersions")[client]
    cells = {api: ", ".join(seen[api]) for api in {**shown, **seen}}
    for api in OPTIONAL - seen.keys():
        cells[api] = shown[api]
    assert cells == shown, f"the row is now: | {' | '.join([client, *cells.values()])} |"


def document(*header):
    """The table of the document whose header begins so: {first cell: {column: cell}}."""
    text = (ROOT / "docs/kafka-compatibility.md").read_text()
    rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in text.splitlines() if line.startswith("|")]
    start = next(i for i, row in enumerate(rows) if tuple(row[:len(header)]) == header)
    table = itertools.takewhile(lambda row: len(row) == len(rows[start]), rows[start + 2:])
    return {row[0]: dict(zip(rows[start][1:], row[1:])) for row in table}


def pinned():
    """The version of each library, from the file that pins it."""
    files = {name: (ROOT / "tests" / name).read_text() for name in (
        "requirements.txt", "clients/go/go.mod", "clients/rust/Cargo.lock", "clients/node/package-lock.json")}
    java = (ROOT / "crates/xtask/src/install/kafka.rs").read_text()
    node = json.loads(files["clients/node/package-lock.json"])["packages"]
    python = dict(re.findall(r"^([\w-]+)(?:\[.*\])?==(\S+)$", files["requirements.txt"], re.MULTILINE))
    rust = dict(re.findall(r'^name = "(\w+)"\nversion = "(.*)"$', files["clients/rust/Cargo.lock"], re.MULTILINE))
    go = dict(re.findall(r"^\t(\S+) v(\S+)$", files["clients/go/go.mod"], re.MULTILINE))
    return {name: python[name] for name in ("confluent-kafka", "kafka-python", "aiokafka")} | {
        name: rust[name] for name in ("rdkafka", "rskafka")} | {
        name: node[f"node_modules/{name}"]["version"] for name in ("kafkajs", "@platformatic/kafka")} | {
        "franz-go": go["github.com/twmb/franz-go"], "sarama": go["github.com/IBM/sarama"],
        "kafka-clients": re.search(r'VERSION: &str = "(.+)"', java)[1]}


def test_the_document_names_the_versions_that_are_run():
    shown = {client: row["version"] for client, row in document("client", "language").items()}
    assert {client: shown[client] for client in CLIENTS} == pinned()
