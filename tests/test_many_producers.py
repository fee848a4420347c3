"""A hundred thousand idempotent producers: what is remembered of them is bounded, and still does what it is for."""
import socket
import struct

from aiokafka.record.util import calc_crc32c

from harness import log, wire

PRODUCERS = 100_000
PARTITIONS = 8
# Most that are remembered in one partition (docs/limits.md).
REMEMBERED = 10_000
MIB = 1 << 20
# Requests on their way at once.
PIPELINE = 500


class Client:
    """One connection, on which requests follow each other without waiting for answers."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.answers = self.socket.makefile("rb", 1 << 16)

    def ask(self, requests):
        """Answers to many requests, in order, each without its correlation id."""
        found = []
        for at in range(0, len(requests), PIPELINE):
            some = requests[at:at + PIPELINE]
            self.socket.sendall(b"".join(some))
            for _ in some:
                size, = struct.unpack(">i", self.answers.read(4))
                found.append(self.answers.read(size)[4:])
        return found


def batch(producer, sequence=0):
    """One small record of a producer."""
    record = b"\x0e\0\0\0\x01\x02x\0"  # its length, attributes, two deltas, no key, a value of one byte, no headers
    counted = struct.pack(">hiqqqhii", 0, 0, 0, 0, producer, 0, sequence, 1) + record
    body = struct.pack(">ibI", -1, 2, calc_crc32c(counted)) + counted
    return struct.pack(">qi", 0, len(body)) + body


def new_producers(client, count):
    answers = client.ask([wire.frame(22, 0, struct.pack(">hi", -1, 60_000))] * count)
    found = []
    for answer in answers:
        _, error, producer, epoch = struct.unpack(">ihqh", answer)
        assert (error, epoch) == (0, 0)
        found.append(producer)
    assert len(set(found)) == count
    return found


def produce(client, batches):
    """Offsets of batches, that go to one partition after the other, one of each in a request."""
    requests = []
    for at in range(0, len(batches), PARTITIONS):
        some = batches[at:at + PARTITIONS]
        body = struct.pack(">hhii", -1, -1, 60_000, 1) + wire.text("t") + struct.pack(">i", len(some))
        body += b"".join(struct.pack(">i", partition) + wire.data(b) for partition, b in enumerate(some))
        requests.append(wire.frame(0, 3, body))
    offsets = []
    for answer in client.ask(requests):
        read = wire.Reader(answer)
        assert (read.int32(), read.text()) == (1, "t")
        for _ in range(read.int32()):
            read.int32()
            assert read.int16() == 0
            offsets.append(read.int64())
            read.int64()
    return offsets


def remembered(client, partition):
    """How many producers the broker knows of."""
    # DescribeProducers is flexible from its first version on.
    body = b"\0" + b"\x02" + wire.compact_text("t") + b"\x02" + struct.pack(">i", partition) + b"\0\0"
    read = wire.Reader(client.ask([wire.frame(61, 0, body)])[0])
    read.tags()
    read.int32()
    assert (read.compact_length(), read.compact_text(), read.compact_length()) == (1, "t", 1)
    assert (read.int32(), read.int16(), read.compact_text()) == (partition, 0, None)
    return read.compact_length()


def test_a_hundred_thousand_producers(make_broker):
    """Memory grows up to the limit of each partition and no further; those that are remembered are deduplicated, also
    after a kill and after a clean restart; the others begin anew."""
    broker = make_broker({"SEGMENT__MAX_AGE": "3s", "CACHE__MEMORY": "8MiB"}).start()
    log.create_topic(broker.address, "t", PARTITIONS)
    client = Client(broker.kafka_port)
    idle = broker.memory()
    full = PARTITIONS * REMEMBERED
    producers = new_producers(client, PRODUCERS)
    offsets = produce(client, [batch(producer) for producer in producers[:full]])
    at_limit = broker.memory()
    assert at_limit < idle + 128 * MIB
    # What it takes to ship as much is not what is remembered.
    broker.cli("segment", "seal", "t", "--wait", "--bootstrap", broker.grpc_address)
    at_limit = max(at_limit, broker.memory())
    offsets += produce(client, [batch(producer) for producer in producers[full:]])
    assert offsets == [n // PARTITIONS for n in range(PRODUCERS)]
    assert [remembered(client, p) for p in range(PARTITIONS)] == [REMEMBERED] * PARTITIONS
    assert broker.memory() < at_limit + 32 * MIB, "it grows with producers that are forgotten"

    last = PRODUCERS - PARTITIONS
    retries = [batch(producer) for producer in producers[-PARTITIONS:]]
    assert produce(client, retries) == [last // PARTITIONS] * PARTITIONS, "they are written already"
    for stop in (broker.kill, broker.stop):
        stop()
        broker.start()
        client = Client(broker.kafka_port)
        assert produce(client, retries) == [last // PARTITIONS] * PARTITIONS, "also after a restart"
        assert [remembered(client, p) for p in range(PARTITIONS)] == [REMEMBERED] * PARTITIONS
        assert broker.memory() < at_limit + 32 * MIB
    # The first ones are forgotten, and so is what they wrote.
    end = PRODUCERS // PARTITIONS
    assert produce(client, [batch(producer) for producer in producers[:PARTITIONS]]) == [end] * PARTITIONS
    following = [batch(producer, sequence=1) for producer in producers[-PARTITIONS:]]
    assert produce(client, following) == [end + 1] * PARTITIONS
    assert len(log.flat(log.read_all(broker.address, "t"))) == PRODUCERS + 2 * PARTITIONS
