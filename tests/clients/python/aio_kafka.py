"""aiokafka. Its calls run on one event loop, one after the other."""
import asyncio

import aiokafka
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from contract import consumed, decode, headers_of, serve

LOOP = asyncio.new_event_loop()


def wait(coroutine):
    return LOOP.run_until_complete(coroutine)


def produce(request):
    settings = {"compression_type": request["codec"]} if request["codec"] not in (None, "none") else {}
    if request["idempotent"]:
        settings["enable_idempotence"] = True

    async def run():
        async with aiokafka.AIOKafkaProducer(bootstrap_servers=request["bootstrap"], **settings) as client:
            sent = [await client.send(request["topic"], decode(record["value"]), decode(record["key"]), record["partition"],
                                      record["timestamp"], headers_of(record)) for record in request["records"]]
            await asyncio.gather(*sent)
    wait(run())


async def reader(request):
    client = aiokafka.AIOKafkaConsumer(bootstrap_servers=request["bootstrap"], enable_auto_commit=False)
    await client.start()
    return client


async def assigned(request, partitions):
    client = await reader(request)
    client.assign(partitions)
    return client


def consume(request):
    partitions = [aiokafka.TopicPartition(request["topic"], p) for p in request["partitions"]]
    client = wait(assigned(request, partitions))
    if request["time"] is not None:
        for partition, found in wait(client.offsets_for_times({p: request["time"] for p in partitions})).items():
            client.seek(partition, found.offset)
    elif request["offset"] is not None:
        for partition in partitions:
            client.seek(partition, request["offset"])
    else:
        wait(client.seek_to_beginning(*partitions))
    left = request["count"]
    while left:
        for records in wait(client.getmany(timeout_ms=1000, max_records=left)).values():
            for r in records:
                yield consumed(r.partition, r.offset, r.timestamp, r.key, r.value, r.headers)
                left -= 1
    wait(client.stop())


def with_admin(request, work):
    async def run():
        client = AIOKafkaAdminClient(bootstrap_servers=request["bootstrap"])
        await client.start()
        try:
            return await work(client)
        finally:
            await client.close()
    return wait(run())


def create(request):
    topic = NewTopic(request["topic"], request["partitions"], 1, topic_configs=request["config"])
    with_admin(request, lambda client: client.create_topics([topic]))


def alter(request):
    resource = ConfigResource(ConfigResourceType.TOPIC, request["topic"], request["config"])
    with_admin(request, lambda client: client.alter_configs([resource]))


def describe(request):
    name = request["topic"]
    topic, = with_admin(request, lambda client: client.describe_topics([name]))
    partitions = [aiokafka.TopicPartition(name, p) for p in range(len(topic["partitions"]))]
    client = wait(reader(request))
    earliest, latest = wait(client.beginning_offsets(partitions)), wait(client.end_offsets(partitions))
    wait(client.stop())
    resource = ConfigResource(ConfigResourceType.TOPIC, name)
    answers = with_admin(request, lambda client: client.describe_configs([resource]))
    entries = answers[0].resources[0][4]
    yield {"partitions": len(partitions), "earliest": [earliest[p] for p in partitions],
           "latest": [latest[p] for p in partitions], "config": {entry[0]: entry[1] for entry in entries}}


def delete(request):
    with_admin(request, lambda client: client.delete_topics([request["topic"]]))


serve(produce=produce, consume=consume, create=create, alter=alter, describe=describe, delete=delete)
