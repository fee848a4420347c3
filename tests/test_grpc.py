"""The gRPC interface as a stranger uses it, beside Kafka clients on the same topics."""
import re
import socket
import subprocess
import sys

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

import test_docs as docs
from harness import log, rpc
from harness.process import wait_until
from harness.rpc import batch, consumer, earliest, latest, producer, record, segment

PLENTY = consumer.ReadCredit(records=1 << 40, bytes=1 << 40)


@pytest.fixture
def client(broker):
    with rpc.Client(broker.grpc_address) as connected:
        yield connected


def read(client, name, **fields):
    """Everything of a topic up to its present end, with one session."""
    ranges = [consumer.ReadRange(topic=name, start=earliest(), stop=latest())]
    opened = consumer.ReadSessionRequest.Open(ranges=ranges, credit=PLENTY, **fields)
    session = rpc.Session(client.consumer.ReadSession, consumer.ReadSessionRequest(open=opened))
    records = {}
    for reply in session.replies:
        if reply.WhichOneof("message") == "batch":
            records.setdefault(reply.batch.partition, []).extend(reply.batch.records)
    session.close()
    return records


def test_what_grpc_writes_kafka_reads_and_the_reverse(broker, client):
    log.create_topic(broker.address, "t", 3)
    headers = [record.Header(key="h", value=b"1"), record.Header(key="h")]
    keyed = [record.Record(key=f"k{i}".encode(), value=bytes([i]), headers=headers, timestamp_ms=1_700_000_000_000 + i)
             for i in range(100)]
    for compression in (record.COMPRESSION_NONE, record.COMPRESSION_ZSTD):
        answer = client.producer.Produce(producer.ProduceRequest(batch=batch("t", keyed, compression=compression)))
        assert {o.appended.durability for o in answer.outcomes} == {record.DURABILITY_LOCAL}
    client.producer.Produce(producer.ProduceRequest(batch=batch("t", [record.Record()], partition=0)))
    # The Java partitioner of librdkafka puts the same keys into the same partitions.
    kafka = log.producer(broker.address, partitioner="murmur2_random")
    for r in keyed:
        kafka.produce("t", r.value, r.key, headers=[("h", b"1"), ("h", None)], timestamp=r.timestamp_ms)
    assert kafka.flush(60) == 0
    by_kafka = log.read_all(broker.address, "t")
    log.assert_contiguous(by_kafka)
    where = {}
    for r in log.flat(by_kafka):
        where.setdefault(r.key, []).append(r.partition)
    assert all(len(set(parts)) == 1 and len(parts) == 3 for key, parts in where.items() if key), where
    def as_kafka(partition, r):
        optional = lambda message, field: getattr(message, field) if message.HasField(field) else None
        return log.Record(partition, r.offset, r.timestamp_ms, optional(r, "key"), optional(r, "value"),
                          tuple((h.key, optional(h, "value")) for h in r.headers))
    by_grpc = {p: [as_kafka(p, r) for r in records] for p, records in read(client, "t").items()}
    assert by_grpc == by_kafka
    fetched = client.consumer.Fetch(consumer.FetchRequest(topic="t", partition=1, start=consumer.Position(offset=5)))
    assert [as_kafka(1, r) for r in fetched.records] == by_kafka[1][5:505]


def test_a_retry_is_stored_once_also_across_a_kill(broker):
    with rpc.Client(broker.grpc_address) as client:
        identity = client.producer.InitProducer(producer.InitProducerRequest()).producer
        sequence = producer.ProducerSequence(producer=identity, base_sequence=0)
        request = producer.ProduceRequest(batch=batch("t", [b"a", b"b"], partition=0, sequence=sequence))
        first = client.producer.Produce(request)
    broker.kill()
    broker.start()
    with rpc.Client(broker.grpc_address) as client:
        again = client.producer.Produce(request)
        assert again.outcomes[0].appended.base_offset == first.outcomes[0].appended.base_offset == 0
        late = producer.ProduceRequest(batch=batch("t", [b"c"], partition=0, expected_offset=1))
        with pytest.raises(grpc.RpcError) as refused:
            client.producer.Produce(late)
        assert refused.value.code() == grpc.StatusCode.ABORTED
        assert rpc.reason(refused.value) == ("OFFSET_MISMATCH",
                                             {"next_offset": "2", "topic": "t", "partition": "0"})
        assert [r.value for r in read(client, "t")[0]] == [b"a", b"b"]


def test_sessions_drain_at_a_stop_and_go_on_after_it(make_broker):
    broker = make_broker({"GRPC__DRAIN_GRACE": "2s"}).start()
    log.create_topic(broker.address, "t", 1)
    sent, seen, position = 0, [], consumer.Position(offset=0)
    for incarnation in range(2):
        with rpc.Client(broker.grpc_address) as client:
            opened = producer.AppendSessionRequest.Open()
            append = rpc.Session(client.producer.AppendSession, producer.AppendSessionRequest(open=opened))
            assert append.reply()[0] == "opened"
            ranges = [consumer.ReadRange(topic="t", start=position)]
            opened = consumer.ReadSessionRequest.Open(ranges=ranges, credit=PLENTY)
            reader = rpc.Session(client.consumer.ReadSession, consumer.ReadSessionRequest(open=opened))
            assert reader.reply()[0] == "opened"
            for n in range(sent, sent + 50):
                append.send(producer.AppendSessionRequest(batch=batch("t", [b"%d" % n], partition=0)))
            for n in range(sent, sent + 50):
                name, ack = append.reply()
                assert (name, ack.outcomes[0].appended.base_offset) == ("ack", n)
            sent += 50
            while len(seen) < sent:
                name, message = reader.reply()
                if name == "batch":
                    seen += [r.value for r in message.records]
                    position = consumer.Position(offset=message.next_offset)
            if incarnation == 0:
                broker.process.terminate()
                assert append.reply()[0] == "drain"
                append.close()
                while reader.reply()[0] != "drain":
                    pass
                reader.close()
                assert not list(append.replies) and not list(reader.replies), "both end without an error"
                assert broker.wait_exit() == 0
                broker.start()
    assert seen == [b"%d" % n for n in range(100)]


