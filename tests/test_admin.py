"""Administration as Apache Kafka's clients and tools do it: partitions, configs, records, leaders, moves, quotas."""
import json

import confluent_kafka
import kafka
import kafka.admin as ka
import pytest
from confluent_kafka import admin
from kafka.errors import InvalidPartitionsError

from harness import log
from harness.process import wait_until
from test_clients import java


@pytest.fixture
def python(broker):
    """kafka-python's administrator."""
    client = ka.KafkaAdminClient(bootstrap_servers=broker.address)
    yield client
    client.close()


def values(count):
    return [(0, None, b"v%d" % i, []) for i in range(count)]


def tool(broker, main, *args):
    return java(main, "--bootstrap-server", broker.address, *args)


def test_partitions_are_added(broker, python):
    """The records that were there stay where they are; the new partitions are empty and take records, also after kill -9."""
    log.create_topic(broker.address, "t", 1)
    log.produce(broker.address, "t", values(5))
    python.create_partitions({"t": ka.NewPartitions(3)})
    with pytest.raises(InvalidPartitionsError):
        python.create_partitions({"t": ka.NewPartitions(3)})
    confluent = admin.AdminClient({"bootstrap.servers": broker.address})
    confluent.create_partitions([admin.NewPartitions("t", 4)])["t"].result(60)
    with pytest.raises(confluent_kafka.KafkaException) as refused:
        confluent.create_partitions([admin.NewPartitions("t", 2)])["t"].result(60)
    assert refused.value.args[0].code() == confluent_kafka.KafkaError.INVALID_PARTITIONS
    tool(broker, "TopicCommand", "--alter", "--topic", "t", "--partitions", "5")
    log.produce(broker.address, "t", [(4, None, b"new", [])])
    broker.kill()
    broker.start()
    found = log.read_all(broker.address, "t")
    assert {p: [r.value for r in records] for p, records in found.items()} == {
        0: [b"v%d" % i for i in range(5)], 1: [], 2: [], 3: [], 4: [b"new"]}


def test_requests_behind_a_change_see_it(broker):
    """Sent on one connection without waiting, as in Kafka, which answers one request of a connection after the other."""
    client = admin.AdminClient({"bootstrap.servers": broker.address})
    for n in range(5):
        topic = f"t{n}"
        log.create_topic(broker.address, topic, 1)
        log.produce(broker.address, topic, values(10))
        at = confluent_kafka.TopicPartition(topic, 0)
        earliest = {at: admin.OffsetSpec.earliest()}
        assert client.list_offsets(earliest)[at].result(60).offset == 0
        # No time at all is enough: Kafka with one replica has nothing to wait for.
        deleting = client.delete_records([confluent_kafka.TopicPartition(topic, 0, 7)], operation_timeout=0)
        listing = client.list_offsets(earliest)
        assert listing[at].result(60).offset == 7
        assert [done.result(60).low_watermark for done in deleting.values()] == [7]


