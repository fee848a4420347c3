"""Groups of the consumer protocol (KIP-848), with the clients that speak it."""
import itertools
import random
import re
import time

import confluent_kafka
import pytest

from harness import groups, log, rpc
from harness.process import wait_until
from harness.tools import java

PARTITIONS = 4


@pytest.fixture
def broker(make_broker):
    return make_broker(groups.QUICK).start()


def consumer(address, group, **settings):
    """A confluent-kafka consumer of the new protocol that commits when it is told to."""
    return confluent_kafka.Consumer({
        "bootstrap.servers": address, "group.id": group, "group.protocol": "consumer", "auto.offset.reset": "earliest",
        "enable.auto.commit": False, "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200,
        "topic.metadata.refresh.interval.ms": 1000, **settings})


def subscribed(address, group, topics=("t",), **settings):
    member = consumer(address, group, **settings)
    member.subscribe(list(topics))
    return member


def fill(broker, topic, count=40, partitions=PARTITIONS):
    log.create_topic(broker.address, topic, partitions)
    log.produce(broker.address, topic, [(i % partitions, None, b"%d" % i, None) for i in range(count)])


def partitions_of(member):
    return {p.partition for p in member.assignment()}


def shared(members, count=PARTITIONS):
    """Every partition belongs to one of the members, and their shares differ by one at most."""
    parts = [partitions_of(member) for member in members]
    sizes = [len(part) for part in parts]
    return max(sizes) - min(sizes) <= 1 and sorted(itertools.chain(*parts)) == list(range(count))


def types_of(broker):
    """What each group's members speak."""
    client = groups.admin(broker.address)  # it must live for as long as its future
    return {group.group_id: group.type for group in client.list_consumer_groups().result(60).valid}


def close(members):
    for member in members:
        member.close()


def test_members_share_and_go_on_where_they_were(broker):
    fill(broker, "t")
    members = [subscribed(broker.address, "g") for _ in range(3)]
    read = groups.poll_until(members, lambda: shared(members), "three members share")
    read += groups.poll_until(members, lambda: len(set(read)) == 40 or shared(members), "they read")
    wanted = {b"%d" % i for i in range(40)}
    found = set(read)

    def all_read():
        found.update(groups.poll_until(members, lambda: True, "a moment"))
        return wanted <= found
    wait_until(all_read, "everything is read", 60, every=0)
    for member in members:
        member.commit(asynchronous=False)
    close(members[1:])
    groups.poll_until(members[:1], lambda: shared(members[:1]), "one has everything")
    close(members[:1])
    assert groups.committed(broker.address, "g", "t", PARTITIONS) == [10] * PARTITIONS
    broker.kill()
    broker.start()
    log.produce(broker.address, "t", [(1, None, b"new", None)])
    again = subscribed(broker.address, "g")
    assert [value for _, _, value in groups.read(again, 1)] == [b"new"]
    again.commit(asynchronous=False)
    again.close()
    assert groups.committed(broker.address, "g", "t", PARTITIONS) == [10, 11, 10, 10]


@pytest.mark.parametrize("assignor", ["uniform", "range"])
def test_a_member_that_dies_loses_its_part(broker, assignor):
    fill(broker, "t")
    settings = {"group.remote.assignor": assignor}
    lives = subscribed(broker.address, "g", **settings)
    # One that stops polling leaves by itself.
    dies = subscribed(broker.address, "g", **settings, **{"max.poll.interval.ms": 6000})
    groups.poll_until([lives, dies], lambda: shared([lives, dies]), "both share")
    groups.poll_until([lives], lambda: shared([lives]), "one has everything")
    close([lives, dies])


def test_new_partitions_and_topics_are_found(broker):
    fill(broker, "t")
    member = subscribed(broker.address, "g", ["^t.*"])
    groups.poll_until([member], lambda: len(member.assignment()) == PARTITIONS, "the topic")
    fill(broker, "two", 4)
    fill(broker, "other", 4)
    both = {"t", "two"}
    groups.poll_until([member], lambda: {p.topic for p in member.assignment()} == both, "a topic of the expression")
    client = groups.admin(broker.address)
    client.create_partitions([confluent_kafka.admin.NewPartitions("t", PARTITIONS + 2)])["t"].result(60)
    groups.poll_until([member], lambda: len(member.assignment()) == 2 * PARTITIONS + 2, "new partitions")
    log.delete_topic(broker.address, "two")
    groups.poll_until([member], lambda: {p.topic for p in member.assignment()} == {"t"}, "the topic is gone")
    member.close()


