"""The command line as its users meet it: the real binary against a real broker."""
import base64
import csv
import itertools
import json
import os
import pty
import signal
import subprocess
import time

import pytest
import yaml

from harness import log
from harness.broker import Broker, binary
from harness.process import clean_environment, free_port, wait_until

names = (f"topic-{n}" for n in itertools.count())


@pytest.fixture(scope="module", name="broker")
def one_broker(tmp_path_factory):
    """One broker for all of these tests: each has a topic of its own."""
    broker = Broker(tmp_path_factory.mktemp("cli")).start()
    yield broker
    broker.kill()
    assert not broker.unexpected_errors(), broker.unexpected_errors()[:5]


@pytest.fixture(name="cli")
def command_line(broker):
    """Runs a verb; fails unless it ends with `code`. Returns (stdout, stderr) as bytes and text."""
    def run(*args, stdin=b"", code=0, bootstrap=broker.grpc_address, env=None):
        done = subprocess.run([binary(), *map(str, args)], input=stdin, capture_output=True, timeout=60, check=False,
                              env=clean_environment() | {"RUNNEL_BOOTSTRAP": bootstrap} | (env or {}))
        assert done.returncode == code, (args, done)
        return done.stdout, done.stderr.decode()
    return run


@pytest.fixture(name="topic")
def fresh_topic(cli):
    """A topic with three partitions."""
    topic = next(names)
    cli("topic", "create", topic, "-p", 3)
    return topic


def lines(*values):
    return b"".join(value + b"\n" for value in values)


def as_json(cli, *args):
    return json.loads(cli(*args, "-o", "json")[0])


def records(cli, topic, *args):
    """What `consume -o json` prints."""
    out, _ = cli("consume", topic, "--until", "end", "-o", "json", *args)
    return [json.loads(line) for line in out.splitlines()]


def test_the_life_of_a_topic(cli):
    topic = next(names)
    made = as_json(cli, "topic", "create", topic, "-p", 2, "-c", "retention.ms=1000", "-c", "max.message.bytes=2000")
    assert (made["name"], made["partitions"]) == (topic, 2)
    assert "exists" in cli("topic", "create", topic, code=1)[1]
    assert as_json(cli, "topic", "create", topic, "--if-not-exists") == made
    assert {"name": topic, "id": made["id"], "internal": False, "partitions": 2} in as_json(cli, "topic", "list")
    cli("topic", "alter", topic, "-c", "retention.ms=2000", "--delete-config", "max.message.bytes")
    cli("produce", topic, "-p", 1, stdin=b"a\nb\n")
    shown = as_json(cli, "topic", "describe", topic)
    assert shown["configs"] == [{"name": "retention.ms", "value": "2000", "source": "topic"}]
    bounds = [(p["partition"], p["log_start_offset"], p["end_offset"]) for p in shown["partitions"]]
    assert bounds == [(0, 0, 0), (1, 0, 2)]
    assert len(as_json(cli, "topic", "describe", topic, "--all-configs")["configs"]) > 5
    table = cli("topic", "describe", topic)[0].decode()
    assert "PARTITION" in table and "retention.ms   2000  topic\n" in table
    assert "--yes" in cli("topic", "delete", topic, code=1)[1]
    cli("topic", "delete", topic, "--yes")
    assert topic not in cli("topic", "list")[0].decode().split()
    cli("topic", "delete", topic, "--yes", code=3)


def test_a_terminal_is_asked(cli, broker, topic):
    env = clean_environment() | {"RUNNEL_BOOTSTRAP": broker.grpc_address}
    for answer, code in ((b"no\n", 1), (b"yes\n", 0)):
        terminal, ours = pty.openpty()
        os.write(terminal, answer)
        done = subprocess.run([binary(), "topic", "delete", topic], env=env, stdin=ours, capture_output=True,
                              timeout=60, check=False)
        os.close(ours)
        os.close(terminal)
        assert (done.returncode, done.stdout) == (code, b"") and topic.encode() in done.stderr
    cli("topic", "describe", topic, code=3)


def test_yaml_says_what_json_says(cli, topic):
    cli("topic", "describe", topic)  # a partition that nobody has used has no epoch yet
    printed = cli("topic", "describe", topic, "-o", "yaml")[0].decode()
    assert yaml.safe_load(printed) == as_json(cli, "topic", "describe", topic)
    assert "ready: true\n" in cli("cluster", "status", "-o", "yaml")[0].decode()


