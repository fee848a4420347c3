"""`runnel group`, against members that are real consumers, and against what Kafka's own tool says."""
import itertools
import json
import os
import random
import re
import subprocess
import threading
import time

import confluent_kafka
import pytest
import yaml

from harness import groups, log
from harness.broker import Broker, binary
from harness.history import Load
from harness.process import clean_environment, wait_until

PARTITIONS = 3
names = (f"g-{n}" for n in itertools.count())


@pytest.fixture(scope="module", name="broker")
def one_broker(tmp_path_factory):
    """One broker for all of these tests: each has a topic and a group of its own."""
    broker = Broker(tmp_path_factory.mktemp("cli-groups"), groups.QUICK).start()
    yield broker
    broker.kill()
    assert not broker.unexpected_errors(), broker.unexpected_errors()[:5]


@pytest.fixture(name="cli")
def command_line(broker):
    """Runs `runnel group`; fails unless it ends with `code`. Returns (stdout, stderr)."""
    def run(*args, code=0):
        done = subprocess.run([binary(), "group", *map(str, args)], capture_output=True, text=True, timeout=60,
                              stdin=subprocess.DEVNULL, check=False,
                              env=clean_environment() | {"RUNNEL_BOOTSTRAP": broker.grpc_address})
        assert done.returncode == code, (args, done)
        return done.stdout, done.stderr
    return run


@pytest.fixture(name="topic")
def filled_topic(broker):
    """A topic whose partitions have 10, 20 and 30 records, a second apart, the last of each a minute old."""
    topic, newest = next(names), int(time.time() * 1000) - 60_000
    log.create_topic(broker.address, topic, PARTITIONS)
    client = log.producer(broker.address)
    for partition, count in enumerate((10, 20, 30)):
        for n in range(count):
            client.produce(topic, b"%d" % n, partition=partition, timestamp=newest - 1000 * (count - 1 - n))
        assert client.flush(log.SECONDS) == 0
    return topic


@pytest.fixture(name="group")
def fresh_group():
    return next(names)


def as_json(cli, *args):
    return json.loads(cli(*args, "-o", "json")[0])


def commit(broker, group, topic, offsets):
    """Commits from outside, as a tool does."""
    client = groups.consumer(broker.address, group)
    parts = [confluent_kafka.TopicPartition(topic, p, o) for p, o in enumerate(offsets) if o is not None]
    client.commit(offsets=parts, asynchronous=False)
    client.close()


