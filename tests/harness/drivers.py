"""The drivers of client libraries (tests/clients/README.md): one process each, asked over its stdin and stdout."""
import base64
import json
import os
import pathlib
import subprocess
import sys
import threading

from . import log
from .process import die_with_parent

SOURCES = pathlib.Path(__file__).resolve().parent.parent / "clients"
SECONDS = 60


def built():
    """Where `cargo xtask install` puts what it builds."""
    return pathlib.Path(os.environ["CLIENT_DRIVERS"])


def python(script):
    return lambda: [sys.executable, SOURCES / "python" / script]


def node(script):
    return lambda: ["node", built() / "node" / script]


def binary(path):
    return lambda: [built() / path]


def java():
    return ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=off",
            "-cp", f"{os.environ['KAFKA_LIBS']}/*:{built() / 'java'}", "Driver"]


COMMANDS = {
    "confluent-kafka": python("confluent.py"),
    "kafka-python": python("kafka_python.py"),
    "aiokafka": python("aio_kafka.py"),
    "franz-go": binary("go/franz"),
    "sarama": binary("go/sarama"),
    "kafkajs": node("kafkajs.mjs"),
    "@platformatic/kafka": node("platformatic.mjs"),
    "rdkafka": binary("rust/rdkafka"),
    "rskafka": binary("rust/rskafka"),
    "kafka-clients": java,
}

CLIENTS = list(COMMANDS)

# Those whose driver reads in a group; the others are asked to in `test_groups.py` itself.
GROUPED = ["franz-go", "sarama", "kafkajs", "@platformatic/kafka", "kafka-clients"]

# What a library cannot do, as far as several tests must know; docs/kafka-compatibility.md tells the rest.
ONLY_PRODUCE = {"kafkajs"}
NO_CONFIG_OF_TOPICS = {"rskafka"}


class Driver:
    """One driver; a request that takes longer than so many seconds ends it."""

    def __init__(self, client, seconds=SECONDS):
        self.client, self.seconds = client, seconds
        self.process = subprocess.Popen([str(word) for word in COMMANDS[client]()], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent)

    def stop(self):
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()

    def answers(self, verb, bootstrap, topic, **fields):
        """Sends a request at once, then yields its answers as they come; fails with the error that the client had."""
        request = {"verb": verb, "bootstrap": bootstrap, "topic": topic} | fields
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self._read(verb)

    def ask(self, *args, **fields):
        """All answers to a request."""
        return list(self.answers(*args, **fields))

    def produce(self, bootstrap, topic, records, codec=None, **asked):
        """Produces (partition, key, value, headers, timestamp)."""
        fields = [{"partition": partition, "key": encode(key), "value": encode(value), "timestamp": timestamp,
                   "headers": [[name, encode(data)] for name, data in headers]}
                  for partition, key, value, headers, timestamp in records]
        settings = {"java_keys": False, "idempotent": False} | asked
        self.ask("produce", bootstrap, topic, records=fields, codec=codec, **settings)

    def consume(self, bootstrap, topic, partitions, count, offset=None, time=None, rack=None):
        """Starts reading, in a zone if the driver knows them; yields each `log.Record` as it comes."""
        answers = self.answers("consume", bootstrap, topic, partitions=partitions, count=count, offset=offset, time=time,
                               rack=rack)
        return (of_answer(answer) for answer in answers)

    def read_in_group(self, bootstrap, topic, group, count, protocol=None):
        """The next `count` records of a group, committed; in the library's own protocol, or in this one."""
        answers = self.ask("group", bootstrap, topic, group=group, count=count, protocol=protocol)
        return [of_answer(answer) for answer in answers]

    def _read(self, verb):
        overdue = threading.Timer(self.seconds, self.process.kill)
        overdue.start()
        try:
            while True:
                line = self.process.stdout.readline()
                assert line, f"{self.client} ended, or took more than {self.seconds} s, in {verb}"
                answer = json.loads(line)
                assert "error" not in answer, f"{self.client}: {answer['error']}"
                if "done" in answer:
                    return
                yield answer
        finally:
            overdue.cancel()


def of_answer(answer):
    headers = tuple((name, decode(data)) for name, data in answer["headers"])
    return log.Record(answer["partition"], answer["offset"], answer["timestamp"], decode(answer["key"]),
                      decode(answer["value"]), headers)


def encode(data):
    return None if data is None else base64.b64encode(data).decode()


def decode(text):
    return None if text is None else base64.b64decode(text)