def test_a_malformed_expression_is_refused(broker):
    fill(broker, "t")
    member = subscribed(broker.address, "g", [r"^(t)\1"])
    errors = []

    def refused():
        message = member.poll(0.02)
        if message is not None and message.error():
            errors.append(str(message.error()))
        return errors
    wait_until(refused, "the expression is refused", 60, every=0)
    assert "regular expression" in errors[0].lower(), errors
    member.close()


def test_a_static_member_comes_back_to_its_part(broker):
    fill(broker, "t")
    settings = {"group.instance.id": "one"}
    other, changes = consumer(broker.address, "g"), []
    other.subscribe(["t"], on_assign=lambda _, parts: changes.append(len(parts)),
                    on_revoke=lambda _, parts: changes.append(-len(parts)))
    static = subscribed(broker.address, "g", **settings)
    groups.poll_until([other, static], lambda: shared([other, static]), "both share")
    part, before = partitions_of(static), list(changes)
    static.close()
    again = subscribed(broker.address, "g", **settings)
    groups.poll_until([other, again], lambda: partitions_of(again) == part, "it has its part again")
    assert changes == before
    close([other, again])


def test_administration(broker):
    fill(broker, "t")
    member = subscribed(broker.address, "new")
    groups.poll_until([member], lambda: shared([member]), "it has everything")
    old = groups.consumer(broker.address, "old")
    old.subscribe(["t"])
    groups.poll_until([old], lambda: shared([old]), "it has everything")
    client = groups.admin(broker.address)
    types = confluent_kafka.ConsumerGroupType
    for kind, name in [(types.CONSUMER, "new"), (types.CLASSIC, "old")]:
        assert [g.group_id for g in client.list_consumer_groups(types={kind}).result(60).valid] == [name]
    described = client.describe_consumer_groups(["new"])["new"].result(60)
    assert (described.type, described.state.name, described.partition_assignor) == (types.CONSUMER, "STABLE", "uniform")
    assert {p.partition for p in described.members[0].assignment.topic_partitions} == set(range(PARTITIONS))
    assert {p.partition for p in described.members[0].target_assignment.topic_partitions} == set(range(PARTITIONS))
    with pytest.raises(confluent_kafka.KafkaException, match="not empty|NON_EMPTY"):
        client.delete_consumer_groups(["new"])["new"].result(60)
    close([member, old])
    client.delete_consumer_groups(["new"])["new"].result(60)
    assert [g.group_id for g in client.list_consumer_groups().result(60).valid] == ["old"]


def test_java_tools(broker):
    """The console consumer in the new protocol, and what `kafka-consumer-groups` says of its group."""
    fill(broker, "t", 10, 2)
    server = ("--bootstrap-server", broker.address)
    read = java("consumer.ConsoleConsumer", *server, "--topic", "t", "--group", "g", "--max-messages", "10",
                "--command-property", "group.protocol=consumer", "--command-property", "auto.offset.reset=earliest")
    assert sorted(map(int, read.split())) == list(range(10))
    tool = ("consumer.group.ConsumerGroupCommand", *server)
    assert java(*tool, "--list", "--type", "consumer").split() == ["GROUP", "TYPE", "g", "Consumer"]
    assert "g" not in java(*tool, "--list", "--type", "classic").split()
    shown = [line.split() for line in java(*tool, "--describe", "--group", "g").splitlines() if " t " in line]
    assert [(row[2], row[3], row[5]) for row in shown] == [("0", "5", "0"), ("1", "5", "0")]
    member = subscribed(broker.address, "g")
    groups.poll_until([member], lambda: len(member.assignment()) == 2, "it has everything")
    assert re.search(r"uniform +Stable", java(*tool, "--describe", "--group", "g", "--state"))
    shown = java(*tool, "--describe", "--group", "g", "--members", "--verbose")
    assert "t:0,1" in shown, shown
    member.close()
    assert "successful" in java(*tool, "--delete", "--group", "g")
    assert java(*tool, "--list").split() == []


@pytest.mark.parametrize("strategy", ["range", "cooperative-sticky"])
def test_a_group_changes_its_protocol_with_members_inside(broker, strategy):
    """Members are replaced one by one, and back; the broker dies on the way."""
    fill(broker, "t")

    def classic():
        member = groups.consumer(broker.address, "g", **{"partition.assignment.strategy": strategy})
        member.subscribe(["t"])
        return member
    types = confluent_kafka.ConsumerGroupType
    members = [classic(), classic()]
    read = set(groups.poll_until(members, lambda: shared(members), "two classic members share"))
    members.append(subscribed(broker.address, "g"))
    read |= set(groups.poll_until(members, lambda: shared(members), "a third of the new protocol shares"))
    assert types_of(broker) == {"g": types.CONSUMER}
    broker.kill()
    broker.start()
    members.pop(0).close()
    members.append(subscribed(broker.address, "g"))
    read |= set(groups.poll_until(members, lambda: shared(members), "another takes the place of the first"))
    close(members[1:])
    members = [members[0], classic()]
    read |= set(groups.poll_until(members, lambda: shared(members), "classic members share again"))
    assert types_of(broker) == {"g": types.CLASSIC}
    wanted = {b"%d" % i for i in range(40)}

    def all_read():
        read.update(groups.poll_until(members, lambda: True, "a moment"))
        return wanted <= read
    wait_until(all_read, "everything is read", 60, every=0)
    close(members)


