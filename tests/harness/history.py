"""What clients see, written down (docs/formats/history.md), and judged by `runnel-judge`."""
import itertools
import json
import os
import pathlib
import subprocess
import threading
import time
import zlib

import confluent_kafka

from . import log
from .process import wait_until


def now():
    """Microseconds, of a clock that all processes of this machine share and that never jumps."""
    return time.monotonic_ns() // 1000


# How long after a partition has moved an answer of the broker that led it before may still come, in microseconds.
LATE = 10_000_000


class Recorder:
    """The file of what happens to one client."""
    folder = None  # of the test, set in conftest.py
    numbers = itertools.count()

    def __init__(self, client, topic):
        self.client, self.topic = client, topic
        self.bounds = {}  # of each partition, as told last
        self.led = {}  # of each partition, by whom and since when
        self.folder.mkdir(exist_ok=True)
        self.path = self.folder / f"{next(self.numbers)}-{client}.jsonl"
        self.lines = self.path.open("w", buffering=1 << 16, encoding="ascii")

    def tell(self, event, fields, at=None):
        """Of the client and its topic; `fields` are the inner part of a JSON object."""
        self.lines.write(f'{{"{event}":{{"at":{at or now()},"client":"{self.client}","topic":"{self.topic}",{fields}}}}}\n')

    def of_client(self, event, fields=""):
        """Of the client as a whole."""
        self.lines.write(f'{{"{event}":{{"at":{now()},"client":"{self.client}"{fields}}}}}\n')

    def seek(self, partition, offset=None):
        self.tell("seek", f'"partition":{partition},"offset":{null(offset)}')

    def poll(self, partition, records, watermarks=(None, None), epoch=None):
        """`records` are (offset, value of a `Load`, content); `watermarks` are log start and high watermark."""
        shown = ",".join(f'[{offset},"{name}",{number},{content}]' for offset, (name, number), content in records)
        self.tell("poll", f'"partition":{partition},"records":[{shown}],"log_start":{null(watermarks[0])},'
                          f'"high_watermark":{null(watermarks[1])},"epoch":{null(epoch)}')

    def polled(self, messages):
        """Messages of librdkafka, of any partitions and epochs."""
        partitions = {}
        for message in messages:
            partitions.setdefault(message.partition(), []).append(message)
        for partition, here in partitions.items():
            for epoch, some in itertools.groupby(here, confluent_kafka.Message.leader_epoch):
                records = [(m.offset(), number_of(m.value()), content(m.timestamp()[1], m.key(), m.value(), m.headers()))
                           for m in some]
                self.poll(partition, records, epoch=epoch)

    def watermarks(self):
        """Settings with which a consumer of librdkafka tells log starts and high watermarks that it has heard of.

        Its call for them waits for a lock of the library and keeps all other Python threads out meanwhile. It takes them
        from every answer that it gets, also from a late one of a broker that led the partition before and that it throws
        away otherwise: what goes back soon after a move is not told.
        """
        return {"statistics.interval.ms": 200, "stats_cb": self._heard}

    def _heard(self, statistics):
        topic = json.loads(statistics)["topics"].get(self.topic, {"partitions": {}})
        for partition, of_it in topic["partitions"].items():
            bounds = [offset if offset >= 0 else None for offset in (of_it["lo_offset"], of_it["hi_offset"])]
            if self.led.get(partition, (None, 0))[0] != of_it["broker"]:
                self.led[partition] = of_it["broker"], now()
            told = self.bounds.get(partition, [None, None])
            goes_back = any(new is not None and old is not None and new < old for new, old in zip(bounds, told))
            is_late = goes_back and now() - self.led[partition][1] < LATE
            if int(partition) >= 0 and told != bounds and not is_late:
                self.bounds[partition] = bounds
                self.poll(partition, [], bounds)

    def committed(self, address, group, partitions):
        """Asks for the committed offsets of a group."""
        begin = now()
        client = confluent_kafka.Consumer({"bootstrap.servers": address, "group.id": group})
        try:
            asked = [confluent_kafka.TopicPartition(self.topic, p) for p in range(partitions)]
            for found in client.committed(asked, timeout=30):
                offset = found.offset if found.offset >= 0 else None
                self.tell("committed", f'"begin":{begin},"group":"{group}","partition":{found.partition},'
                                       f'"offset":{null(offset)}')
        finally:
            client.close()


def null(number):
    return "null" if number is None else number


def content(timestamp, key, value, headers):
    """A digest of all that a reader sees of a record."""
    if key is not None or headers:
        value = repr((key, value, headers)).encode()
    return zlib.crc32(value, zlib.crc32(b"%d:" % timestamp))


def number_of(value):
    """(name of the producer, number) of a record of `Load`."""
    name, number, _ = value.decode().split(":", 2)
    return name, int(number)


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
        self.history = Recorder(name, topic)
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
                begin = now()
                try:
                    self.client.produce(self.topic, f"{self.name}:{self.sent[p]}:{self.filler}", partition=p,
                                        on_delivery=self._delivered)
                except BufferError:
                    break
                self.history.tell("send", f'"partition":{p},"value":{self.sent[p]}', begin)
                self.sent[p] += 1
            self.client.poll(self.pause)
            self.ending.wait(self.pause)

    def _error(self, error):
        if error.fatal():
            self.failures.append(error)

    def _delivered(self, error, message):
        if error is not None:
            return self.failures.append(error)
        p, number, offset = message.partition(), number_of(message.value())[1], message.offset()
        # To a batch that it wrote long ago a broker may answer that it is there, and not where.
        if offset is not None:
            self.history.tell("acked", f'"partition":{p},"value":{number},"offset":{offset}')
        self.acked.append((p, number, offset))


