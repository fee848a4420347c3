#!/usr/bin/env python3
"""storm.py ADDRESS PID CONNECTIONS: so many clients that come at once, as JSON; run by `cargo xtask bench`.

Each opens a connection, asks for the API versions and for the metadata of one topic, as clients do, and stays. The requests
are written by hand: so many clients of a library would have several times as many threads.
"""
import asyncio
import json
import resource
import struct
import sys
import time

import broker

PATIENCE = 300
TOPIC = b"storm"
NAME = b"storm"
# How often a connection that is not taken is tried again.
ATTEMPTS = 20


def request(key, version, correlation, body, flexible):
    header = struct.pack(">hhih", key, version, correlation, len(NAME)) + NAME + (b"\0" if flexible else b"")
    return struct.pack(">i", len(header) + len(body)) + header + body


# ApiVersions 3 with the name and version of the software; Metadata 4, of one topic that is not to be created.
VERSIONS = request(18, 3, 1, b"\x06storm\x021\0", True)
METADATA = request(3, 4, 2, struct.pack(">ih", 1, len(TOPIC)) + TOPIC + b"\0", False)


async def answer(reader):
    size, = struct.unpack(">i", await reader.readexactly(4))
    return await reader.readexactly(size)


async def ask(connection):
    reader, writer = connection
    writer.write(METADATA)
    found = await answer(reader)
    assert TOPIC in found, found


async def come(host, port):
    """Until it has its metadata; the connection, and how long that took."""
    begun = time.monotonic()
    for attempt in range(ATTEMPTS):
        try:
            reader, writer = await asyncio.open_connection(host, port)
            break
        except ConnectionError:  # more than wait in front of a listener
            if attempt + 1 == ATTEMPTS:
                raise
    writer.write(VERSIONS)
    await answer(reader)
    await ask((reader, writer))
    return (reader, writer), time.monotonic() - begun


async def storm(host, port, process, count):
    meter = process.meter()
    came = await asyncio.gather(*(come(host, port) for _ in range(count)))
    figures = {"all_s": meter.seconds(), "cpu_ms": meter.cpu() * 1e3 / (count / 1000),
               "p99_ms": sorted(seconds for _, seconds in came)[count * 99 // 100] * 1e3}
    meter = process.meter()
    await asyncio.gather(*(ask(connection) for connection, _ in came))
    figures["again_s"] = meter.seconds()
    for (_, writer), _ in came:
        writer.close()
    return figures


def main():
    """Prints what came of it."""
    (host, port), process, count = sys.argv[1].rsplit(":", 1), broker.Process(int(sys.argv[2])), int(sys.argv[3])
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(json.dumps(asyncio.run(asyncio.wait_for(storm(host, int(port), process, count), PATIENCE))))


if __name__ == "__main__":
    main()