def kafka_tool(broker, *args):
    """Kafka's own kafka-consumer-groups."""
    jvm = ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"]
    done = subprocess.run([*jvm, "-cp", os.environ["KAFKA_LIBS"] + "/*",
                           "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", "--bootstrap-server",
                           broker.address, *map(str, args)], capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done
    return done.stdout


def rows(table, topic):
    """The words of the lines about a topic."""
    return [line.split() for line in table.splitlines() if topic in line.split()]


class Member:
    """A consumer that polls until it is left."""

    def __init__(self, broker, group, topic, **settings):
        self.client = groups.consumer(broker.address, group, **{"client.id": "reader", **settings})
        self.client.subscribe([topic])
        wait_until(lambda: (self.client.poll(0.1), self.client.assignment())[1], "it is assigned partitions")

    def __enter__(self):
        return self.client

    def __exit__(self, *_):
        self.client.close()


def test_a_group_with_a_member(broker, cli, topic, group):
    with Member(broker, group, topic) as member:
        member.commit(offsets=[confluent_kafka.TopicPartition(topic, 1, 15)], asynchronous=False)
        listed = {row["group"]: row for row in as_json(cli, "list")}
        assert listed[group] == {"group": group, "type": "classic", "state": "Stable", "protocol_type": "consumer",
                                 "members": 1}
        assert re.search(rf"^{group} +classic +Stable +1$", cli("list")[0], re.MULTILINE)
        shown = as_json(cli, "describe", group)
        assert (shown["state"], shown["type"], shown["protocol"]) == ("Stable", "classic", "range")
        one, = shown["members"]
        assert (one["client_id"], one["instance_id"]) == ("reader", None) and "127.0.0.1" in one["client_host"]
        assert one["member_id"].startswith("reader-")
        assert one["assignment"] == [{"topic": topic, "partitions": [0, 1, 2]}]
        offsets = [(o["partition"], o["committed_offset"], o["end_offset"], o["lag"], o["member_id"])
                   for o in shown["offsets"]]
        who = one["member_id"]
        assert offsets == [(0, None, 10, None, who), (1, 15, 20, 5, who), (2, None, 30, None, who)]
        theirs = {int(row[2]): (row[3], row[4], row[5], row[6])
                  for row in rows(kafka_tool(broker, "--describe", "--group", group), topic)}
        dash = {None: "-"}
        assert theirs == {p: (dash.get(at, str(at)), str(end), dash.get(lag, str(lag)), who)
                          for p, at, end, lag, who in offsets}
        table = cli("describe", group)[0]
        assert f"group {group} (classic, range): Stable\n" in table and "3 partitions" in table
        assert "5 records behind in 1 partition, up to 1m" in table


def test_lag_in_records_and_in_time(broker, cli, topic, group):
    commit(broker, group, topic, [10, 15, 0])
    shown = as_json(cli, "lag", group)
    assert (shown["group"], shown["lag"]) == (group, 35)
    assert [(p["partition"], p["lag"]) for p in shown["partitions"]] == [(0, 0), (1, 5), (2, 30)]
    caught_up, some, most = [p["lag_ms"] for p in shown["partitions"]]
    assert caught_up == 0 and 64_000 <= some < 120_000 and 89_000 <= most < 180_000 and shown["lag_ms"] == most
    out, _ = cli("lag", group)
    assert out.splitlines()[0].split() == ["TOPIC", "PARTITION", "COMMITTED", "LOG", "START", "END", "LAG", "BEHIND",
                                           "MEMBER"]
    assert re.search(rf"^{topic} +1 +15 +0 +20 +5 +1m\d+s +-$", out, re.MULTILINE), out
    assert out.splitlines()[-1].startswith("35 records behind in 2 partitions, up to 1m")
    commit(broker, group, topic, [10, 20, 30])
    assert cli("lag", group)[0].splitlines()[-1] == "nothing is left to read"


def test_lag_of_what_is_only_in_the_bucket(broker, cli, topic, group):
    """Trimmed records count as Kafka counts them, and times come from the first record that is left."""
    commit(broker, group, topic, [0, 0, 0])
    for verb in (["segment", "seal", topic, "--wait"], ["topic", "trim", topic, "-p", "2", "-b", "10", "--yes"]):
        subprocess.run([binary(), *verb], check=True, capture_output=True, timeout=60,
                       env=clean_environment() | {"RUNNEL_BOOTSTRAP": broker.grpc_address})
    last = as_json(cli, "lag", group)["partitions"][2]
    assert (last["log_start_offset"], last["end_offset"], last["lag"]) == (10, 30, 30)
    assert 79_000 <= last["lag_ms"] < 170_000


@pytest.mark.parametrize("target", [
    ("--to-earliest",), ("--to-latest",), ("--to-offset", "12"), ("--shift-by", "-5"), ("--shift-by", "6"),
    ("--to-datetime", None)], ids=lambda target: target[0].strip("-"))
def test_a_reset_does_what_kafkas_tool_would_do(broker, cli, topic, group, target):
    committed = [1, 12, 30]
    commit(broker, group, topic, committed)
    if target[0] == "--to-datetime":
        # Half of what the last minute and a bit brought, in the one spelling that both tools take: of UTC.
        at = time.time() - 60 - 4.5
        target = ("--to-datetime", time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + ".000")
    plan = kafka_tool(broker, "--reset-offsets", "--dry-run", "--group", group, "--topic", topic, *target)
    theirs = {int(row[2]): int(row[3]) for row in rows(plan, topic)}
    assert set(theirs) == {0, 1, 2}
    planned, said = cli("reset", group, "--topic", topic, *target, "--dry-run", "-o", "json")
    assert "dry run" in said and groups.committed(broker.address, group, topic, PARTITIONS) == committed
    offsets = json.loads(planned)
    assert {o["partition"]: o["new_offset"] for o in offsets} == theirs
    assert [o["old_offset"] for o in offsets] == committed
    out, said = cli("reset", group, "--topic", topic, *target)
    assert "dry run" not in said
    assert [[int(n) for n in row[1:]] for row in rows(out, topic)] == [
        [p, committed[p], theirs[p]] for p in range(PARTITIONS)]
    assert groups.committed(broker.address, group, topic, PARTITIONS) == [theirs[p] for p in range(PARTITIONS)]
    for o in offsets:
        if o["clipped_from"] is not None:
            assert f"partition {o['partition']} of `{topic}` has no offset {o['clipped_from']}: the nearest is " \
                   f"{o['new_offset']}\n" in said
    clipped = {("--to-offset", "12"): [12, None, None], ("--shift-by", "-5"): [-4, None, None],
               ("--shift-by", "6"): [None, None, 36]}.get(target, [None] * 3)
    assert [o["clipped_from"] for o in offsets] == clipped


def test_a_consumer_goes_on_where_it_was_reset_to(broker, cli, topic, group):
    commit(broker, group, topic, [10, 20, 30])
    cli("reset", group, "--topic", f"{topic}:1,2", "--to-offset", "18")
    consumer = groups.consumer(broker.address, group)
    consumer.subscribe([topic])
    found = groups.read(consumer, 14)
    consumer.close()
    assert sorted((p, o) for p, o, _ in found) == [(1, o) for o in (18, 19)] + [(2, o) for o in range(18, 30)]


def test_only_what_is_named_is_reset(broker, cli, topic, group):
    commit(broker, group, topic, [5, 5, None])
    offsets = as_json(cli, "reset", group, "--all-topics", "--to-latest")
    assert [(o["topic"], o["partition"], o["old_offset"], o["new_offset"]) for o in offsets] == [
        (topic, 0, 5, 10), (topic, 1, 5, 20)]
    cli("reset", group, "--topic", f"{topic}:0", "--topic", f"{topic}:2", "--to-offset", 3)
    assert groups.committed(broker.address, group, topic, PARTITIONS) == [3, 20, 3]
    # Of several partitions that cannot all be reset, none is.
    assert "nothing is committed" in cli("reset", next(names), "--topic", topic, "--shift-by", 1, code=1)[1]
    assert "9" in cli("reset", group, "--topic", f"{topic}:0,9", "--to-earliest", code=3)[1]
    assert groups.committed(broker.address, group, topic, PARTITIONS) == [3, 20, 3]


def test_a_group_is_given_offsets_before_its_first_consumer(broker, cli, topic, group):
    cli("reset", group, "--topic", topic, "--to-datetime", "-64500ms")
    ours = groups.committed(broker.address, group, topic, PARTITIONS)
    assert all(at is not None for at in ours) and as_json(cli, "describe", group)["state"] == "Empty"


def test_nothing_is_changed_while_members_are_active(broker, cli, topic, group):
    with Member(broker, group, topic) as member:
        member.commit(offsets=[confluent_kafka.TopicPartition(topic, 0, 5)], asynchronous=False)
        for dry in ([], ["--dry-run"]):
            out, error = cli("reset", group, "--topic", topic, "--to-earliest", *dry, code=1)
            assert out == "" and group in error and "stop its consumers" in error
        assert "stop its consumers" in cli("delete", group, "--yes", code=1)[1]
        assert "stop its consumers" in cli("delete", group, "--topic", topic, "--yes", code=1)[1]
        assert groups.committed(broker.address, group, topic, PARTITIONS) == [5, None, None]
    cli("reset", group, "--topic", topic, "--to-earliest")
    assert groups.committed(broker.address, group, topic, PARTITIONS) == [0, 0, 0]


def test_groups_and_offsets_are_deleted(broker, cli, topic, group):
    commit(broker, group, topic, [1, 2, 3])
    assert "--yes" in cli("delete", group, code=1)[1]
    cli("delete", group, "--topic", f"{topic}:1", "--yes")
    assert groups.committed(broker.address, group, topic, PARTITIONS) == [1, None, 3]
    cli("delete", group, "--yes")
    assert groups.committed(broker.address, group, topic, PARTITIONS) == [None] * PARTITIONS
    assert group not in {row["group"] for row in as_json(cli, "list")}
    for verb in ("delete", "describe", "lag"):
        assert f"there is no group `{group}`" in cli(verb, group, code=3)[1]
    assert group in cli("reset", group, "--all-topics", "--to-latest", code=3)[1]
    assert "nowhere" in cli("reset", group, "--topic", "nowhere", "--to-latest", code=3)[1]


def test_yaml_says_what_json_says(broker, cli, topic, group):
    commit(broker, group, topic, [1, 2, 3])
    for verb in (["list"], ["describe", group], ["reset", group, "--topic", topic, "--to-offset", "7", "--dry-run"]):
        ours, theirs = (parse(cli(*verb, "-o", form)[0]) for form, parse in (("json", json.loads), ("yaml", yaml.safe_load)))
        for shown in (ours, theirs):
            for offset in shown.get("offsets", []) if isinstance(shown, dict) else []:
                # Time goes on.
                offset.pop("lag_ms")
        assert ours == theirs


def test_names_of_clients_do_not_steer_the_terminal(broker, cli, topic, group):
    evil = group + "\n\x1b[2J"
    commit(broker, evil, topic, [1, 2, 3])
    assert "\x1b" not in cli("list")[0] and group + r"\n\u{1b}[2J" in cli("list")[0]
    assert evil in {row["group"] for row in as_json(cli, "list")}
    cli("delete", evil, "--yes")


@pytest.mark.parametrize("args", [
    ("reset", "g"), ("reset", "g", "--topic", "t"), ("reset", "g", "--to-latest"),
    ("reset", "g", "--topic", "t", "--to-latest", "--to-earliest"),
    ("reset", "g", "--topic", "t", "--all-topics", "--to-latest"), ("reset", "g", "--topic", "t:x", "--to-latest"),
    ("reset", "g", "--topic", "t", "--to-datetime", "yesterday"), ("describe",), ("list", "-o", "xml")], ids=" ".join)
def test_usage_is_exit_code_2(cli, args):
    assert cli(*args, code=2)[0] == ""


def consume(broker, topic, *args, stderr=None):
    """`runnel consume`, running."""
    return subprocess.Popen([binary(), "consume", topic, *map(str, args)], stdout=subprocess.PIPE, stderr=stderr,
                            text=True, env=clean_environment() | {"RUNNEL_BOOTSTRAP": broker.grpc_address})


def test_consume_goes_on_where_its_group_was(broker, topic, group):
    def read(*args):
        with consume(broker, topic, "-g", group, "-f", r"%p-%o\n", *args) as reader:
            return reader.stdout.read().split()
    everything = {f"{p}-{o}" for p, count in enumerate((10, 20, 30)) for o in range(count)}
    first, rest = read("-n", 25), read("-n", 35)
    assert (len(first), len(rest)) == (25, 35) and set(first) | set(rest) == everything
    assert groups.committed(broker.address, group, topic, PARTITIONS) == [10, 20, 30]
    # Only what the group has nothing of begins at `--from`.
    log.produce(broker.address, topic, [(1, None, b"new", None)])
    assert read("-n", 1, "--from", "end") == ["1-20"]


def test_a_group_waits_for_a_topic_and_says_so(broker, group, tmp_path):
    missing, said = next(names), tmp_path / "stderr"
    warning = f"warning: there is no topic `{missing}` yet: waiting until there is\n"
    with said.open("w") as stderr, consume(broker, missing, "-g", group, "-n", 1, stderr=stderr) as reader:
        try:
            wait_until(lambda: said.read_text() == warning, "it says what it waits for", 60)
            log.create_topic(broker.address, missing, 1)
            log.produce(broker.address, missing, [(0, None, b"new", None)])
            assert reader.stdout.read() == "new\n" and said.read_text() == warning
        finally:
            reader.kill()
    with consume(broker, missing, "-g", next(names), "-n", 1, stderr=subprocess.PIPE) as reader:
        assert reader.stdout.read() == "new\n" and reader.stderr.read() == ""


def test_two_readers_share_a_topic(broker, topic, group):
    """Two command lines in one group, one of which is stopped: what it printed is committed, the other goes on."""
    with consume(broker, topic, "-g", group, "-f", r"%p-%o\n") as first:
        seen = [first.stdout.readline().strip() for _ in range(60)]
        with consume(broker, topic, "-g", group, "-f", r"%p-%o\n") as second:
            wait_until(lambda: groups.state(broker.address, group) == ("STABLE", 2), "both are members", 60)
            first.terminate()
            assert first.wait(60) == 0 and first.stdout.read() == ""
            wait_until(lambda: groups.state(broker.address, group)[1] == 1, "one has left", 60)
            log.produce(broker.address, topic, [(p, None, b"new", None) for p in range(PARTITIONS)])
            new = {second.stdout.readline().strip() for _ in range(PARTITIONS)}
            second.terminate()
            assert second.wait(60) == 0
    assert len(set(seen)) == 60 and new == {"0-10", "1-20", "2-30"}
    assert groups.committed(broker.address, group, topic, PARTITIONS) == [11, 21, 31]


def test_a_reader_in_a_group_outlives_kills(make_broker):
    """It skips nothing: what it had not committed it reads again."""
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    print(f"seed {seed}")
    broker = make_broker(groups.QUICK).start()
    log.create_topic(broker.address, "events", PARTITIONS)
    load = Load(broker.address, "events", PARTITIONS, "a").start()
    seen = {}
    with consume(broker, "events", "-g", "g", "-f", r"%p %o\n") as reader:
        def follow():
            for line in reader.stdout:
                partition, offset = map(int, line.split())
                assert offset <= seen.get(partition, -1) + 1, f"{partition}: {offset} after {seen.get(partition)}"
                seen[partition] = max(seen.get(partition, -1), offset)
        following = threading.Thread(target=follow, daemon=True)
        following.start()
        for _ in range(5):
            time.sleep(rng.uniform(0.3, 1.5))  # the moment of the kill is meant to be arbitrary
            broker.kill()
            broker.start()
        load.finish()
        ends = {p: records[-1].offset for p, records in log.read_all(broker.address, "events").items()}
        wait_until(lambda: seen == ends or not following.is_alive(), "everything is read", 60)
        reader.terminate()
        assert reader.wait(60) == 0
        following.join(60)
    assert seen == ends
    assert groups.committed(broker.address, "g", "events", PARTITIONS) == [ends[p] + 1 for p in range(PARTITIONS)]