@pytest.mark.parametrize("verb", ["config print", "config docs", "doctor"])
def test_verbs_without_a_broker_speak_yaml_too(make_broker, verb):
    broker = make_broker()
    ours, theirs = (broker.run(*verb.split(), "-o", form).stdout for form in ("json", "yaml"))
    shape = (lambda found: [f["check"] for f in found]) if verb == "doctor" else lambda found: found
    assert shape(json.loads(ours)) == shape(yaml.safe_load(theirs)) != []


def test_a_wrong_config_is_refused_whole(cli, topic):
    _, error = cli("topic", "alter", topic, "-c", "retention.ms=5", "-c", "no.such=1", code=1)
    assert "no.such" in error
    assert as_json(cli, "topic", "describe", topic)["configs"] == []


def test_lines_become_records_and_back(cli, topic):
    odd = lines(b"plain", b"", "caf\u00e9".encode(), b"\xff\xfe", b"tab\there", b"cr\r") + b"no end"
    _, summary = cli("produce", topic, "-p", 0, stdin=odd)
    assert summary.startswith("7 records, 29 B in ")
    assert cli("consume", topic, "--until", "end")[0] == odd + b"\n"


def test_keys_choose_partitions_as_kafka_clients_do(cli, broker, topic):
    keys = [f"key-{n}".encode() for n in range(60)]
    cli("produce", topic, "-K", ":", stdin=lines(*(key + b":1" for key in keys)))
    client = log.producer(broker.address, partitioner="murmur2_random")
    for key in keys:
        client.produce(topic, b"2", key)
    assert client.flush(log.SECONDS) == 0
    for partition in log.read_all(broker.address, topic).values():
        ours, theirs = ({r.key for r in partition if r.value == value} for value in (b"1", b"2"))
        assert ours == theirs and ours


def test_records_go_round_through_json(cli, broker, topic):
    headers = [("h", b"1"), ("h", None), ("", b"\xff"), ("empty", b"")]
    written = [(0, b"k\xff", b"v\xfe", headers), (1, None, b"", None), (2, b"", None, None),
               (0, b"caf\xc3\xa9", b'"q"', None)]
    log.produce(broker.address, topic, written)
    copy = next(names)
    cli("topic", "create", copy, "-p", 3)
    out, _ = cli("consume", topic, "--until", "end", "-o", "json")
    cli("produce", copy, "-i", "json", stdin=out)
    assert log.read_all(broker.address, copy) == log.read_all(broker.address, topic)
    first = records(cli, topic, "-p", 0)[0]
    assert base64.b64decode(first["key_base64"]) == b"k\xff" and "key" not in first


def test_json_that_is_no_record_says_why(cli, topic):
    good = b'{"value": {"a": 1}, "headers": [{"key": "h", "value": "x"}], "timestamp": 5}\n'
    _, error = cli("produce", topic, "-i", "json", stdin=good + b'\n{"carrier": "UA"}\n', code=1)
    assert "1 record," in error and "line 3" in error and "`carrier`" in error
    record, = records(cli, topic)
    assert (record["value"], record["timestamp"]) == ('{"a":1}', 5)
    assert record["headers"] == [{"key": "h", "value": "x"}]


FLIGHTS = [
    {"carrier": "UA", "tailnum": "N14228", "dep_delay": 2, "dest": "IAH"},
    {"carrier": "AA", "tailnum": "N619AA", "dep_delay": -4.5, "dest": "MIA, \"Miami\""},
    {"carrier": "B6", "tailnum": None, "dep_delay": None, "dest": "00501"},
]


def test_a_csv_file(cli, topic, tmp_path):
    path = tmp_path / "flights.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FLIGHTS[0])
        writer.writeheader()
        writer.writerows(FLIGHTS)
    _, error = cli("produce", topic, "-f", path, "--key", "tailnum", "-H", "from=file", "--compression", "zstd")
    assert error.startswith("3 records, ") and "\r" not in error, "no bar without a terminal"
    read = records(cli, topic)
    assert sorted((json.loads(r["value"]) for r in read), key=str) == sorted(FLIGHTS, key=str)
    assert {r["key"] for r in read} == {"N14228", "N619AA", None}
    assert all(r["headers"] == [{"key": "from", "value": "file"}] for r in read)
    assert "no column `tail`" in cli("produce", topic, "-f", path, "--key", "tail", code=2)[1]
    assert "nowhere.csv" in cli("produce", topic, "-f", tmp_path / "nowhere.csv", code=1)[1]


