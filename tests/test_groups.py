"""Consumer groups: sharing, fencing, and what a kill -9 leaves of them."""
import asyncio
import itertools
import json
import pathlib
import random
import subprocess
import sys
import time

import aiokafka
import confluent_kafka
import kafka
import kafka.errors
import pytest

from harness import groups, log
from harness.drivers import GROUPED
from harness.history import Background
from harness.process import wait_until

PARTITIONS = 4


@pytest.fixture
def broker(make_broker):
    """A broker whose groups rebalance soon."""
    return make_broker(groups.QUICK).start()


def fill(broker, topic, count=40):
    log.create_topic(broker.address, topic, PARTITIONS)
    log.produce(broker.address, topic, [(i % PARTITIONS, None, b"%d" % i, None) for i in range(count)])


def partitions_of(member):
    return {p.partition for p in member.assignment()}


def shared(members):
    """Every partition belongs to one of the members, and each has some."""
    parts = [partitions_of(member) for member in members]
    return all(parts) and sorted(itertools.chain(*parts)) == list(range(PARTITIONS))


def with_confluent(address, group, count):
    client = groups.consumer(address, group)
    client.subscribe(["t"])
    values = [value for _, _, value in groups.read(client, count)]
    client.commit(asynchronous=False)
    client.close()
    return values


def with_kafka_python(address, group, count):
    client = kafka.KafkaConsumer("t", bootstrap_servers=address, group_id=group, auto_offset_reset="earliest",
                                 enable_auto_commit=False)
    values = [record.value for record in itertools.islice(client, count)]
    client.commit()
    client.close()
    return values


def with_aiokafka(address, group, count):
    async def read():
        client = aiokafka.AIOKafkaConsumer("t", bootstrap_servers=address, group_id=group, auto_offset_reset="earliest",
                                           enable_auto_commit=False)
        await client.start()
        values = [(await client.getone()).value for _ in range(count)]
        await client.commit()
        await client.stop()
        return values
    return asyncio.run(asyncio.wait_for(read(), 60))


@pytest.mark.parametrize("consume", [with_confluent, with_kafka_python, with_aiokafka])
def test_a_group_goes_on_where_it_was(broker, consume):
    """In each Python library: also over a kill and a clean restart of the broker."""
    fill(broker, "t")
    first = consume(broker.address, "g", 40)
    assert sorted(first, key=int) == [b"%d" % i for i in range(40)]
    broker.kill()
    broker.start()
    assert groups.committed(broker.address, "g", "t", PARTITIONS) == [10] * PARTITIONS
    log.produce(broker.address, "t", [(1, None, b"new", None)])
    assert consume(broker.address, "g", 1) == [b"new"]
    assert broker.stop() == 0
    broker.start()
    assert groups.committed(broker.address, "g", "t", PARTITIONS) == [10, 11, 10, 10]
    assert groups.state(broker.address, "g") == ("EMPTY", 0)


@pytest.mark.parametrize("client", GROUPED)
def test_a_group_of_each_library_goes_on_where_it_was(broker, driver, client):
    fill(broker, "t")
    first = driver(client).read_in_group(broker.address, "t", "g", 40)
    assert sorted(r.value for r in first) == sorted(b"%d" % i for i in range(40))
    assert groups.committed(broker.address, "g", "t", PARTITIONS) == [10] * PARTITIONS
    broker.kill()
    broker.start()
    log.produce(broker.address, "t", [(1, None, b"new", None)])
    assert [r.value for r in driver(client).read_in_group(broker.address, "t", "g", 1)] == [b"new"]
    assert groups.committed(broker.address, "g", "t", PARTITIONS) == [10, 11, 10, 10]


def test_libraries_share_one_group(broker):
    """The members need a strategy in common, and the coordinator finds it."""
    fill(broker, "t")
    members = [groups.consumer(broker.address, "g", **{"partition.assignment.strategy": "range,roundrobin"})
               for _ in range(2)]
    for member in members:
        member.subscribe(["t"])
    groups.poll_until(members, lambda: shared(members), "two members share")
    other = kafka.KafkaConsumer("t", bootstrap_servers=broker.address, group_id="g", auto_offset_reset="earliest")

    def three():
        other.poll(timeout_ms=20)
        parts = [partitions_of(m) for m in members] + [{p.partition for p in other.assignment() or ()}]
        return all(parts) and sorted(itertools.chain(*parts)) == list(range(PARTITIONS))
    groups.poll_until(members, three, "a third from another library shares")
    other.close()
    groups.poll_until(members, lambda: shared(members), "its part goes back")
    for member in members:
        member.close()