class Watcher(Background):
    """A consumer that reads along."""

    def __init__(self, address, topic, partitions):
        self.seen = 0
        self.failures = []
        self.history = Recorder("watcher", topic)
        self.client = confluent_kafka.Consumer({
            "bootstrap.servers": address, "group.id": "watcher", "enable.auto.commit": False,
            "auto.offset.reset": "error", "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200,
            **self.history.watermarks()})
        self.client.assign([confluent_kafka.TopicPartition(topic, p, 0) for p in range(partitions)])
        for p in range(partitions):
            self.history.seek(p, 0)
        super().__init__()

    def finish(self):
        super().finish()
        self.client.close()
        assert not self.failures, self.failures[:5]

    def _run(self):
        while not self.ending.is_set():
            messages = self.client.consume(1000, timeout=0.1)
            read = [message for message in messages if message.error() is None]
            self.history.polled(read)
            self.seen += len(read)
            for error in (message.error() for message in messages if message.error() is not None):
                if not error.retriable() and error.code() in (
                        confluent_kafka.KafkaError.OFFSET_OUT_OF_RANGE, confluent_kafka.KafkaError._AUTO_OFFSET_RESET):
                    self.failures.append(error)


class Committer(Background):
    """A member of a group that commits after what it has read."""

    def __init__(self, address, topic, group):
        self.address, self.group, self.positions = address, group, {}  # behind what was read, of what is assigned
        self.committed, self.refused = {}, []
        self.history = Recorder(f"member-of-{group}", topic)
        self.client = confluent_kafka.Consumer({
            "bootstrap.servers": address, "group.id": group, "enable.auto.commit": False,
            "auto.offset.reset": "earliest", "session.timeout.ms": 6000, "heartbeat.interval.ms": 500,
            "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200,
            **self.history.watermarks()})
        self.client.subscribe([topic], on_assign=self._assigned, on_revoke=self._revoked)
        self.history.tell("subscribe", f'"group":"{group}"')
        super().__init__()

    def finish(self):
        super().finish()
        self.client.close()
        self.history.of_client("close")

    def catch_up(self):
        """Gives it time to get what is acknowledged now; whether it got on is for the judge to say."""
        since, asker = now(), log.reader(self.address)
        try:
            ends = {p: log.end_of(asker, self.history.topic, p) for p in log.partitions_of(asker, self.history.topic)}
            wait_until(lambda: all(self.positions.get(p, 0) >= end for p, end in ends.items()), "a group's progress", 60)
        except AssertionError as late:
            print(late)
        finally:
            asker.close()
        patience = Recorder("harness", self.history.topic)
        patience.of_client("patience", f',"since":{since},"group":"{self.group}"')
        return patience

    def _assigned(self, _, partitions):
        for p in (one.partition for one in partitions):
            self.history.seek(p)

    def _revoked(self, _, partitions):
        for p in (one.partition for one in partitions):
            self.positions.pop(p, None)

    def _run(self):
        while not self.ending.is_set():
            # As many as come while a commit is under way, and more: or it falls behind, one partition after the other.
            read = [m for m in self.client.consume(2000, timeout=0.1) if m.error() is None]
            if not read:
                continue
            self.history.polled(read)
            for message in read:
                self.positions[message.partition()] = message.offset() + 1
            self._commit([confluent_kafka.TopicPartition(self.history.topic, p, offset)
                          for p, offset in self.positions.items()])

    def _commit(self, offsets):
        begin = now()
        try:
            done = self.client.commit(offsets=offsets, asynchronous=False)
        except confluent_kafka.KafkaException as error:
            self.refused.append(error)
            return self._tell(begin, offsets, error.args[0])
        for one in done:
            self._tell(begin, [one], one.error)
            if one.error is None:
                self.committed[one.partition] = max(one.offset, self.committed.get(one.partition, 0))

    def _tell(self, begin, offsets, error):
        # Whatever the last answer was, an attempt before it may have been carried out.
        outcome = "ok" if error is None else "unknown"
        for one in offsets:
            self.history.tell("commit", f'"begin":{begin},"group":"{self.group}","partition":{one.partition},'
                                        f'"offset":{one.offset},"outcome":"{outcome}"')


def check(final, loads, *others):
    """Has everything that these clients saw judged, together with the log as it was read at last. Returns the files."""
    reader = Recorder("last-reader", loads[0].topic)
    for p, records in final.items():
        reader.seek(p, 0)
        reader.poll(p, [(r.offset, number_of(r.value), content(r.timestamp, r.key, r.value, r.headers)) for r in records])
    recorders = [reader, *(one.history if isinstance(one, Background) else one for one in (*loads, *others))]
    for recorder in recorders:
        recorder.lines.close()
    files = [recorder.path for recorder in recorders]
    judge(files)
    return files


def judge(files):
    """Fails with what the judge finds; the files stay with the others of the test then."""
    done = subprocess.run([pathlib.Path(os.environ["RUNNEL_BIN"]).with_name("runnel-judge"), *files],
                          capture_output=True, text=True, timeout=300, check=False)
    print(done.stdout)
    again = f"runnel-judge {' '.join(map(str, files))}"
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\nTo judge it again: {again}"