def test_health_says_when_the_broker_stops(make_broker):
    broker = make_broker({"GRPC__DRAIN_GRACE": "1s"}).start()
    with rpc.Client(broker.grpc_address) as client:
        health = health_pb2_grpc.HealthStub(client.channel)
        for service in ("", "runnel.produce.v1.ProducerService"):
            assert health.Check(health_pb2.HealthCheckRequest(service=service)).status == 1
        with pytest.raises(grpc.RpcError) as unknown:
            health.Check(health_pb2.HealthCheckRequest(service="nobody"))
        assert unknown.value.code() == grpc.StatusCode.NOT_FOUND
        watch = health.Watch(health_pb2.HealthCheckRequest(), timeout=60)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        broker.process.terminate()
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert broker.wait_exit() == 0


def test_reflection_describes_every_service(client):
    database = ProtoReflectionDescriptorDatabase(client.channel)
    services = set(database.get_services())
    assert {"runnel.produce.v1.ProducerService", "runnel.consume.v1.ConsumerService", "runnel.admin.v1.TopicService",
            "runnel.admin.v1.SegmentService", "runnel.cluster.v1.ClusterService", "grpc.health.v1.Health"} <= services
    file = database.FindFileContainingSymbol("runnel.produce.v1.ProducerService")
    assert [m.name for m in file.service[0].method] == ["Produce", "AppendSession", "InitProducer"]


def test_a_sealed_segment_is_in_the_bucket(broker, client):
    client.producer.Produce(producer.ProduceRequest(batch=batch("t", [b"a"] * 10, partition=0)))
    answer = client.segments.SealSegments(segment.SealSegmentsRequest(topic="t", wait=True))
    sealed, = answer.partitions
    assert (sealed.sealed_offset, sealed.shipped_offset) == (10, 10)
    assert len(broker.parquet_files("t")) == 1


def test_the_wrong_port_names_the_right_one(broker):
    def say(port, data):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as s:
            s.sendall(data)
            try:
                return s.recv(4096)
            except ConnectionResetError:
                return b""
    answer = say(broker.grpc_port, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ") and f"127.0.0.1:{broker.http_port}".encode() in answer
    assert say(broker.grpc_port, bytes.fromhex("00000014001200030000000100046d65")) == b""
    assert say(broker.grpc_port, bytes.fromhex("16030100c8010000c40303")) == b""
    assert say(broker.kafka_port, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == b""
    for line in (f"Kafka is served on {broker.address}", "without TLS", f"gRPC is served on {broker.grpc_address}"):
        wait_until(lambda: line in broker.log(), line)


def test_calls_are_counted(broker, client):
    client.cluster.GetCluster(rpc.cluster.GetClusterRequest())
    wait_until(lambda: broker.metric("runnel_grpc_requests_total"), "the call being counted")
    text = broker.http("/metrics")[1]
    assert 'runnel_grpc_requests_total{method="ClusterService/GetCluster",code="OK"} 1' in text, text
    assert broker.metric("runnel_grpc_connections") == 1 and "runnel_grpc_request_seconds" in text


def test_the_first_client_of_the_page(broker, tmp_path):
    """As docs/grpc.md prints it, with what follows it; what it installs is here already."""
    (shell,), clients = (docs.blocks("docs/grpc.md", language) for language in ("sh", "python"))
    generate = shell.splitlines()[1].replace("python3", sys.executable, 1).replace("=. ", f"={tmp_path} ")
    subprocess.run(["bash", "-c", generate], cwd=docs.ROOT, check=True, timeout=60)
    code = "\n".join(clients).replace("127.0.0.1:9093", broker.grpc_address)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60,
                          check=False)
    assert done.stdout.splitlines() == [
        "stored from offset 0", "0 ada hello", "1 grace world", "2 records, next 2",
        "read in a group: hello", "read in a group: world"], done.stderr


def test_the_page_names_every_reason():
    source = "".join(file.read_text() for file in sorted(docs.ROOT.glob("crates/grpc/src/**/*.rs")))
    known = set(re.findall(r'Code::\w+, "([A-Z_]+)"', source)) | set(re.findall(r'const \w+: &str = "([A-Z_]+)";', source))
    table = (docs.ROOT / "docs/grpc.md").read_text().split("| reason |")[1].split("## Limits")[0]
    named = {name for row in table.splitlines() for name in re.findall(r"`([A-Z_]+)`", row.split(" | ")[0])}
    assert named == known
