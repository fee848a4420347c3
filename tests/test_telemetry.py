"""Traces reach a collector, and one that is away disturbs nobody."""
import concurrent.futures

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from harness import log
from harness.process import free_port, wait_until


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """OTLP over gRPC on loopback; keeps every span that it gets."""

    def __init__(self, port):
        self.spans, self.resources = [], []
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self.server)
        assert self.server.add_insecure_port(f"127.0.0.1:{port}") == port
        self.server.start()

    def Export(self, request, context):
        for resource in request.resource_spans:
            self.resources.append({a.key: a.value.string_value for a in resource.resource.attributes})
            self.spans += [span for scope in resource.scope_spans for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()


@pytest.fixture
def collect(monkeypatch):
    """Starts collectors on a port; stops them at the end. Batches are sent at once."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    started = []

    def start(port):
        started.append(Collector(port))
        return started[-1]

    yield start
    for collector in started:
        collector.server.stop(None).wait()


def write_one(broker):
    log.create_topic(broker.address, "t", 1)
    log.produce(broker.address, "t", [(0, None, b"v", None)])


@pytest.mark.parametrize("by", ["setting", "environment"])
def test_spans_arrive(make_broker, collect, monkeypatch, by):
    collector = collect(port := free_port())
    settings = {"NODE__ID": "broker-a"}
    if by == "setting":
        settings["TELEMETRY__OTLP_ENDPOINT"] = f"http://127.0.0.1:{port}"
    else:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    broker = make_broker(settings).start()
    write_one(broker)
    assert broker.stop() == 0
    spans = {span.span_id: span for span in collector.spans}
    assert {"request", "append", "ship"} <= {span.name for span in spans.values()}
    append, = [span for span in spans.values() if span.name == "append"]
    assert spans[append.parent_span_id].name == "request"
    assert {"topic", "partition", "bytes"} <= {attribute.key for attribute in append.attributes}
    for resource in collector.resources:
        assert (resource["service.name"], resource["service.instance.id"]) == ("runnel", "broker-a")
        assert resource["service.version"] == broker.cli("--version").split()[1]


def test_no_spans_without_an_endpoint_or_a_share(make_broker, collect, monkeypatch):
    collector = collect(port := free_port())
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    for settings in ({"TELEMETRY__OTLP_ENDPOINT": "none"}, {"TELEMETRY__OTLP_SAMPLING": "0"}):
        broker = make_broker(settings).start()
        write_one(broker)
        assert broker.stop() == 0
    assert not collector.spans


def test_an_inherited_endpoint_that_cannot_be_used_keeps_nobody_from_serving(make_broker, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.invalid:4317")
    broker = make_broker().start()
    assert "no traces are sent" in broker.log()
    status, printed = make_broker({"TELEMETRY__OTLP_ENDPOINT": "https://collector.invalid:4317"}).run_to_end()
    assert status == 1 and "telemetry.otlp_endpoint" in printed


def test_a_collector_that_is_away_is_noted_once(make_broker, collect):
    port = free_port()
    broker = make_broker({"TELEMETRY__OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}).start()

    def lines(text):
        return [line for line in broker.log().splitlines() if text in line]

    write_one(broker)
    wait_until(lambda: lines("does not take traces"), "a note of the missing collector")
    for _ in range(3):
        log.produce(broker.address, "t", [(0, None, b"v", None)])
    collector = collect(port)

    def back():
        log.produce(broker.address, "t", [(0, None, b"v", None)])
        return lines("takes traces again")
    wait_until(back, "the collector getting traces")
    assert broker.stop() == 0
    assert len(lines("does not take traces")) == 1 and collector.spans