@pytest.mark.parametrize("strategy", ["range", "roundrobin", "cooperative-sticky"])
def test_a_member_that_dies_loses_its_part(broker, strategy):
    fill(broker, "t")
    settings = {"partition.assignment.strategy": strategy}
    lives = groups.consumer(broker.address, "g", **settings)
    # One that stops polling leaves by itself; one that is cut off does not, and is missed after its session.
    dies = groups.consumer(broker.address, "g", **settings, **{"max.poll.interval.ms": 6000})
    for member in (lives, dies):
        member.subscribe(["t"])
    groups.poll_until([lives, dies], lambda: shared([lives, dies]), "both share")
    groups.poll_until([lives], lambda: partitions_of(lives) == set(range(PARTITIONS)), "one has everything")
    lives.close()
    dies.close()


def test_a_cut_off_member_is_missed(broker):
    fill(broker, "t")
    lives = groups.consumer(broker.address, "g")
    lives.subscribe(["t"])
    # A member that speaks the protocol by hand, once: it never gives a sign of life.
    silent = kafka.KafkaConsumer(bootstrap_servers=broker.address, group_id="g", session_timeout_ms=2000,
                                 heartbeat_interval_ms=1900, max_poll_interval_ms=300000)
    silent.subscribe(["t"])

    def both():
        silent.poll(timeout_ms=20)
        return partitions_of(lives) and silent.assignment()
    groups.poll_until([lives], both, "both share")
    silent._client.close()  # without a word to the coordinator
    groups.poll_until([lives], lambda: partitions_of(lives) == set(range(PARTITIONS)), "one has everything")
    lives.close()


def test_a_static_member_comes_back_without_a_rebalance(broker):
    fill(broker, "t")
    other, rebalances = groups.consumer(broker.address, "g", **{"group.instance.id": "other"}), []
    other.subscribe(["t"], on_assign=lambda _, parts: rebalances.append(len(parts)))
    static = groups.consumer(broker.address, "g", **{"group.instance.id": "one"})
    static.subscribe(["t"])
    groups.poll_until([other, static], lambda: shared([other, static]), "both share")
    part, before = partitions_of(static), len(rebalances)
    static.close()
    again = groups.consumer(broker.address, "g", **{"group.instance.id": "one"})
    again.subscribe(["t"])
    groups.poll_until([other, again], lambda: partitions_of(again) == part, "it has its part again")
    assert len(rebalances) == before
    # Also over a restart of the broker.
    broker.kill()
    broker.start()
    log.produce(broker.address, "t", [(p, None, b"new", None) for p in range(PARTITIONS)])
    seen = []

    def all_new():
        for member in (other, again):
            message = member.poll(0.02)
            if message is not None and not message.error() and message.value() == b"new":
                seen.append(message.partition())
        return sorted(seen) == list(range(PARTITIONS))
    wait_until(all_new, "both go on", 60, every=0)
    # A second one of the same name takes its place.
    thief = groups.consumer(broker.address, "g", **{"group.instance.id": "one"})
    thief.subscribe(["t"])
    fenced = []

    def is_fenced():
        thief.poll(0.02)
        other.poll(0.02)
        message = again.poll(0.02)
        error = message.error() if message is not None else None
        if error and error.code() == confluent_kafka.KafkaError._FATAL:
            fenced.append(error)
        return fenced
    wait_until(is_fenced, "the first is fenced", 60, every=0)
    assert "fenced" in str(fenced[0]).lower()
    for member in (thief, again, other):
        member.close()


