"""Kafka Connect, a standalone worker: a file becomes a topic, and the topic a file."""
import os

from harness import log
from harness.process import free_port, spawn, wait_until

WORKER = """
bootstrap.servers={address}
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.storage.StringConverter
offset.storage.file.filename={folder}/offsets
offset.flush.interval.ms=500
listeners=http://127.0.0.1:{port}
plugin.discovery=service_load
"""

SOURCE = """
name=source
connector.class=org.apache.kafka.connect.file.FileStreamSourceConnector
file={folder}/in
topic=lines
"""

SINK = """
name=sink
connector.class=org.apache.kafka.connect.file.FileStreamSinkConnector
file={folder}/out
topics=lines
"""


def start(folder, address):
    """A worker with both connectors, and its process."""
    files = {"worker": WORKER, "source": SOURCE, "sink": SINK}
    for name, text in files.items():
        (folder / f"{name}.properties").write_text(text.format(address=address, folder=folder, port=free_port()))
    jvm = ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
    main = "org.apache.kafka.connect.cli.ConnectStandalone"
    return spawn([*jvm, "-cp", os.environ["KAFKA_LIBS"] + "/*", main, *(folder / f"{name}.properties" for name in files)],
                 folder / "connect.log")


def test_a_file_becomes_a_topic_and_a_file_again(broker, tmp_path):
    """The sink's offsets are committed: the second worker writes only what the first has not, and the source goes on."""
    lines = [f"line {i}" for i in range(20)]
    source, sink = tmp_path / "in", tmp_path / "out"

    def run(until):
        worker = start(tmp_path, broker.address)
        try:
            def arrived():
                assert worker.poll() is None, (tmp_path / "connect.log").read_text()[-4000:]
                return sink.exists() and len(sink.read_text().splitlines()) >= until
            wait_until(arrived, f"{until} lines", seconds=90, every=0.1)
            worker.terminate()
            worker.wait(60)
        finally:
            worker.kill()

    source.write_text("".join(f"{line}\n" for line in lines[:10]))
    run(until=10)
    with open(source, "a", encoding="ascii") as more:
        more.writelines(f"{line}\n" for line in lines[10:])
    run(until=20)
    assert sink.read_text().splitlines() == lines
    assert [record.value.decode() for record in log.read_all(broker.address, "lines")[0]] == lines
