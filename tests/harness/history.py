"""What was acknowledged and what was seen, and whether the log at the end agrees."""
import threading

import confluent_kafka

from . import log


class Background:
    """Does `_run` in a thread of its own until it is told to end."""

    def __init__(self):
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        self.thread.start()
        return self

    def finish(self):
        """Ends it and waits until it has."""
        self.ending.set()
        self.thread.join()

    def _run(self):
        raise NotImplementedError


class Load(Background):
    """An idempotent producer that numbers its records per partition, in a thread of its own."""

    def __init__(self, address, topic, partitions, name, pause=0.002, value_bytes=200):
        self.topic, self.partitions, self.name, self.pause = topic, partitions, name, pause
        self.filler = "x" * value_bytes
        self.sent = [0] * partitions
        self.acked = []        # (partition, number, offset), in the order of the acknowledgements
        self.failures = []
        self.client = confluent_kafka.Producer({
            "bootstrap.servers": address, "enable.idempotence": True, "linger.ms": 2,
            "message.timeout.ms": 300_000, "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200,
            "retry.backoff.ms": 50, "error_cb": self._error})
        super().__init__()

    def finish(self):
        """Stops producing and waits until everything sent is acknowledged."""
        super().finish()
        assert self.client.flush(120) == 0, "records were never acknowledged"
        assert not self.failures, self.failures[:5]

    def _run(self):
        turn = 0
        while not self.ending.is_set():
            for _ in range(10):
                p = turn % self.partitions
                turn += 1
                try:
                    self.client.produce(self.topic, f"{self.name}:{self.sent[p]}:{self.filler}", partition=p,
                                        on_delivery=self._delivered)
                except BufferError:
                    break
                self.sent[p] += 1
            self.client.poll(self.pause)
            self.ending.wait(self.pause)

    def _error(self, error):
        if error.fatal():
            self.failures.append(error)

    def _delivered(self, error, message):
        if error is not None:
            self.failures.append(error)
        else:
            self.acked.append((message.partition(), number_of(message.value())[1], message.offset()))


class Watcher(Background):
    """A consumer that reads along and keeps what it saw."""

    def __init__(self, address, topic, partitions):
        self.seen = {}         # (partition, offset) -> (timestamp, value)
        self.conflicts = []
        self.client = confluent_kafka.Consumer({
            "bootstrap.servers": address, "group.id": "watcher", "enable.auto.commit": False,
            "auto.offset.reset": "error", "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200})
        self.client.assign([confluent_kafka.TopicPartition(topic, p, 0) for p in range(partitions)])
        super().__init__()

    def finish(self):
        super().finish()
        self.client.close()
        assert not self.conflicts, self.conflicts[:5]

    def _run(self):
        while not self.ending.is_set():
            for message in self.client.consume(1000, timeout=0.1):
                error = message.error()
                if error is None:
                    at = (message.partition(), message.offset())
                    content = (message.timestamp()[1], message.value())
                    if self.seen.setdefault(at, content) != content:
                        self.conflicts.append((at, "two contents"))
                elif not error.retriable() and error.code() in (
                        confluent_kafka.KafkaError.OFFSET_OUT_OF_RANGE, confluent_kafka.KafkaError._AUTO_OFFSET_RESET):
                    self.conflicts.append(error)


def number_of(value):
    """(name of the producer, number) of a record of `Load`."""
    name, number, _ = value.decode().split(":", 2)
    return name, int(number)


def check(final, loads, watcher=None):
    """Nothing acknowledged is lost, moved, repeated or reordered; nothing seen has changed."""
    log.assert_contiguous(final)
    for load in loads:
        for p, records in final.items():
            numbers = [n for name, n in (number_of(r.value) for r in records) if name == load.name]
            assert numbers == sorted(set(numbers)), f"partition {p}: duplicates or reordering of {load.name}"
            assert numbers == list(range(load.sent[p])), f"partition {p}: lost records of {load.name}"
        for p, number, offset in load.acked:
            found = number_of(final[p][offset].value)
            assert found == (load.name, number), f"partition {p} offset {offset}: acked {number}, reads {found}"
    for (p, offset), content in (watcher.seen if watcher else {}).items():
        assert (final[p][offset].timestamp, final[p][offset].value) == content, f"partition {p} offset {offset} changed"
