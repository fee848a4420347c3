"""Each client library produces with its defaults; each reads, assigned by hand, what the others wrote."""
import json

import confluent_kafka
import kafka
import pytest

from harness import log
from harness.tools import java, run

RECORDS = [(f"k{i}", f"value {i}") for i in range(50)]


def lines(records):
    return "".join(f"{k}:{v}\n" for k, v in records)


def pairs(text):
    return [tuple(line.split(":", 1)) for line in text.splitlines()]


def produce_kcat(address, topic):
    run(["kcat", "-P", "-b", address, "-t", topic, "-K:"], lines(RECORDS))


def produce_confluent(address, topic):
    client = confluent_kafka.Producer({"bootstrap.servers": address})
    for key, value in RECORDS:
        client.produce(topic, value, key)
    assert client.flush(60) == 0


def produce_kafka_python(address, topic):
    client = kafka.KafkaProducer(bootstrap_servers=address)
    sent = [client.send(topic, value.encode(), key.encode()) for key, value in RECORDS]
    offsets = [future.get(60).offset for future in sent]
    client.close()
    assert offsets == list(range(len(RECORDS)))


def produce_java(address, topic):
    java("ConsoleProducer", "--bootstrap-server", address, "--topic", topic, "--reader-property", "parse.key=true",
         "--reader-property", "key.separator=:", text=lines(RECORDS))


def consume_kcat(address, topic):
    return pairs(run(["kcat", "-C", "-b", address, "-t", topic, "-p", "0", "-o", "beginning", "-e", "-q", "-f", "%k:%s\n"]))


def consume_confluent(address, topic):
    return [(r.key.decode(), r.value.decode()) for r in log.flat(log.read_all(address, topic))]


def consume_kafka_python(address, topic):
    client = kafka.KafkaConsumer(bootstrap_servers=address)
    partition = kafka.TopicPartition(topic, 0)
    client.assign([partition])
    client.seek_to_beginning(partition)
    end = client.end_offsets([partition])[partition]
    found = []
    while client.position(partition) < end:
        for records in client.poll(timeout_ms=1000).values():
            found += [(r.key.decode(), r.value.decode()) for r in records]
    client.close()
    return found


def consume_java(address, topic):
    return pairs(java("consumer.ConsoleConsumer", "--bootstrap-server", address, "--topic", topic, "--partition", "0",
                      "--offset", "earliest", "--max-messages", str(len(RECORDS)), "--timeout-ms", "60000",
                      "--formatter-property", "print.key=true", "--formatter-property", "key.separator=:"))


CONSUMERS = [consume_kcat, consume_confluent, consume_kafka_python, consume_java]


@pytest.mark.parametrize("produce", [produce_kcat, produce_confluent, produce_kafka_python, produce_java])
def test_every_client_reads_what_one_wrote(broker, produce):
    produce(broker.address, "greetings")
    for consume in CONSUMERS:
        assert consume(broker.address, "greetings") == RECORDS, consume.__name__


def test_every_client_reads_from_the_bucket(broker):
    """The same after a clean stop, when nothing is left in the log."""
    produce_confluent(broker.address, "greetings")
    assert broker.stop() == 0
    broker.start()
    for consume in CONSUMERS:
        assert consume(broker.address, "greetings") == RECORDS, consume.__name__


def test_java_tools_describe_a_topic(broker):
    java("TopicCommand", "--bootstrap-server", broker.address, "--create", "--topic", "made", "--partitions", "3")
    shown = java("TopicCommand", "--bootstrap-server", broker.address, "--describe", "--topic", "made")
    assert "PartitionCount: 3" in shown
    log.produce(broker.address, "made", [(1, None, b"v", None)] * 7)
    offsets = java("GetOffsetShell", "--bootstrap-server", broker.address, "--topic", "made")
    assert offsets.split() == ["made:0:0", "made:1:7", "made:2:0"]
    java("TopicCommand", "--bootstrap-server", broker.address, "--delete", "--topic", "made")
    assert "made" not in java("TopicCommand", "--bootstrap-server", broker.address, "--list")


def test_kcat_lists_and_looks_up(broker):
    log.create_topic(broker.address, "made", 3)
    log.produce(broker.address, "made", [(1, None, b"v", None)] * 7)
    shown = json.loads(run(["kcat", "-L", "-J", "-b", broker.address]))
    assert [(b["id"], b["name"]) for b in shown["brokers"]] == [(0, broker.address)]
    assert [(t["topic"], [p["leader"] for p in t["partitions"]]) for t in shown["topics"]] == [("made", [0, 0, 0])]
    assert run(["kcat", "-Q", "-b", broker.address, "-t", "made:1:-1"]).split() == ["made", "[1]", "offset", "7"]
    asked = run(["kcat", "-L", "-b", broker.address, "-t", "unknown", "-X", "allow.auto.create.topics=false"])
    assert "Unknown topic or partition" in asked
    assert "unknown" not in run(["kcat", "-L", "-b", broker.address]), "asking for a topic made it"