def test_records_are_deleted(broker, python, tmp_path):
    """By each client and by kafka-delete-records; the low watermark is what a consumer can begin at."""
    log.create_topic(broker.address, "t", 1)
    log.produce(broker.address, "t", values(30))
    partition = kafka.TopicPartition("t", 0)
    assert python.delete_records({partition: 10})[partition]["low_watermark"] == 10
    confluent = admin.AdminClient({"bootstrap.servers": broker.address})
    wanted = confluent_kafka.TopicPartition("t", 0, 20)
    assert confluent.delete_records([wanted])[wanted].result(60).low_watermark == 20
    plan = tmp_path / "delete.json"
    plan.write_text(json.dumps({"version": 1, "partitions": [{"topic": "t", "partition": 0, "offset": 25}]}))
    assert "low_watermark: 25" in tool(broker, "DeleteRecordsCommand", "--offset-json-file", plan)
    assert "t:0:25" in tool(broker, "GetOffsetShell", "--topic", "t", "--time", "earliest")
    beyond = confluent_kafka.TopicPartition("t", 0, 31)
    with pytest.raises(confluent_kafka.KafkaException) as refused:
        confluent.delete_records([beyond])[beyond].result(60)
    assert refused.value.args[0].code() == confluent_kafka.KafkaError.OFFSET_OUT_OF_RANGE
    assert [r.offset for r in log.flat(log.read_all(broker.address, "t", 25))] == list(range(25, 30))
    done = broker.cli("topic", "trim", "t", "--before", "28", "--yes", "-o", "json", "--bootstrap", broker.grpc_address)
    assert json.loads(done) == [{"partition": 0, "log_start_offset": 28, "error": None}]
    assert broker.run("topic", "trim", "t", "--before", "end", "--bootstrap", broker.grpc_address).returncode != 0
    broker.cli("topic", "trim", "t", "--before", "end", "--yes", "--bootstrap", broker.grpc_address)
    assert "t:0:30" in tool(broker, "GetOffsetShell", "--topic", "t", "--time", "earliest")


def test_configs_of_topics_brokers_and_groups(broker, python):
    """Types, documentation, synonyms; what is set on brokers is what topics have; compaction is refused."""
    log.create_topic(broker.address, "t", 1, {"segment.ms": "5000"})
    resource = ka.ConfigResource
    described = python.describe_configs([resource("TOPIC", "t")], config_filter="all", include_synonyms=True)["topic"]["t"]
    assert described["segment.ms"]["value"] == "5000" and described["segment.ms"]["config_type"] == "LONG"
    assert [s["source"] for s in described["segment.ms"]["synonyms"]][0] in (1, "DYNAMIC_TOPIC_CONFIG")
    python.alter_configs([resource("BROKER", "0", configs={"log.retention.bytes": "123456"})])
    described = python.describe_configs([resource("TOPIC", "t")], config_filter="all", include_synonyms=True)["topic"]["t"]
    assert described["retention.bytes"]["value"] == "123456"
    refused = python.alter_configs([resource("TOPIC", "t", configs={"cleanup.policy": "compact"})], raise_on_unknown=False)
    assert "not supported" in str(refused)
    with pytest.raises(ValueError):
        python.alter_configs([resource("BROKER", "0", configs={"num.partitions": "3"})])
    python.alter_configs([resource("GROUP", "g", configs={"consumer.session.timeout.ms": "50000"})])
    broker.kill()
    broker.start()
    group = python.describe_configs([resource("GROUP", "g")])["group"]["g"]
    assert group["consumer.session.timeout.ms"]["value"] == "50000"
    assert python.list_config_resources() == {"topic": ["t"], "broker": ["0"], "group": ["g"]}
    brokers = python.describe_configs([resource("BROKER", "0")], config_filter="all")["broker"]["0"]
    assert brokers["log.retention.bytes"]["value"] == "123456" and not brokers["log.retention.bytes"]["read_only"]
    assert brokers["num.partitions"]["read_only"]


def test_nothing_moves(broker, python, tmp_path):
    """Leaders and replicas are where they belong, and the tools hear so."""
    log.create_topic(broker.address, "t", 2)
    partition = kafka.TopicPartition("t", 0)
    assert python.alter_partition_reassignments({partition: [0]}) == {partition: None}
    assert python.alter_partition_reassignments({partition: [0, 1]})[partition] is not None
    assert python.list_partition_reassignments() == {}
    tool(broker, "LeaderElectionCommand", "--election-type", "preferred", "--all-topic-partitions")
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"version": 1, "partitions": [{"topic": "t", "partition": 1, "replicas": [0]}]}))
    moves = "reassign.ReassignPartitionsCommand"
    assert "Successfully started" in tool(broker, moves, "--reassignment-json-file", plan, "--execute")
    assert "is complete" in tool(broker, moves, "--reassignment-json-file", plan, "--verify")
    assert "No partition reassignments found" in tool(broker, moves, "--list")


