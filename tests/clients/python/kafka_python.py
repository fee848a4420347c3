"""kafka-python."""
import kafka
from contract import consumed, decode, headers_of, serve
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic

SECONDS = 30


def produce(request):
    settings = {"compression_type": request["codec"]} if request["codec"] not in (None, "none") else {}
    client = kafka.KafkaProducer(bootstrap_servers=request["bootstrap"], **settings)
    sent = [client.send(request["topic"], decode(record["value"]), decode(record["key"]), headers_of(record),
                        record["partition"], record["timestamp"]) for record in request["records"]]
    for future in sent:
        future.get(SECONDS)
    client.close()


def consume(request):
    client = kafka.KafkaConsumer(bootstrap_servers=request["bootstrap"], enable_auto_commit=False)
    partitions = [kafka.TopicPartition(request["topic"], p) for p in request["partitions"]]
    client.assign(partitions)
    if request["time"] is not None:
        for partition, found in client.offsets_for_times({p: request["time"] for p in partitions}).items():
            client.seek(partition, found.offset)
    elif request["offset"] is not None:
        for partition in partitions:
            client.seek(partition, request["offset"])
    else:
        client.seek_to_beginning(*partitions)
    left = request["count"]
    while left:
        for records in client.poll(timeout_ms=1000, max_records=left).values():
            for r in records:
                yield consumed(r.partition, r.offset, r.timestamp, r.key, r.value, r.headers)
                left -= 1
    client.close()


def administrator(request):
    return kafka.KafkaAdminClient(bootstrap_servers=request["bootstrap"])


def create(request):
    administrator(request).create_topics([NewTopic(request["topic"], request["partitions"], 1,
                                                   topic_configs=request["config"])])


def alter(request):
    administrator(request).alter_configs([ConfigResource(ConfigResourceType.TOPIC, request["topic"], request["config"])])


def describe(request):
    client, name = administrator(request), request["topic"]
    topic, = client.describe_topics([name])
    reader = kafka.KafkaConsumer(bootstrap_servers=request["bootstrap"])
    partitions = [kafka.TopicPartition(name, p) for p in range(len(topic["partitions"]))]
    earliest, latest = reader.beginning_offsets(partitions), reader.end_offsets(partitions)
    configs = client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])["topic"][name]
    yield {"partitions": len(partitions), "earliest": [earliest[p] for p in partitions],
           "latest": [latest[p] for p in partitions], "config": {key: entry["value"] for key, entry in configs.items()}}


def delete(request):
    administrator(request).delete_topics([request["topic"]])


serve(produce=produce, consume=consume, create=create, alter=alter, describe=describe, delete=delete)
