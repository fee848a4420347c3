"""What is done with a cluster beside writing and reading: records are deleted, topics come and go, settings change.

All of it is tried again until it is done: whoever does it meets the same faults as everybody.
"""
import time

import confluent_kafka
from confluent_kafka import admin

from harness import log
from harness.history import Load, Recorder, content, now, number_of

from .hands import Hand

PATIENCE = 600  # seconds, for what is tried again
EVENTS, TRIMMED = "events", "trimmed"
PARTITIONS_TRIMMED, PARTITIONS_FLEETING = 2, 3
GONE = confluent_kafka.KafkaError.UNKNOWN_TOPIC_OR_PART
THERE = confluent_kafka.KafkaError.TOPIC_ALREADY_EXISTS


def insist(deed, enough=()):
    """Does it until it succeeds, or fails with one of these codes: what became of an attempt before may be known only so."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return deed()
        except (confluent_kafka.KafkaException, TimeoutError, AssertionError) as error:
            code = error.args[0].code() if isinstance(error, confluent_kafka.KafkaException) else None
            if code in enough:
                return None
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


class Operator(Hand):
    """Somebody with rights."""

    def __init__(self, cluster, seed, say):
        super().__init__(cluster, seed, say, rest=6.0)
        self.address = cluster.bootstrap()
        self.trims, self.recorders, self.guests = Recorder("operator", TRIMMED), [], 0

    def deeds(self):
        return [self.delete_records, self.delete_records, self.make_and_delete_a_topic, self.change_durability]

    def delete_records(self):
        """Below some offset: the low watermark only rises."""
        partition = self.rng.randrange(PARTITIONS_TRIMMED)
        place = confluent_kafka.TopicPartition(TRIMMED, partition)
        place.offset = self.rng.randrange(insist(lambda: self._end(place)) + 1)
        self.say(f"records of {TRIMMED}-{partition} below {place.offset} are deleted")
        self.trims.tell("trim", f'"partition":{partition},"before":{place.offset}')
        begin = now()
        deleted = insist(lambda: self._delete_below(place))
        self.trims.tell("offsets", f'"partition":{partition},"begin":{begin},"log_start":{deleted.low_watermark},"end":null')

    def _client(self):
        """A new one each time: one that was there when nobody led a partition went on to find no leader for ten minutes."""
        return admin.AdminClient({"bootstrap.servers": self.address})

    def _end(self, place):
        client = self._client()  # it must live for as long as its future, here and below
        end = client.list_offsets({place: admin.OffsetSpec.latest()})[place].result(20).offset
        assert end >= 0, f"librdkafka does not know where {place} ends"
        return end

    def _delete_below(self, place):
        client = self._client()
        return client.delete_records([place], request_timeout=20)[place].result(30)

    def _alter(self, resource):
        client = self._client()
        return client.incremental_alter_configs([resource], request_timeout=20)[resource].result(30)

    def make_and_delete_a_topic(self):
        """Its name is not used again: a broker that has no touch with etcd knows only what was there before."""
        self.guests += 1
        topic, guest = f"fleeting-{self.guests}", f"guest-{self.guests}"
        self.say(f"topic {topic} is made")
        insist(lambda: log.create_topic(self.address, topic, PARTITIONS_FLEETING), enough=[THERE])
        load = Load(self.address, topic, PARTITIONS_FLEETING, guest, pause=0.02).start()
        self.for_a_while(6)
        load.finish()
        reader = Recorder(f"reader-of-{topic}", topic)
        record_all(reader, insist(lambda: log.read_all(self.address, topic)))
        for recorder in (load.history, reader):
            recorder.lines.close()
            self.recorders.append(recorder)
        self.say(f"topic {topic} is deleted, with {len(load.acked)} records")
        insist(lambda: log.delete_topic(self.address, topic), enough=[GONE])

    def change_durability(self):
        value = self.rng.choice(["local", "object"])
        self.say(f"records of {EVENTS} are acknowledged as `{value}` from here on")
        entry = admin.ConfigEntry("runnel.durability", value, incremental_operation=admin.AlterConfigOpType.SET)
        resource = admin.ConfigResource(admin.ResourceType.TOPIC, EVENTS, incremental_configs=[entry])
        insist(lambda: self._alter(resource))

    def read_what_is_left(self):
        """All that was not deleted, with where the log begins."""
        reader, asker, starts = Recorder("reader-of-the-rest", TRIMMED), log.reader(self.address), {}
        try:
            for partition in range(PARTITIONS_TRIMMED):
                begin, place = now(), confluent_kafka.TopicPartition(TRIMMED, partition)
                starts[partition], end = asker.get_watermark_offsets(place, timeout=60)
                reader.tell("offsets",
                            f'"partition":{partition},"begin":{begin},"log_start":{starts[partition]},"end":{end}')
        finally:
            asker.close()
        record_all(reader, log.read_all(self.address, TRIMMED, starts))
        return reader


def record_all(reader, found):
    """Writes down what somebody read of whole partitions."""
    for partition, records in found.items():
        if records:
            reader.seek(partition, records[0].offset)
            reader.poll(partition, [(r.offset, number_of(r.value), content(r.timestamp, r.key, r.value, r.headers))
                                    for r in records])