def test_administration(broker):
    fill(broker, "t")
    fill(broker, "u")
    member = groups.consumer(broker.address, "busy")
    member.subscribe(["t"])
    groups.read(member, 40)
    member.commit(asynchronous=False)
    client = groups.admin(broker.address)
    topic_partition = confluent_kafka.TopicPartition
    wanted = confluent_kafka.ConsumerGroupTopicPartitions("idle", [topic_partition("u", 1, 7, "note")])
    client.alter_consumer_group_offsets([wanted])["idle"].result(60)
    assert groups.committed(broker.address, "idle", "u", 2) == [None, 7]
    listed = client.list_consumer_groups().result(60).valid
    assert {(g.group_id, g.state.name) for g in listed} == {("busy", "STABLE"), ("idle", "EMPTY")}
    states = {confluent_kafka.ConsumerGroupState.STABLE}
    assert [g.group_id for g in client.list_consumer_groups(states=states).result(60).valid] == ["busy"]
    described = client.describe_consumer_groups(["busy"])["busy"].result(60)
    assert (described.partition_assignor, len(described.members)) == ("range", 1)
    assert len(described.members[0].assignment.topic_partitions) == PARTITIONS
    with pytest.raises(confluent_kafka.KafkaException, match="not empty|NON_EMPTY"):
        client.delete_consumer_groups(["busy"])["busy"].result(60)
    member.close()
    for group in ("busy", "idle"):
        client.delete_consumer_groups([group])[group].result(60)
    assert client.list_consumer_groups().result(60).valid == []
    broker.kill()
    broker.start()
    assert groups.committed(broker.address, "idle", "u", 2) == [None, None]


