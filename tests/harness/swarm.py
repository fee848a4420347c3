"""Groups of a thousand members in one process: each is a connection and a task, and speaks just enough of the protocol.

For tests and for `cargo xtask bench`: a real client has several threads of its own.
"""
import asyncio
import struct
import time
import uuid

from . import wire

SESSION_MS = 45_000
LOADING, REBALANCE_IN_PROGRESS, MEMBER_ID_REQUIRED = 14, 27, 79


class Connection:
    """Asks one question at a time."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, address):
        host, port = address.split(":")
        return cls(*await asyncio.open_connection(host, int(port)))

    async def ask(self, request):
        """The body of the answer, behind the correlation id."""
        self.writer.write(request)
        size, = struct.unpack(">i", await self.reader.readexactly(4))
        return (await self.reader.readexactly(size))[4:]


class Swarm:
    """Members of one group that read one topic. `every` is how often they beat, in seconds; it may be changed."""

    def __init__(self, address, group, topic, partitions, every=0.5):
        self.address, self.group, self.topic, self.partitions = address, group, topic, partitions
        self.every, self.members, self.failure = every, [], None
        # Requests to join that are under way at once in the consumer protocol: a debug build answers these in time.
        self.joining = asyncio.Semaphore(100)

    async def join(self, kind, count, session_ms=SESSION_MS):
        """Adds members of this kind, side by side, and returns them; they are stable later. In the classic protocol each
        says how soon it is to be missed."""
        fresh = [kind(self, await Connection.open(self.address)) for _ in range(count)]
        for member in fresh:
            member.session_ms = session_ms
            member.task = asyncio.create_task(self._run(member))
        self.members += fresh
        return fresh

    async def _run(self, member):
        try:
            await member.run()
        except (OSError, asyncio.IncompleteReadError, AssertionError) as error:
            self.failure = self.failure or error

    def die(self, member):
        """It is cut off without a word."""
        self.members.remove(member)
        member.task.cancel()
        member.connection.writer.transport.abort()

    async def leave(self, member):
        """It says goodbye."""
        self.members.remove(member)
        member.task.cancel()
        connection = await Connection.open(self.address)
        assert await connection.ask(member.goodbye())
        connection.writer.close()
        member.connection.writer.transport.abort()

    def is_stable(self):
        """All are in one generation, and each partition is owned by one of them, none of whom has two more than another:
        what the first ones had of a group that forms does not count."""
        if self.failure:
            raise self.failure
        owned = [p for member in self.members for p in member.owned]
        shares = [len(member.owned) for member in self.members]
        return (len({member.generation for member in self.members}) == 1 and all(m.settled for m in self.members)
                and len(owned) == self.partitions == len(set(owned)) and max(shares) - min(shares) <= 1)

    async def until_stable(self, seconds=120):
        """How long it took from now."""
        begun = time.monotonic()
        while not self.is_stable():
            assert time.monotonic() < begun + seconds, f"the group is not stable after {seconds} s"
            await asyncio.sleep(0.01)
        return time.monotonic() - begun

    async def end(self):
        """Cuts off everyone."""
        for member in list(self.members):
            self.die(member)
        await asyncio.sleep(0)


class Classic:
    """A member of the classic protocol: JoinGroup 4, SyncGroup 2, Heartbeat 2, LeaveGroup 2. Its leader deals out
    partitions one by one."""

    def __init__(self, swarm, connection):
        self.swarm, self.connection = swarm, connection
        self.id, self.generation, self.owned, self.settled = "", -1, (), False

    async def run(self):
        while True:
            await self._join()
            error = 0
            while not error:
                await asyncio.sleep(self.swarm.every)
                answer = await self.connection.ask(wire.frame(12, 2, self._me(self.generation)))
                error, = struct.unpack_from(">4xh", answer)
            assert error == REBALANCE_IN_PROGRESS, f"heartbeat: {error}"
            self.settled = False

    async def _join(self):
        while True:
            joined = wire.Reader(await self.connection.ask(self._join_request()))
            joined.int32()
            error, generation, _, leader, self.id = (
                joined.int16(), joined.int32(), joined.text(), joined.text(), joined.text())
            if error == MEMBER_ID_REQUIRED:
                continue
            assert error == 0, f"join: {error}"
            members = [(joined.text(), joined.data())[0] for _ in range(joined.int32())]
            parts = self._deal(members) if leader == self.id else []
            body = self._me(generation) + struct.pack(">i", len(parts))
            body += b"".join(wire.text(member) + wire.data(assignment) for member, assignment in parts)
            synced = wire.Reader(await self.connection.ask(wire.frame(14, 2, body)))
            synced.int32()
            error = synced.int16()
            if error != REBALANCE_IN_PROGRESS:
                break
        assert error == 0, f"sync: {error}"
        self.owned, self.generation, self.settled = parts_of(synced.data()), generation, True

    def goodbye(self):
        return wire.frame(13, 2, wire.text(self.swarm.group) + wire.text(self.id))

    def _me(self, generation):
        return wire.text(self.swarm.group) + struct.pack(">i", generation) + wire.text(self.id)

    def _join_request(self):
        subscription = struct.pack(">hi", 0, 1) + wire.text(self.swarm.topic) + struct.pack(">i", -1)
        body = wire.text(self.swarm.group) + struct.pack(">ii", self.session_ms, SESSION_MS) + wire.text(self.id)
        return wire.frame(11, 4, body + wire.text("consumer") + struct.pack(">i", 1) + wire.text("range")
                          + wire.data(subscription))

    def _deal(self, members):
        return [(member, assignment(self.swarm.topic, range(turn, self.swarm.partitions, len(members))))
                for turn, member in enumerate(members)]


def assignment(topic, parts):
    """Kafka's ConsumerProtocolAssignment, version 0, of one topic."""
    return (struct.pack(">hi", 0, 1) + wire.text(topic) + struct.pack(">i", len(parts))
            + b"".join(struct.pack(">i", part) for part in parts) + struct.pack(">i", -1))