def test_a_file_of_json_lines(cli, topic, tmp_path):
    path = tmp_path / "flights.ndjson"
    path.write_text("\n".join(json.dumps(flight) for flight in FLIGHTS))
    cli("produce", topic, "-f", path, "--key", "carrier", "-p", 2)
    assert [(r["key"], json.loads(r["value"])) for r in records(cli, topic)] == [(f["carrier"], f) for f in FLIGHTS]
    path.write_text('{"carrier": "UA"}\n{"carrier": \n')
    assert "line 2" in cli("produce", topic, "-f", path, code=1)[1]


def test_positions(cli, topic):
    stamped = ({"value": str(n), "timestamp": 1_700_000_000_000 + n * 1000, "partition": 1} for n in range(10))
    cli("produce", topic, "-i", "json", stdin="\n".join(map(json.dumps, stamped)).encode())

    def read(*args):
        return [int(value) for value in cli("consume", topic, "-p", 1, *args)[0].split()]
    assert read("--until", "end") == list(range(10))
    assert read("--from", 7, "--until", "end") == [7, 8, 9]
    assert read("--from", -2, "--until", "end") == [8, 9]
    assert read("--from", -99, "-n", 2) == [0, 1]
    assert read("--from", "end", "--until", "end") == []
    assert read("--until", 3) == [0, 1, 2]
    assert read("--from", "@1700000004000", "--until", "@2023-11-14T22:13:27Z") == [4, 5, 6]
    assert read("--from", "@-1h", "--until", "end") == []
    assert "11" in cli("consume", topic, "-p", 1, "--from", 11, code=1)[1]


def test_until_end_is_exact_while_writing_goes_on(cli, topic, broker):
    before = [b"%d" % n for n in range(500)]
    cli("produce", topic, "-p", 0, stdin=lines(*before))
    load = subprocess.Popen([binary(), "bench", "produce", "--topic", topic, "--rate", "500", "--duration", "30s"],
                            env=clean_environment() | {"RUNNEL_BOOTSTRAP": broker.grpc_address},
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: sum(p["end_offset"] for p in as_json(cli, "topic", "describe", topic)["partitions"]) > 600,
                   "the load has begun")
        low = [p["end_offset"] for p in as_json(cli, "topic", "describe", topic)["partitions"]]
        read = records(cli, topic)
        high = [p["end_offset"] for p in as_json(cli, "topic", "describe", topic)["partitions"]]
    finally:
        load.kill()
        load.wait()
    for partition in range(3):
        offsets = [r["offset"] for r in read if r["partition"] == partition]
        assert offsets == list(range(len(offsets)))
        assert low[partition] <= len(offsets) <= high[partition]


def test_formats(cli, topic):
    cli("produce", topic, "-i", "json", stdin=b'{"key": "k", "value": "v", "timestamp": 9, "partition": 2,'
        b'"headers": [{"key": "a", "value": "1"}, {"key": "b"}]}')
    printed, _ = cli("consume", topic, "-n", 1, "-f", r"%t %p %o %k=%v [%h] %T%%\n")
    assert printed == f"{topic} 2 0 k=v [a=1,b=] 9%\n".encode()
    assert "%x" in cli("consume", topic, "-f", "%x", code=2)[1]


def test_a_count_ends_it_over_all_partitions(cli, topic):
    for partition in range(3):
        cli("produce", topic, "-p", partition, stdin=lines(*[b"x"] * 5))
    assert len(cli("consume", topic, "-n", 7)[0].splitlines()) == 7
    assert cli("consume", topic, "-n", 0)[0] == b""