def test_log_dirs_tell_bucket_and_log(broker, python):
    """Before a ship the bytes are in the log, after it in the bucket."""
    log.create_topic(broker.address, "t", 1)
    log.produce(broker.address, "t", values(200))

    def sizes():
        dirs = python.describe_log_dirs()[0]["log_dirs"]
        assert [d["log_dir"].split(":")[0] == "file" for d in dirs] == [True, False]
        return [d["topics"][0]["partitions"][0]["partition_size"] for d in dirs]

    assert sizes()[0] == 0 and sizes()[1] > 0
    broker.cli("segment", "seal", "t", "--wait", "--bootstrap", broker.grpc_address)
    wait_until(lambda: sizes()[1] == 0, "the trim")
    assert sizes()[0] == broker.parquet_files("t")[0].stat().st_size
    shown = tool(broker, "LogDirsCommand", "--describe")
    assert '"partition":"t-0"' in shown


def test_producers_are_described(broker, python):
    """DescribeProducers by kafka-python and by kafka-transactions; a producer is remembered through kill -9."""
    log.create_topic(broker.address, "t", 1)
    log.produce(broker.address, "t", values(10), enable_idempotence=True)
    log.produce(broker.address, "t", values(3), enable_idempotence=False)
    for _ in range(2):
        partition = kafka.TopicPartition("t", 0)
        active = python.describe_producers([partition])[partition].active_producers
        assert [(p.producer_epoch, p.last_sequence) for p in active] == [(0, 9)]
        shown = tool(broker, "TransactionsCommand", "describe-producers", "--topic", "t", "--partition", "0")
        assert str(active[0].producer_id) in shown
        broker.kill()
        broker.start()


def test_producers_expire_by_the_times_in_the_log(make_broker):
    """A producer is forgotten when somebody appends long enough after it, in this process and after a restart."""
    broker = make_broker({"TOPICS__PRODUCER_EXPIRATION": "1s"}).start()
    log.create_topic(broker.address, "t", 1)
    log.produce(broker.address, "t", values(1), enable_idempotence=True)
    client = ka.KafkaAdminClient(bootstrap_servers=broker.address)
    partition = kafka.TopicPartition("t", 0)

    def known():
        return [p.producer_id for p in client.describe_producers([partition])[partition].active_producers]

    first = known()
    assert len(first) == 1

    def forgotten():
        log.produce(broker.address, "t", values(1), enable_idempotence=False)
        return not known()

    wait_until(forgotten, "the producer is forgotten", every=0.3)
    broker.kill()
    broker.start()
    assert not known()
    client.close()


def test_the_command_line_says_what_it_will_not_do(broker):
    """An offset belongs to a partition."""
    log.create_topic(broker.address, "t", 2)
    done = broker.run("topic", "trim", "t", "--before", "3", "--yes", "--bootstrap", broker.grpc_address)
    assert done.returncode == 1 and "--partition" in done.stderr


def test_the_broker_has_the_number_that_it_is_given(make_broker):
    """Other people's tests, and people, expect broker 1; a number given later changes nothing of what is kept."""
    broker = make_broker().start()
    log.create_topic(broker.address, "t", 1)
    log.produce(broker.address, "t", values(3))
    broker.stop()
    broker.settings["NODE__NUMBER"] = "7"
    broker.start()
    client = ka.KafkaAdminClient(bootstrap_servers=broker.address)
    try:
        assert [node["broker_id"] for node in client.describe_cluster()["brokers"]] == [7]
        assert "advertised.listeners" in client.describe_configs([ka.ConfigResource("BROKER", "7")], config_filter="all")["broker"]["7"]
        client.create_partitions({"t": ka.NewPartitions(2, [[7]])})
        leaders = {p["leader_id"] for p in client.describe_topics(["t"])[0]["partitions"]}
        assert leaders == {7}
    finally:
        client.close()
    assert len(log.read_all(broker.address, "t")[0]) == 3
