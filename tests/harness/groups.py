"""Consumers in groups, as the Python libraries have them."""
import confluent_kafka
import confluent_kafka.admin

from .process import wait_until

# A group rebalances at once, asks its members often and misses one soon: for tests that wait for it.
QUICK = {"GROUPS__INITIAL_REBALANCE_DELAY": "100ms", "GROUPS__MIN_SESSION_TIMEOUT": "1s",
         "GROUPS__CONSUMER_SESSION_TIMEOUT": "6s", "GROUPS__CONSUMER_HEARTBEAT_INTERVAL": "200ms"}


def consumer(address, group, **settings):
    """A confluent-kafka consumer that commits when it is told to."""
    return confluent_kafka.Consumer({
        "bootstrap.servers": address, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False,
        "session.timeout.ms": 6000, "heartbeat.interval.ms": 500, "reconnect.backoff.ms": 20,
        "reconnect.backoff.max.ms": 200, "topic.metadata.refresh.interval.ms": 1000, **settings})


def admin(address):
    return confluent_kafka.admin.AdminClient({"bootstrap.servers": address})


def committed(address, group, topic, partitions):
    """What is committed, by partition; None for nothing."""
    asked = [confluent_kafka.TopicPartition(topic, p) for p in range(partitions)]
    request = confluent_kafka.ConsumerGroupTopicPartitions(group, asked)
    client = admin(address)  # it must live for as long as its future
    found = client.list_consumer_group_offsets([request])[group].result(60).topic_partitions
    assert not any(p.error for p in found), found
    return [p.offset if p.offset >= 0 else None for p in found]


def read(client, count, seconds=60):
    """The next `count` records of a confluent-kafka consumer: (partition, offset, value)."""
    found = []
    for message in iter(lambda: client.poll(seconds), None):
        if message.error():
            assert message.error().retriable(), message.error()
            continue
        found.append((message.partition(), message.offset(), message.value()))
        if len(found) == count:
            return found
    raise AssertionError(f"only {len(found)} of {count} records came")


def state(address, group):
    """(state, number of members)."""
    client = admin(address)
    described = client.describe_consumer_groups([group])[group].result(60)
    return described.state.name, len(described.members)


def poll_until(members, condition, what, seconds=60):
    """Polls consumers until a condition holds; the values that they read meanwhile."""
    found = []

    def done():
        for member in members:
            message = member.poll(0.02)
            if message is not None and not message.error():
                found.append(message.value())
        return condition()
    wait_until(done, what, seconds, every=0)
    return found