def test_a_closed_pipe_and_ctrl_c_end_it_in_silence(broker, cli, topic):
    cli("produce", topic, stdin=lines(*[b"x" * 1000] * 2000))
    env = clean_environment() | {"RUNNEL_BOOTSTRAP": broker.grpc_address, "RUNNEL": binary(), "TOPIC": topic}
    for verb in ('consume "$TOPIC"', 'consume "$TOPIC" --from -1', "topic list"):
        done = subprocess.run(["bash", "-c", f'set -o pipefail; "$RUNNEL" {verb} | head -n 1 | wc -l'],
                              env=env, capture_output=True, timeout=60, check=False)
        assert (done.returncode, done.stdout.strip(), done.stderr) == (0, b"1", b"")
    tail = subprocess.Popen([binary(), "consume", topic, "-f", "%p"], env=env, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)
    assert len(tail.stdout.read(2000)) == 2000, "it has read everything and waits"
    tail.send_signal(signal.SIGINT)
    assert (tail.wait(30), tail.communicate()) == (0, (b"", b""))


def test_records_come_as_they_are_written(broker, cli, topic):
    env = clean_environment() | {"RUNNEL_BOOTSTRAP": broker.grpc_address}
    tail = subprocess.Popen([binary(), "consume", topic, "-n", "2"], env=env, stdout=subprocess.PIPE)
    source = subprocess.Popen([binary(), "produce", topic, "-p", "0"], env=env, stdin=subprocess.PIPE,
                              stderr=subprocess.PIPE)
    for line in (b"one\n", b"two\n"):
        source.stdin.write(line)
        source.stdin.flush()
        assert tail.stdout.readline() == line
    assert tail.wait(30) == 0
    assert source.communicate()[1].startswith(b"2 records")


