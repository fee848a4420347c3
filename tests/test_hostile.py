"""Clients that are broken or hostile: memory stays bounded, nobody else notices, and the log stays readable."""
import contextlib
import random
import resource
import socket
import struct
import threading
import time

import pytest

from harness import log, wire
from harness.history import Load, check
from harness.process import wait_until

MIB = 1 << 20
FRAME = 90 * MIB


def dial(port, receive_buffer=None):
    s = socket.socket()
    if receive_buffer:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    s.settimeout(5)
    s.connect(("127.0.0.1", port))
    return s


def close_all(sockets):
    for s in sockets:
        s.close()


@pytest.fixture
def busy(make_broker):
    """A broker with small budgets under load: (broker, load). The load must come through whole."""
    broker = make_broker({"KAFKA__MAX_INFLIGHT": "128MiB", "CACHE__MEMORY": "32MiB", "CACHE__DISK": "0",
                          "SEGMENT__MAX_AGE": "1s"}).start()
    log.create_topic(broker.address, "t", 2)
    load = Load(broker.address, "t", 2, "a", pause=0.01).start()
    undisturbed(load)
    yield broker, load
    load.finish()
    check(log.read_all(broker.address, "t"), [load])
    assert broker.stop() == 0


def undisturbed(load):
    before = len(load.acked)
    wait_until(lambda: len(load.acked) > before + 200, "others being served")


def test_announced_bytes_cost_nothing(busy):
    """Neither memory nor a place in the queue for it: a large request of someone else gets through."""
    broker, load = busy
    log.create_topic(broker.address, "large", 1, {"max.message.bytes": str(8 * MIB)})
    large = [(0, None, random.Random(1).randbytes(3 * MIB), None)]
    before = broker.memory()
    sockets = [dial(broker.kafka_port) for _ in range(100)]
    for s in sockets:
        s.sendall(struct.pack(">ihhi", FRAME, 0, 9, 1))
    undisturbed(load)
    assert broker.memory() < before + 64 * MIB
    begun = time.monotonic()
    log.produce(broker.address, "large", large, message_max_bytes=8 * MIB)
    assert time.monotonic() - begun < 20, "waited for requests that will never come"
    close_all(sockets)


def test_unfinished_large_frames_stop_nobody(busy):
    """They hold the whole shared budget; small requests have a pool of their own."""
    broker, load = busy
    sockets, stuck = [dial(broker.kafka_port) for _ in range(40)], []

    def pump(s):
        s.settimeout(0.5)
        try:
            s.sendall(struct.pack(">ihhih", FRAME, 0, 9, 1, -1))
            for _ in range(60):
                s.sendall(bytes(MIB))
        except OSError:
            stuck.append(s)

    threads = [threading.Thread(target=pump, args=(s,)) for s in sockets]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert stuck, "the budget was never short: this tests nothing"
    undisturbed(load)
    assert broker.memory() < 600 * MIB
    close_all(sockets)


def test_slow_and_idle_connections(busy):
    broker, load = busy
    slow = [dial(broker.kafka_port) for _ in range(100)]
    idle = [dial(broker.kafka_port) for _ in range(500)]
    before = len(broker.log().splitlines())
    for _ in range(3):
        for s in slow:
            s.sendall(b"\0")
        undisturbed(load)
    assert len(broker.log().splitlines()) < before + 10, "no lines for clients that merely wait"
    close_all(slow + idle)


def test_readers_that_never_read(busy):
    broker, load = busy
    log.create_topic(broker.address, "bulk", 4)
    value = random.Random(1).randbytes(100_000)
    log.produce(broker.address, "bulk", ((i % 4, None, value, None) for i in range(800)), batch_size=1_000_000)
    sockets = [dial(broker.kafka_port, receive_buffer=4096) for _ in range(60)]
    for s in sockets:
        for k in range(20):
            s.sendall(wire.fetch("bulk", k % 4, max_bytes=50 * MIB, correlation=k))
    undisturbed(load)
    assert len(log.flat(log.read_all(broker.address, "bulk"))) == 800, "a client that reads is served"
    # The budget, and one batch more for each connection.
    assert broker.metric("runnel_kafka_inflight_bytes") < (128 + 60 + 16) * MIB
    assert broker.memory() < 1000 * MIB
    close_all(sockets)


