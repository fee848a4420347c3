"""Kafka requests as bytes, for what no client library sends."""
import socket
import struct


def frame(api, version, body, correlation=1):
    """A request with header version 1."""
    head = struct.pack(">hhi", api, version, correlation) + text("raw")
    return struct.pack(">i", len(head) + len(body)) + head + body


def text(s):
    return struct.pack(">h", len(s)) + s.encode()


def fetch(topic, partition, offset=0, max_bytes=1 << 20, correlation=1):
    """Fetch version 4 of one partition."""
    body = struct.pack(">iiiib", -1, 100, 1, max_bytes, 0) + struct.pack(">i", 1) + text(topic)
    return frame(1, 4, body + struct.pack(">iiqi", 1, partition, offset, max_bytes), correlation)


def fetch_error(port, topic, partition, offset=0, seconds=60):
    """The error code that a fetch of one partition gets."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as s:
        s.sendall(fetch(topic, partition, offset))
        s.recv(4, socket.MSG_WAITALL)
        # Correlation id, throttle time, one topic, its name, one partition, its number.
        at = 4 + 4 + 4 + len(text(topic)) + 4 + 4
        return struct.unpack(">h", s.recv(at + 2, socket.MSG_WAITALL)[at:])[0]