def test_a_broker_that_dies_and_restarts_costs_nothing_and_repeats_nothing(make_broker, cli):
    broker, count = make_broker().start(), 20_000
    at, env = broker.grpc_address, clean_environment() | {"RUNNEL_BOOTSTRAP": broker.grpc_address}
    cli("topic", "create", "t", bootstrap=at)
    tail = subprocess.Popen([binary(), "consume", "t", "-n", str(count)], env=env, stdout=subprocess.PIPE)
    source = subprocess.Popen([binary(), "produce", "t"], env=env, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    source.stdin.write(b"0\n")
    source.stdin.flush()
    seen = [tail.stdout.readline()]
    for number in range(1, count):
        source.stdin.write(b"%d\n" % number)
        if end := {5000: broker.kill, 10_000: broker.stop, 15_000: broker.kill}.get(number):
            end()
            broker.start(wait=False)
    assert source.communicate(timeout=60)[1].startswith(b"%d records" % count) and source.returncode == 0
    seen += tail.communicate(timeout=60)[0].splitlines(keepends=True)
    expected = [b"%d\n" % number for number in range(count)]
    assert seen == expected and tail.returncode == 0
    assert cli("consume", "t", "--until", "end", bootstrap=at)[0] == b"".join(expected)


def test_batches_fit_into_their_topic(cli):
    topic = next(names)
    cli("topic", "create", topic, "-c", "max.message.bytes=1000")
    small = [b"x" * 100] * 500
    assert cli("produce", topic, stdin=lines(*small))[1].startswith("500 records")
    _, error = cli("produce", topic, stdin=lines(b"x" * 2000), code=1)
    assert error.startswith("0 records") and "1000" in error
    assert cli("consume", topic, "--until", "end")[0] == lines(*small)


def test_sealing_ships_now(make_broker, cli):
    broker = make_broker({"SEGMENT__MAX_AGE": "1h"}).start()
    cli("topic", "create", "t", "-p", 2, bootstrap=broker.grpc_address)
    cli("produce", "t", "-p", 1, stdin=b"a\nb\n", bootstrap=broker.grpc_address)
    sealed = json.loads(cli("segment", "seal", "t", "--wait", "-o", "json", bootstrap=broker.grpc_address)[0])
    assert [(p["partition"], p["sealed_offset"], p["shipped_offset"]) for p in sealed] == [(0, 0, 0), (1, 2, 2)]
    assert len(broker.parquet_files("t")) == 1
    listed = json.loads(broker.cli("segment", "list", "t", "-o", "json"))
    assert [(s["partition"], s["base_offset"], s["next_offset"]) for s in listed] == [(1, 0, 2)]
    assert f"records: 2\n" in broker.cli("segment", "list", "t", "-o", "yaml")


def test_the_cluster(cli):
    status = as_json(cli, "cluster", "status")
    assert status["ready"] and len(status["nodes"]) == 1 and all(check["passed"] for check in status["checks"])
    assert ": ready\n" in cli("cluster", "status")[0].decode()


@pytest.mark.parametrize("verb", [
    ("topic", "describe"), ("topic", "alter", "-c", "retention.ms=1"), ("topic", "delete", "--yes"), ("produce",),
    ("consume",), ("segment", "seal"), ("bench", "consume", "--topic")], ids=" ".join)
def test_an_unknown_topic_is_exit_code_3(cli, verb):
    assert "nowhere" in cli(*verb, "nowhere", code=3)[1]


def test_an_unknown_partition_is_exit_code_3(cli, topic):
    assert "3" in cli("produce", topic, "-p", 3, stdin=b"x\n", code=3)[1]
    assert "3" in cli("consume", topic, "-p", 3, code=3)[1]


@pytest.mark.parametrize("args", [
    ("consume",), ("consume", "t", "--from", "beginning"), ("consume", "t", "--until", "-3"), ("topic", "alter", "t"),
    ("topic", "create", "t", "-c", "novalue"), ("produce", "t", "-i", "json", "-K", ":"),
    ("produce", "t", "-K", ":", "-f", "x.csv"), ("bench", "produce", "--rate", "0"),
    ("consume", "t", "-f", "%v", "-o", "json")], ids=" ".join)
def test_usage_is_exit_code_2(cli, args):
    assert cli(*args, code=2)[0] == b""


def test_nobody_answers(cli):
    at = f"127.0.0.1:{free_port()}"
    for verb in (("topic", "list"), ("consume", "t"), ("produce", "t"), ("cluster", "status")):
        _, error = cli(*verb, code=1, bootstrap=at)
        assert at in error and "runnel serve" in error and "refused" in error
    _, error = cli("--bootstrap", "localhost", "topic", "list", code=1)
    assert "`localhost`" in error


def test_the_second_address_is_tried(cli, broker, topic):
    at = f"127.0.0.1:{free_port()},{broker.grpc_address}"
    assert topic in cli("topic", "list", bootstrap=at)[0].decode()
    assert topic in cli("--bootstrap", at, "topic", "list", bootstrap="127.0.0.1:1")[0].decode()


def test_another_door_names_the_right_one(cli, broker):
    for address in (broker.address, f"127.0.0.1:{broker.http_port}"):
        _, error = cli("topic", "list", code=1, bootstrap=address)
        assert address in error and "gRPC" in error and "runnel serve" not in error
        assert "grpc.listen" in error or broker.grpc_address in error


def test_bench(cli):
    topic = next(names)
    flags = ("--topic", topic, "--partitions", 2, "-o", "json")
    produced = json.loads(cli("bench", "produce", *flags, "-n", 2000, "--size", "100")[0])["produce"]
    assert (produced["records"], produced["bytes"]) == (2000, 200_000)
    assert 0 < produced["latency_ms"]["p50"] <= produced["latency_ms"]["max"]
    assert json.loads(cli("bench", "consume", "--topic", topic, "-o", "json")[0])["consume"]["records"] == 2000
    ends = json.loads(cli("bench", "e2e", *flags, "-n", 200, "--rate", 1000)[0])
    assert ends["produce"]["records"] == ends["end to end"]["records"] == 200
    assert ends["end to end"]["latency_ms"]["p50"] > 0
    caught = json.loads(cli("bench", "catchup", *flags, "-n", 200)[0])
    assert caught["catch up"]["records"] >= 2200
    assert "P99.9" in cli("bench", "e2e", "--topic", topic, "-n", 50)[0].decode()


def test_a_stall_counts_against_every_record_that_waited(make_broker, cli):
    """At 100 records a second a broker that stands still for 0.5 s makes about 50 records late, not one."""
    broker = make_broker().start()
    env = clean_environment() | {"RUNNEL_BOOTSTRAP": broker.grpc_address}
    bench = subprocess.Popen([binary(), "bench", "produce", "--rate", "100", "--duration", "2s", "-o", "json"], env=env,
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    wait_until(lambda: (broker.metric("runnel_produce_records_total") or 0) > 20, "the load has begun")
    broker.pause()
    time.sleep(0.5)
    broker.resume()
    latency = json.loads(bench.communicate(timeout=30)[0])["produce"]["latency_ms"]
    assert latency["max"] > 450 and latency["p90"] > 200
