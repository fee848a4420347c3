"""Clients of the gRPC interface, from stubs that are made of `proto/` when the tests run."""
import importlib
import pathlib
import queue
import sys
import tempfile
import threading

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SECONDS = 60


def _generate():
    """Compiles every file of `proto/` into a folder of its own and returns the modules by short name."""
    out = tempfile.mkdtemp(prefix="runnel-stubs-")
    files = sorted(str(f.relative_to(ROOT / "proto")) for f in (ROOT / "proto").glob("**/*.proto"))
    status = protoc.main(["protoc", f"-I{ROOT / 'proto'}", f"--python_out={out}", f"--grpc_python_out={out}", *files])
    assert status == 0, "proto/ does not compile"
    sys.path.insert(0, out)
    modules = {}
    for file in files:
        path = file.removesuffix(".proto").replace("/", ".")
        modules[path.split(".")[-1]] = (importlib.import_module(path + "_pb2"), importlib.import_module(path + "_pb2_grpc"))
    return modules


_modules = _generate()
(record, _), (producer, producer_grpc), (consumer, consumer_grpc) = (_modules[n] for n in ("record", "producer", "consumer"))
(topic, topic_grpc), (segment, segment_grpc), (cluster, cluster_grpc) = (_modules[n] for n in ("topic", "segment", "cluster"))


class Client:
    """Stubs of every service on one channel."""

    def __init__(self, address):
        self.channel = grpc.insecure_channel(address)
        grpc.channel_ready_future(self.channel).result(SECONDS)
        self.producer = producer_grpc.ProducerServiceStub(self.channel)
        self.consumer = consumer_grpc.ConsumerServiceStub(self.channel)
        self.topics = topic_grpc.TopicServiceStub(self.channel)
        self.segments = segment_grpc.SegmentServiceStub(self.channel)
        self.cluster = cluster_grpc.ClusterServiceStub(self.channel)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()


class Session:
    """One stream in each direction: `send`, iterate over the replies, `close`."""

    def __init__(self, method, first):
        self.requests = queue.SimpleQueue()
        self.send(first)
        self.replies = method(iter(self.requests.get, None), timeout=SECONDS)

    def send(self, request):
        self.requests.put(request)

    def close(self):
        self.requests.put(None)

    def reply(self):
        """The next reply: (name of the field that is set, its message)."""
        message = next(self.replies)
        name = message.WhichOneof("message")
        return name, getattr(message, name)


class GroupMember:
    """A member of a group in a session: reads, commits what it read, and lets go what it is asked for, in a thread."""

    def __init__(self, client, group, topics, **fields):
        opened = consumer.GroupSessionRequest.Open(
            group=group, topics=topics, start=earliest(), credit=consumer.ReadCredit(records=1 << 40, bytes=1 << 40), **fields)
        self.session = Session(client.consumer.GroupSession, consumer.GroupSessionRequest(open=opened))
        self.held, self.read, self.failed = set(), [], []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        for reply in self.session.replies:
            kind = reply.WhichOneof("message")
            getattr(self, f"_on_{kind}", lambda _: None)(getattr(reply, kind))

    def _on_assigned(self, assigned):
        self.held |= {(start.topic, start.partition) for start in assigned.partitions}

    def _on_batch(self, read):
        self.read += [record.value for record in read.records]
        offset = consumer.GroupSessionRequest.Commit.Offset(
            topic=read.topic, partition=read.partition, offset=read.next_offset)
        self._send(commit=consumer.GroupSessionRequest.Commit(offsets=[offset]))

    def _on_committed(self, committed):
        self.failed += committed.failed

    def _on_revoke(self, revoke):
        self._drop(revoke)
        self._send(released=consumer.GroupSessionRequest.Released(revocation=revoke.revocation))

    def _on_lost(self, lost):
        self._drop(lost)

    def _drop(self, message):
        self.held -= {(one.topic, partition) for one in message.partitions for partition in one.partitions}

    def _send(self, **message):
        self.session.send(consumer.GroupSessionRequest(**message))

    def leave(self):
        """Leaves, once everything is answered."""
        self.session.close()
        self._thread.join(SECONDS)
        assert not self._thread.is_alive(), "the session did not end"


def batch(name, values, **fields):
    """A batch of records without keys for topic `name`."""
    records = [v if isinstance(v, record.Record) else record.Record(value=v) for v in values]
    return producer.AppendBatch(topic=name, records=records, **fields)


def earliest():
    return consumer.Position(earliest=consumer.Position.Earliest())


def latest():
    return consumer.Position(latest=consumer.Position.Latest())


def reason(error):
    """(reason, facts) of a failed call."""
    for detail in rpc_status.from_call(error).details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            assert info.domain == "runnel"
            return info.reason, dict(info.metadata)
    raise AssertionError(f"no ErrorInfo in {error}")