def test_the_tutorial(broker):
    """Twice: the second run goes on where the first one ended."""
    tutorial = pathlib.Path(__file__).parent / "examples/tutorial.py"
    for _ in range(2):
        done = subprocess.run([sys.executable, tutorial, broker.address], capture_output=True, text=True, timeout=120,
                              check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        assert json.loads(done.stdout) == {"ada": 15, "barbara": 7, "grace": 20}


def test_lag_is_shown(broker):
    fill(broker, "t")
    with_confluent(broker.address, "g", 40)
    log.produce(broker.address, "t", [(1, None, b"new", None)] * 3)
    wait_until(lambda: broker.metric("runnel_group_lag_records") == 3, "the lag")
    assert 'runnel_group_lag_records{group="g",topic="t"} 3' in broker.http("/metrics")[1]
    member = groups.consumer(broker.address, "g")
    member.subscribe(["t"])
    groups.read(member, 3)
    member.commit(asynchronous=False)
    wait_until(lambda: broker.metric("runnel_group_members") == 1 and not broker.metric("runnel_group_lag_records"),
               "a member, and no lag")
    member.close()
    wait_until(lambda: broker.metric("runnel_group_members") == 0, "no member")


def test_what_cannot_be_committed(broker):
    fill(broker, "t")
    client = groups.consumer(broker.address, "g")

    def commit(topic, partition, metadata=""):
        offsets = [confluent_kafka.TopicPartition(topic, partition, 1, metadata)]
        return client.commit(offsets=offsets, asynchronous=False)[0].error
    assert commit("t", 0) is None
    code = confluent_kafka.KafkaError
    for refused, error in [(("t", PARTITIONS), code.UNKNOWN_TOPIC_OR_PART), (("u", 0), code.UNKNOWN_TOPIC_OR_PART),
                           (("t", 0, "x" * 4097), code.OFFSET_METADATA_TOO_LARGE)]:
        with pytest.raises(confluent_kafka.KafkaException) as raised:
            commit(*refused)
        assert raised.value.args[0].code() == error
    client.close()


def test_offsets_go_with_their_topic(broker):
    fill(broker, "t")
    assert with_confluent(broker.address, "g", 40)
    log.delete_topic(broker.address, "t")
    fill(broker, "t", 4)
    assert groups.committed(broker.address, "g", "t", PARTITIONS) == [None] * PARTITIONS
    assert len(with_confluent(broker.address, "g", 4)) == 4


def test_the_topic_of_offsets_is_the_brokers_own(broker):
    fill(broker, "t")
    assert "__consumer_offsets" not in groups.admin(broker.address).list_topics(timeout=60).topics
    assert with_confluent(broker.address, "g", 40)
    client = kafka.KafkaAdminClient(bootstrap_servers=broker.address)
    described = client.describe_topics(["__consumer_offsets"])[0]
    assert described["is_internal"] and len(described["partitions"]) == 50
    producer = log.producer(broker.address)
    refused = []
    producer.produce("__consumer_offsets", b"x", on_delivery=lambda error, _: refused.append(error))
    producer.flush(60)
    assert refused[0].code() == confluent_kafka.KafkaError.TOPIC_EXCEPTION
    with pytest.raises(kafka.errors.KafkaError):
        client.delete_topics(["__consumer_offsets"])
    client.close()
    # Kafka's own format, at the place where Kafka has it.
    everything = log.read_all(broker.address, "__consumer_offsets")
    keys = {record.key for records in everything.values() for record in records}
    assert {b"\0\x02\0\x01g"} | {b"\0\x01\0\x01g\0\x01t\0\0\0" + bytes([p]) for p in range(PARTITIONS)} == keys
    assert [p for p, records in everything.items() if records] == [ord("g") % 50]


class Committer(Background):
    """Commits ever larger offsets, one after the other, and keeps what was acknowledged."""

    def __init__(self, address, group, partition):
        self.address, self.group, self.partition = address, group, partition
        self.tried = self.acked = 0
        super().__init__()

    def _run(self):
        client = groups.consumer(self.address, self.group)
        while not self.ending.is_set():
            self.tried += 1
            try:
                done = client.commit(offsets=[confluent_kafka.TopicPartition("t", self.partition, self.tried)],
                                     asynchronous=False)
                if done[0].error is None:
                    self.acked = self.tried
            except confluent_kafka.KafkaException:
                pass  # the broker is away: its outcome is unknown
        client.close()


@pytest.mark.parametrize("max_age", ["1s", "1m"])
def test_acknowledged_commits_survive_kills(make_broker, max_age):
    """With the offsets shipped all the time, and with all of them in the log."""
    broker = make_broker(groups.QUICK | {"SEGMENT__MAX_AGE": max_age}).start()
    fill(broker, "t")
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    print(f"seed {seed}")
    committers = [Committer(broker.address, f"g{n}", n % PARTITIONS).start() for n in range(6)]
    for _ in range(10):
        time.sleep(rng.uniform(0.1, 0.6))  # a moment of load: the moment of the kill is meant to be arbitrary
        acked = [committer.acked for committer in committers]
        broker.kill()
        broker.start()
        for committer, least in zip(committers, acked):
            found = groups.committed(broker.address, committer.group, "t", PARTITIONS)[committer.partition] or 0
            assert least <= found <= committer.tried, (committer.group, least, found, committer.tried)
    for committer in committers:
        committer.finish()
    broker.kill()
    broker.start()
    for committer in committers:
        assert committer.acked > 0
        found = groups.committed(broker.address, committer.group, "t", PARTITIONS)[committer.partition]
        assert committer.acked <= found <= committer.tried


def test_kills_in_the_middle_of_rebalances(broker):
    """Members come and go while the broker dies: nothing is skipped, and in the end the survivors share everything."""
    log.create_topic(broker.address, "t", PARTITIONS)
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    print(f"seed {seed}")
    members, seen, written = [], set(), 0
    for _ in range(6):
        records = [(i % PARTITIONS, None, b"%d" % i, None) for i in range(written, written + 20)]
        log.produce(broker.address, "t", records)
        written += 20
        members.append(groups.consumer(broker.address, "g", **{"enable.auto.commit": True}))
        members[-1].subscribe(["t"])
        if len(members) > 2:
            members.pop(rng.randrange(len(members))).close()
        until = time.monotonic() + rng.uniform(0, 1.5)
        seen.update(groups.poll_until(members, lambda: time.monotonic() > until, "a moment"))
        broker.kill()
        broker.start()
    seen.update(groups.poll_until(members, lambda: shared(members), "the survivors share"))
    missing = {b"%d" % i for i in range(written)}

    def all_read():
        for member in members:
            message = member.poll(0.02)
            if message is not None and not message.error():
                seen.add(message.value())
        return missing <= seen
    wait_until(all_read, "everything is read", 60, every=0)
    for member in members:
        member.close()