def parts_of(data):
    """The partitions of such an assignment."""
    if not data:
        return ()
    found = wire.Reader(data)
    found.int16()
    assert found.int32() == 1
    found.text()
    return tuple(found.int32() for _ in range(found.int32()))


class Modern:
    """A member of the consumer protocol (KIP-848): ConsumerGroupHeartbeat 1. It gives up and takes on what it is told
    to at once."""

    def __init__(self, swarm, connection):
        self.swarm, self.connection = swarm, connection
        self.id, self.generation, self.owned, self.settled = str(uuid.uuid4()), 0, (), False
        self.topic_id = None

    async def run(self):
        async with self.swarm.joining:
            await self._beat(first=True)
        while True:
            await asyncio.sleep(self.swarm.every)
            # What changed is acknowledged at once, as clients do.
            while await self._beat():
                pass

    async def _beat(self, first=False):
        """Whether there is something to acknowledge."""
        while True:
            answer = wire.Reader(await self.connection.ask(self._request(first)))
            answer.tags()
            answer.int32()
            error, message = answer.int16(), answer.compact_text()
            if error != LOADING:
                break
            await asyncio.sleep(0.1)
        assert error == 0, f"heartbeat: {error} {message}"
        answer.compact_text()
        self.generation = answer.int32()
        answer.int32()
        self.settled = True
        before = self.owned
        if answer.int8() >= 0:
            owned = []
            for _ in range(answer.compact_length()):
                self.topic_id = answer.take(16)
                owned += [answer.int32() for _ in range(answer.compact_length())]
                answer.tags()
            self.owned = tuple(owned)
            return self.owned != before
        return False

    def goodbye(self):
        return self._frame(-1, struct.pack(">i", -1) + bytes([0, 0, 0, 0]))

    def _request(self, first):
        if first:
            names = wire.compact_length(1) + wire.compact_text(self.swarm.topic) + bytes([0])  # and no pattern
            return self._frame(0, struct.pack(">i", SESSION_MS) + names + bytes([0]) + wire.compact_length(0))
        owned = wire.compact_length(0)
        if self.owned:
            owned = (wire.compact_length(1) + self.topic_id + wire.compact_length(len(self.owned))
                     + b"".join(struct.pack(">i", part) for part in self.owned) + bytes([0]))
        return self._frame(self.generation, struct.pack(">i", -1) + bytes([0, 0, 0]) + owned)

    def _frame(self, epoch, rest):
        """`rest` is the rebalance timeout, the topics, the pattern, the assignor, what it owns."""
        body = wire.compact_text(self.swarm.group) + wire.compact_text(self.id) + struct.pack(">i", epoch)
        return wire.frame(68, 1, bytes([0]) + body + bytes([0, 0]) + rest + bytes([0]))
