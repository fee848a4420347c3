"""The tutorial of kafka-python, as people start with it: make a topic, write to it, read it in a group, commit.

`python tutorial.py HOST:PORT` does it once; `tests/test_groups.py` runs it as it is.
"""
import json
import sys

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic
from kafka.errors import TopicAlreadyExistsError


class OrderPipeline:
    """Orders go in, totals by customer come out."""

    def __init__(self, bootstrap_servers, topic="orders", group="billing"):
        self.bootstrap_servers, self.topic, self.group = bootstrap_servers, topic, group
        self.totals = {}

    def create_topic(self, partitions=3, replication_factor=1):
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap_servers)
        try:
            admin.create_topics([NewTopic(self.topic, partitions, replication_factor)])
        except TopicAlreadyExistsError:
            pass
        finally:
            admin.close()

    def produce(self, orders):
        producer = KafkaProducer(bootstrap_servers=self.bootstrap_servers, acks="all",
                                 key_serializer=str.encode, value_serializer=lambda value: json.dumps(value).encode())
        for customer, amount in orders:
            producer.send(self.topic, key=customer, value={"customer": customer, "amount": amount})
        producer.flush()
        producer.close()

    def consume(self, count):
        """Processes `count` orders, each committed after it was processed."""
        consumer = KafkaConsumer(self.topic, bootstrap_servers=self.bootstrap_servers, group_id=self.group,
                                 auto_offset_reset="earliest", enable_auto_commit=False,
                                 value_deserializer=lambda value: json.loads(value.decode()))
        for number, message in enumerate(consumer, start=1):
            self.process(message.value)
            consumer.commit()
            if number == count:
                break
        consumer.close()

    def process(self, order):
        self.totals[order["customer"]] = self.totals.get(order["customer"], 0) + order["amount"]


def main(bootstrap_servers):
    pipeline = OrderPipeline(bootstrap_servers)
    pipeline.create_topic(partitions=3, replication_factor=1)
    pipeline.produce([("ada", 10), ("grace", 20), ("ada", 5), ("barbara", 7)])
    pipeline.consume(4)
    print(json.dumps(pipeline.totals, sort_keys=True))


if __name__ == "__main__":
    main(sys.argv[1])
