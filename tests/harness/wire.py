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


def data(b):
    return struct.pack(">i", len(b)) + b


def compact_length(n):
    """An unsigned varint of one more; 0 stands for null."""
    n, out = n + 1, bytearray()
    while n >= 0x80:
        out.append(n & 0x7f | 0x80)
        n >>= 7
    return bytes(out) + bytes([n])


def compact_text(s):
    return compact_length(len(s)) + s.encode()


class Reader:
    """Walks through an answer."""

    def __init__(self, content):
        self.content, self.at = content, 0

    def take(self, count):
        self.at += count
        return self.content[self.at - count:self.at]

    def _number(self, layout):
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def int8(self):
        return self._number(">b")

    def int16(self):
        return self._number(">h")

    def int32(self):
        return self._number(">i")

    def int64(self):
        return self._number(">q")

    def text(self):
        """None for null."""
        length = self.int16()
        return None if length < 0 else self.take(length).decode()

    def data(self):
        length = self.int32()
        return None if length < 0 else self.take(length)

    def compact_length(self):
        """-1 for null."""
        value, shift = 0, 0
        while True:
            byte = self.content[self.at]
            self.at += 1
            value |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                return value - 1

    def compact_text(self):
        length = self.compact_length()
        return None if length < 0 else self.take(length).decode()

    def tags(self):
        assert self.compact_length() == -1, "there are tagged fields"