def test_java_tools_and_groups(broker):
    """The console consumer joins one; `kafka-consumer-groups` shows, moves and deletes it; the log is as Kafka's own."""
    log.create_topic(broker.address, "made", 2)
    log.produce(broker.address, "made", [(i % 2, None, b"%d" % i, None) for i in range(10)])
    server = ("--bootstrap-server", broker.address)
    read = java("consumer.ConsoleConsumer", *server, "--topic", "made", "--group", "g", "--from-beginning",
                "--max-messages", "10", "--command-property", "auto.offset.reset=earliest")
    assert sorted(map(int, read.split())) == list(range(10))
    groups = ("consumer.group.ConsumerGroupCommand", *server)
    assert java(*groups, "--list").split() == ["g"]
    shown = [line.split() for line in java(*groups, "--describe", "--group", "g").splitlines() if "made" in line]
    assert [(row[2], row[3], row[5]) for row in shown] == [("0", "5", "0"), ("1", "5", "0")]
    assert "Empty" in java(*groups, "--describe", "--group", "g", "--state")
    moved = java(*groups, "--reset-offsets", "--group", "g", "--topic", "made:1", "--to-offset", "2", "--execute")
    assert moved.split()[-4:] == ["g", "made", "1", "2"]
    formatter = ("--formatter", "org.apache.kafka.tools.consumer.GroupMetadataMessageFormatter")
    shown = java("consumer.ConsoleConsumer", *server, "--topic", "__consumer_offsets", "--partition", str(ord("g") % 50),
                 "--offset", "earliest", "--timeout-ms", "5000", *formatter)
    assert '"group":"g"' in shown and '"protocolType":"consumer"' in shown, shown
    formatter = ("--formatter", "org.apache.kafka.tools.consumer.OffsetsMessageFormatter")
    shown = java("consumer.ConsoleConsumer", *server, "--topic", "__consumer_offsets", "--partition", str(ord("g") % 50),
                 "--offset", "earliest", "--timeout-ms", "5000", *formatter)
    assert '"topic":"made"' in shown and '"offset":2' in shown and '"topicId":"' in shown, shown
    assert "successful" in java(*groups, "--delete", "--group", "g")
    assert java(*groups, "--list").split() == []


def test_living_producers_go_on_in_a_topic_made_again(broker):
    """They learn of its new id by an error. An idempotent one goes on counting: the new topic takes the first it sees."""
    idempotent = log.producer(broker.address, enable_idempotence=True)
    other = kafka.KafkaProducer(bootstrap_servers=broker.address)
    for life in ("first", "second"):
        log.create_topic(broker.address, "again")
        for i in range(5):
            idempotent.produce("again", f"{life} {i}")
            assert idempotent.flush(60) == 0
            other.send("again", f"{life} {i}".encode()).get(60)
        expected = [f"{life} {i}".encode() for i in range(5) for _ in range(2)]
        assert [r.value for r in log.flat(log.read_all(broker.address, "again"))] == expected
        log.delete_topic(broker.address, "again")
    other.close()


def test_timestamps_and_lookups(broker):
    """ListOffsets by time finds the first record at or after it, before and after shipping."""
    log.create_topic(broker.address, "timed")
    client = log.producer(broker.address)
    base = 1_700_000_000_000
    for i in range(100):
        client.produce("timed", str(i), partition=0, timestamp=base + 10 * i)
    assert client.flush(60) == 0
    for _ in ("from the log", "from the bucket"):
        reader = log.reader(broker.address)
        wanted = [confluent_kafka.TopicPartition("timed", 0, base + 10 * i - 5) for i in (0, 1, 50, 99)]
        found = [reader.offsets_for_times([w], timeout=60)[0].offset for w in wanted]
        late = reader.offsets_for_times([confluent_kafka.TopicPartition("timed", 0, base + 5000)], timeout=60)[0].offset
        reader.close()
        assert found == [0, 1, 50, 99]
        assert late in (confluent_kafka.OFFSET_END, 100)
        assert [r.timestamp for r in log.read_all(broker.address, "timed")[0]] == [base + 10 * i for i in range(100)]
        if broker.running():
            assert broker.stop() == 0
            broker.start()