@pytest.mark.parametrize("client", ["franz-go", "kafka-clients"])
def test_a_group_of_each_library_goes_on_where_it_was(broker, driver, client):
    fill(broker, "t")
    first = driver(client).read_in_group(broker.address, "t", "g", 40, "consumer")
    assert sorted(r.value for r in first) == sorted(b"%d" % i for i in range(40))
    assert types_of(broker) == {"g": confluent_kafka.ConsumerGroupType.CONSUMER}
    assert groups.committed(broker.address, "g", "t", PARTITIONS) == [10] * PARTITIONS
    broker.kill()
    broker.start()
    log.produce(broker.address, "t", [(1, None, b"new", None)])
    assert [r.value for r in driver(client).read_in_group(broker.address, "t", "g", 1, "consumer")] == [b"new"]
    assert groups.committed(broker.address, "g", "t", PARTITIONS) == [10, 11, 10, 10]


def test_kills_in_the_middle_of_rebalances(broker):
    """Members come, commit and go while the broker dies: nothing is skipped, and the survivors share everything."""
    log.create_topic(broker.address, "t", PARTITIONS)
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    print(f"seed {seed}")
    members, seen, written = [], set(), 0
    for _ in range(6):
        records = [(i % PARTITIONS, None, b"%d" % i, None) for i in range(written, written + 20)]
        log.produce(broker.address, "t", records)
        written += 20
        members.append(subscribed(broker.address, "g", **{"enable.auto.commit": True}))
        if len(members) > 2:
            members.pop(rng.randrange(len(members))).close()
        until = time.monotonic() + rng.uniform(0, 1.5)
        seen.update(groups.poll_until(members, lambda: time.monotonic() > until, "a moment"))
        broker.kill()
        broker.start()
    seen.update(groups.poll_until(members, lambda: shared(members), "the survivors share"))
    missing = {b"%d" % i for i in range(written)}

    def all_read():
        seen.update(groups.poll_until(members, lambda: True, "a moment"))
        return missing <= seen
    wait_until(all_read, "everything is read", 60, every=0)
    close(members)


def test_grpc_and_kafka_members_share_a_group(broker):
    fill(broker, "t")
    kafka = subscribed(broker.address, "g")
    read = groups.poll_until([kafka], lambda: shared([kafka]), "the Kafka member has everything")
    with rpc.Client(broker.grpc_address) as client:
        member = rpc.GroupMember(client, "g", ["t"], client_id="ada")

        def halves():
            return len(member.held) == 2 and partitions_of(kafka) | {p for _, p in member.held} == set(range(PARTITIONS))
        read += groups.poll_until([kafka], halves, "the two share")
        admin = groups.admin(broker.address)  # it must live for as long as its future
        described = admin.describe_consumer_groups(["g"])["g"].result(60)
        assert {m.client_id for m in described.members} == {"rdkafka", "ada"}
        # What is written now is read by one of them, each its own half, and once.
        log.produce(broker.address, "t", [(i % PARTITIONS, None, b"new %d" % i, None) for i in range(40)])
        new = {b"new %d" % i for i in range(40)}

        def all_read():
            read.extend(groups.poll_until([kafka], lambda: True, "a moment"))
            return new <= {*read, *member.read}
        wait_until(all_read, "every new record is read", 60, every=0)
        assert not new & set(read) & set(member.read)
        member.leave()
        assert not member.failed
    groups.poll_until([kafka], lambda: shared([kafka]), "the Kafka member has everything again")
    close([kafka])


def test_a_grpc_member_takes_a_group_of_classic_members_over(broker):
    fill(broker, "t")
    classic = groups.consumer(broker.address, "g")
    classic.subscribe(["t"])
    groups.poll_until([classic], lambda: shared([classic]), "the classic member has everything")
    with rpc.Client(broker.grpc_address) as client:
        member = rpc.GroupMember(client, "g", ["t"])
        groups.poll_until([classic], lambda: len(member.held) == 2 and len(partitions_of(classic)) == 2, "the two share")
        assert types_of(broker)["g"].name == "CONSUMER"
        classic.close()
        wait_until(lambda: len(member.held) == PARTITIONS, "the gRPC member has everything", 60)
        member.leave()
