"""confluent-kafka: librdkafka in Python."""
import confluent_kafka
from confluent_kafka import TopicPartition, admin
from contract import consumed, decode, headers_of, serve

SECONDS = 30


def produce(request):
    settings = {"bootstrap.servers": request["bootstrap"]}
    if request["codec"]:
        settings["compression.type"] = request["codec"]
    if request["java_keys"]:
        settings["partitioner"] = "murmur2_random"
    if request["idempotent"]:
        settings["enable.idempotence"] = True
    client, errors = confluent_kafka.Producer(settings), []
    for record in request["records"]:
        optional = {name: record[name] for name in ("partition", "timestamp") if record[name] is not None}
        client.produce(request["topic"], decode(record["value"]), decode(record["key"]), headers=headers_of(record),
                       on_delivery=lambda error, _: errors.append(error) if error else None, **optional)
    if client.flush(SECONDS) or errors:
        raise RuntimeError(f"not acknowledged: {errors[:1]}")


def consumer(request):
    # librdkafka assigns nothing without the name of a group, even where the group does nothing.
    return confluent_kafka.Consumer({"bootstrap.servers": request["bootstrap"], "group.id": "unused",
                                     "enable.auto.commit": False, "auto.offset.reset": "error"})


def consume(request):
    client = consumer(request)
    start = confluent_kafka.OFFSET_BEGINNING if request["offset"] is None else request["offset"]
    assigned = [TopicPartition(request["topic"], p, start) for p in request["partitions"]]
    if request["time"] is not None:
        timed = [TopicPartition(request["topic"], p, request["time"]) for p in request["partitions"]]
        assigned = client.offsets_for_times(timed, timeout=SECONDS)
    client.assign(assigned)
    left = request["count"]
    while left:
        for message in client.consume(left, timeout=0.1):
            if message.error():
                raise RuntimeError(message.error())
            yield consumed(message.partition(), message.offset(), message.timestamp()[1], message.key(), message.value(),
                           message.headers() or [])
            left -= 1
    client.close()


def administrator(request):
    return admin.AdminClient({"bootstrap.servers": request["bootstrap"]})


def create(request):
    client = administrator(request)
    topic = admin.NewTopic(request["topic"], request["partitions"], config=request["config"])
    client.create_topics([topic])[topic.topic].result(SECONDS)


def alter(request):
    client = administrator(request)
    entries = [admin.ConfigEntry(name, value, incremental_operation=admin.AlterConfigOpType.SET)
               for name, value in request["config"].items()]
    resource = admin.ConfigResource(admin.RESOURCE_TOPIC, request["topic"], incremental_configs=entries)
    client.incremental_alter_configs([resource])[resource].result(SECONDS)


def describe(request):
    client, name = administrator(request), request["topic"]
    partitions = sorted(client.list_topics(name, timeout=SECONDS).topics[name].partitions)
    answer = {"partitions": len(partitions)}
    for which, spec in [("earliest", admin.OffsetSpec.earliest()), ("latest", admin.OffsetSpec.latest())]:
        found = client.list_offsets({TopicPartition(name, p): spec for p in partitions})
        answer[which] = [offset.result(SECONDS).offset for offset in found.values()]
    resource = admin.ConfigResource(admin.RESOURCE_TOPIC, name)
    entries = client.describe_configs([resource])[resource].result(SECONDS)
    yield answer | {"config": {name: entry.value for name, entry in entries.items()}}


def delete(request):
    client = administrator(request)
    client.delete_topics([request["topic"]])[request["topic"]].result(SECONDS)


serve(produce=produce, consume=consume, create=create, alter=alter, describe=describe, delete=delete)