def test_other_protocols_and_noise(busy):
    """One line per connection at most, at WARN: a client's fault is not an error of the broker."""
    broker, load = busy
    rng, before = random.Random(7), len(broker.log().splitlines())
    client_hello = bytes.fromhex("16030100c8010000c40303") + bytes(190)
    sent = [client_hello, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    for i in range(90):
        noise = rng.randbytes(rng.randrange(4, 3000))
        head = struct.pack(">hhi", rng.choice([0, 1, 2, 3, 18, 19, 22, 32]), rng.randrange(14), i)
        sent += [noise, struct.pack(">i", len(noise)) + noise, struct.pack(">i", len(noise) + 8) + head + noise]
    for data in sent:
        with dial(broker.kafka_port) as s:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            try:
                while s.recv(4096):
                    pass
            except ConnectionResetError:
                pass
    lines = broker.log().splitlines()[before:]
    assert 0 < len(lines) <= len(sent) + 10, f"{len(lines)} lines for {len(sent)} connections"
    assert any("TLS" in line for line in lines) and any("HTTP is served on" in line for line in lines)
    undisturbed(load)


@pytest.mark.parametrize("data, says", [
    (struct.pack(">ihhih", 1000, 18, 3, 1, -1) + bytes(990), "Kafka is served on 127.0.0.1:"),
    (b"\x16\x03\x01" + bytes(500), "speaks TLS"),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "speaks HTTP/2"),
])
def test_other_protocols_on_the_http_port(busy, data, says):
    broker, load = busy
    with dial(broker.http_port) as s:
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: s.recv(4096), b"")).decode()
    assert answer.startswith("HTTP/1.1 400") and says in answer, answer
    assert says in broker.log()
    assert broker.http("/livez")[0] == 200
    undisturbed(load)


PORTS = ["kafka_port", "grpc_port", "http_port"]


@pytest.mark.parametrize("port", PORTS)
def test_random_bytes(busy, port):
    """Half of the connections hang up, the others wait to be closed."""
    broker, load = busy
    rng, kept = random.Random(11), []
    for i in range(400):
        s = dial(getattr(broker, port))
        try:
            s.sendall(rng.randbytes(rng.choice([1, 3, 4, 8, 100, 5000, 70_000])))
        except OSError:
            pass
        (s.close if i % 2 else lambda s=s: kept.append(s))()
    undisturbed(load)
    assert broker.http("/livez")[0] == 200
    close_all(kept)


def test_nobody_keeps_the_probes_waiting(busy):
    """Connections that say nothing, or half a request, or never read: more than the HTTP port takes."""
    broker, load = busy
    held = []
    for data in [b"", b"GET /livez HTTP/1.1\r\n", b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 200]:
        held += [dial(broker.http_port, receive_buffer=4096) for _ in range(200)]
        for s in held[-200:]:
            try:
                s.setblocking(False)
                s.send(data)
            except OSError:
                pass
        assert broker.http("/livez")[0] == 200
    undisturbed(load)
    assert "too many HTTP connections" in broker.log()
    close_all(held)


def test_a_byte_at_a_time(busy):
    """A client on a very slow line is served, and keeps nobody waiting."""
    broker, load = busy
    request = struct.pack(">ihhih", 10, 18, 0, 42, -1)
    slow = [dial(broker.kafka_port) for _ in range(50)]
    for at in range(len(request)):
        for s in slow:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            s.sendall(request[at:at + 1])
    undisturbed(load)
    for s in slow:
        length, correlation, error = struct.unpack(">iih", s.recv(10, socket.MSG_WAITALL))
        assert (correlation, error) == (42, 0) and length > 6
    close_all(slow)


@pytest.fixture
def many_files():
    """The test needs a file for each connection too; the broker starts with the usual soft limit and raises it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    yield lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_ten_thousand_idle_connections(many_files, busy):
    broker, load = busy
    many_files()
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 12_000, "raise the hard limit of open files (ulimit -Hn)"
    before, request = broker.memory(), struct.pack(">ihhih", 10, 18, 0, 42, -1)
    sockets = [dial(broker.kafka_port) for _ in range(10_000)]
    for s in sockets[::2]:
        s.sendall(request)
    for s in sockets[::2]:
        assert s.recv(4), "an answer"
    wait_until(lambda: broker.metric("runnel_kafka_connections") > 10_000, "all connections open")
    undisturbed(load)
    assert broker.memory() < before + 200 * MIB
    assert len(log.flat(log.read_all(broker.address, "t"))) > 0, "a new client is served beside them"
    close_all(sockets)


def test_a_low_limit_of_open_files_leaves_room_for_the_log(make_broker):
    """Clients may not take the last file, which the log needs; the broker says so."""
    broker = make_broker({"SEGMENT__MAX_AGE": "500ms"})
    broker.open_files = 600
    broker.start()
    assert "LimitNOFILE" in broker.log()
    log.create_topic(broker.address, "t", 1)
    sockets = [dial(broker.kafka_port) for _ in range(700)]
    wait_until(lambda: "too many Kafka connections" in broker.log(), "connections turned away")
    for turned_away in sockets[300:]:  # all of them, or those that still wait take the places that are given back
        turned_away.settimeout(30)
        with contextlib.suppress(ConnectionResetError):
            assert turned_away.recv(1) == b""
    shipped = len(broker.parquet_files("t"))
    close_all(sockets[:50])
    load = Load(broker.address, "t", 1, "a", pause=0.01, value_bytes=20_000).start()
    undisturbed(load)
    wait_until(lambda: len(broker.parquet_files("t")) > shipped, "a segment in the bucket")
    load.finish()
    check(log.read_all(broker.address, "t"), [load])
    close_all(sockets)
