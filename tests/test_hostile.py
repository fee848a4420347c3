"""Clients that are broken or hostile: memory stays bounded, nobody else notices, and the log stays readable."""
import random
import re
import socket
import struct
import threading

import pytest

from harness import log
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


def memory(broker):
    """Resident bytes of the broker."""
    with open(f"/proc/{broker.process.pid}/status", encoding="ascii") as status:
        return int(re.search(r"VmRSS:\s+(\d+) kB", status.read()).group(1)) * 1024


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
    wait_until(lambda: len(load.acked) > before + 200, "others being served", seconds=10)


def test_announced_bytes_cost_nothing(busy):
    broker, load = busy
    before = memory(broker)
    sockets = [dial(broker.kafka_port) for _ in range(100)]
    for s in sockets:
        s.sendall(struct.pack(">ihhi", FRAME, 0, 9, 1))
    undisturbed(load)
    assert memory(broker) < before + 64 * MIB
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
    assert memory(broker) < 600 * MIB
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


def fetch_frame(correlation, partition):
    """Fetch version 4 of 50 MiB of `bulk`."""
    def text(s):
        return struct.pack(">h", len(s)) + s
    body = struct.pack(">iiiib", -1, 100, 1, 50 * MIB, 0) + struct.pack(">i", 1) + text(b"bulk")
    body += struct.pack(">iiqi", 1, partition, 0, 50 * MIB)
    frame = struct.pack(">hhi", 1, 4, correlation) + text(b"x") + body
    return struct.pack(">i", len(frame)) + frame


def test_readers_that_never_read(busy):
    broker, load = busy
    log.create_topic(broker.address, "bulk", 4)
    value = random.Random(1).randbytes(100_000)
    log.produce(broker.address, "bulk", ((i % 4, None, value, None) for i in range(800)), batch_size=1_000_000)
    sockets = [dial(broker.kafka_port, receive_buffer=4096) for _ in range(60)]
    for s in sockets:
        for k in range(20):
            s.sendall(fetch_frame(k, k % 4))
    undisturbed(load)
    assert len(log.flat(log.read_all(broker.address, "bulk"))) == 800, "a client that reads is served"
    # The budget, and one batch more for each connection.
    assert broker.metric("runnel_kafka_inflight_bytes") < (128 + 60 + 16) * MIB
    assert memory(broker) < 1000 * MIB
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


@pytest.mark.parametrize("data", [struct.pack(">ihhih", 1000, 18, 3, 1, -1) + bytes(990), b"\x16\x03\x01" + bytes(500)])
def test_kafka_and_tls_on_the_http_port(busy, data):
    broker, load = busy
    with dial(broker.http_port) as s:
        s.sendall(data)
        assert s.recv(100).startswith(b"HTTP/1.1 400")
    assert broker.http("/livez")[0] == 200
    undisturbed(load)
