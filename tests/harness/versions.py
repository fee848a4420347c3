"""What a newer release would have written: stored values with a version or a level above those of the build under test."""
import base64
import json
import struct
import urllib.request

from aiokafka.record.util import calc_crc32c

ENVELOPE, NONCE = 16, 16
LEVEL_AT = 16 + 4  # in a cluster record, behind the id and the era
NEWER = 99


def with_version(value, version=NEWER):
    """An enveloped value, said to be of a later version of its layout."""
    return value[:4] + struct.pack("<H", version) + value[6:]


def with_level(record, level=NEWER):
    """A cluster record at another level."""
    payload = bytearray(record[ENVELOPE:])
    payload[LEVEL_AT:LEVEL_AT + 4] = struct.pack("<I", level)
    return seal(record[:4] + struct.pack("<H", 2 if level > 1 else 1), payload)


def level_of(record):
    return struct.unpack("<I", record[ENVELOPE + LEVEL_AT:ENVELOPE + LEVEL_AT + 4])[0]


def seal(head, payload):
    """An envelope with these magic and version."""
    return head + struct.pack("<HII", 0, len(payload), calc_crc32c(payload)) + bytes(payload)


def in_register(register, change):
    """A register of the bucket whose value is changed."""
    nonce, value = register[ENVELOPE:ENVELOPE + NONCE], register[ENVELOPE + NONCE:]
    return seal(register[:6], nonce + change(value))


def with_newer_header(log_file):
    """A file of the log on disk whose two header pages are of a later version."""
    page = bytearray(log_file[:4096])
    page[8:10] = struct.pack("<H", NEWER)
    page[4092:] = struct.pack("<I", calc_crc32c(page[:4092]))
    return bytes(page) * 2 + log_file[8192:]


class Keys:
    """The keys of a cluster in its etcd, through etcd's own JSON interface."""

    def __init__(self, etcd, prefix="runnel"):
        self.url, self.prefix = f"http://{etcd.address}/v3/kv/", prefix + "/"

    def all(self):
        """Every key, without the prefix, and its value."""
        start, end = self.prefix.encode(), self.prefix[:-1].encode() + b"0"
        found = self._ask("range", key=start, range_end=end).get("kvs", [])
        decode = base64.b64decode
        return {decode(kv["key"]).decode().removeprefix(self.prefix): decode(kv.get("value", "")) for kv in found}

    def put(self, key, value):
        self._ask("put", key=(self.prefix + key).encode(), value=value)

    def _ask(self, what, **fields):
        body = json.dumps({name: base64.b64encode(value).decode() for name, value in fields.items()}).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url + what, data=body), timeout=10) as answer:
            return json.load(answer)
