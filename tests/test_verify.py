"""`runnel segment verify --all`: what is missing, what is damaged, what nobody needs."""
import json
import re
import shutil
import uuid

import pytest

from harness import log


def verify(broker, *args, code=0):
    done = broker.run("segment", "verify", "--all", "-o", "json", *args)
    assert done.returncode == code, (done.stdout, done.stderr)
    return json.loads(done.stdout)


def paths(report, kind):
    return sorted(finding["path"] for finding in report[kind])


@pytest.fixture(name="full")
def broker_with_everything(make_broker, storage):
    """Segments of two epochs, a topic that was deleted, and records in the bucket's log alone; the broker is killed."""
    broker = make_broker({"TOPICS__RETENTION_CHECK": "100ms"}, storage).start()
    env = ("--bootstrap", broker.grpc_address)
    log.create_topic(broker.address, "flights", 2)
    log.create_topic(broker.address, "gone", 1, {"file.delete.delay.ms": "0"})
    for _ in range(2):
        for topic in ("flights", "gone"):
            parts = 2 if topic == "flights" else 1
            log.produce(broker.address, topic, [(n % parts, None, b"v" * 100, None) for n in range(200)])
            broker.cli("segment", "seal", topic, "--wait", *env)
        assert verify(broker)["broken"] == [], "of a broker that runs"
        assert broker.stop() == 0
        broker.start()
    log.delete_topic(broker.address, "gone")
    log.produce(broker.address, "flights", [(n % 2, None, b"v" * 100, None) for n in range(200)])
    broker.cli("segment", "seal", "flights", "--wait", *env)
    log.create_topic(broker.address, "safe", 1, {"runnel.durability": "object"})
    log.produce(broker.address, "safe", [(0, None, b"v", None)] * 100)
    broker.kill()
    return broker


def test_a_sound_bucket_is_sound(full):
    report = verify(full, "--deep")
    assert (report["broken"], report["stray"]) == ([], []), report
    assert report["segments"] == 6 and report["slots"] >= 1 and report["lanes"] >= 1
    table = full.cli("segment", "verify", "--all")
    assert re.search(r"^cluster \S+, era 0: 2 topics, 3 partitions, 6 segments, .*unshipped slot", table, re.MULTILINE), table
    assert re.search(r"^\d+ objects: 0 broken, 0 stray, \d+ collectable$", table, re.MULTILINE), table


def test_what_is_missing_damaged_or_not_needed_is_named(full):
    first, second, third, *_ = full.parquet_files("flights")
    name = lambda file: str(file.relative_to(full.bucket))
    orphan = second.with_name(re.sub(r"[0-9a-f]{32}\.parquet", f"{uuid.uuid4().hex}.parquet", second.name))
    shutil.copy(second, orphan)
    stray = full.bucket / "topics/notes.txt"
    stray.write_text("mine")
    report = verify(full)
    assert (paths(report, "broken"), paths(report, "stray")) == ([], ["topics/notes.txt"])
    assert name(orphan) in paths(report, "collectable")

    whole = third.read_bytes()
    first.unlink()
    third.write_bytes(whole[:-1])
    slot = next(file for file in full.files() if re.fullmatch(r"\d{20}", file.name) and file.stat().st_size > 1000)
    slot.write_bytes(slot.read_bytes()[:-1])
    report = verify(full, code=1)
    assert paths(report, "broken") == sorted([name(first), name(third), name(slot)]), report
    what = {finding["path"]: finding["what"] for finding in report["broken"]}
    assert what[name(first)].startswith("is gone")
    assert what[name(third)] == f"has {len(whole) - 1} bytes; {len(whole)} bytes are expected"
    table = full.run("segment", "verify", "--all")
    assert table.returncode == 1 and "3 objects are missing or damaged: bring them back" in table.stderr
    assert re.search(rf"^BROKEN +{re.escape(name(first))} +is gone", table.stdout, re.MULTILINE), table.stdout

    # A flipped bit keeps the size: only reading shows it.
    third.write_bytes(whole[:200] + bytes([whole[200] ^ 1]) + whole[201:])
    assert name(third) not in paths(verify(full, code=1), "broken")
    assert name(third) in paths(verify(full, "--deep", code=1), "broken")


def test_a_root_and_a_topic_that_are_gone_are_named(full):
    root = next(file for file in full.files() if file.name == "root" and "/p/" in str(file))
    kept = root.read_bytes()
    root.write_bytes(kept[:-3])
    assert paths(verify(full, code=1), "broken") == [str(root.relative_to(full.bucket))]
    root.write_bytes(kept)
    topic = full.bucket / "meta/topics" / full.parquet_files("flights")[0].name.split("-")[3]
    kept = topic.read_bytes()
    topic.unlink()
    report = verify(full, code=1)
    assert report["broken"] and all(topic.name in finding["what"] for finding in report["broken"]), report
    assert paths(report, "stray") == ["meta/names/flights"]
    topic.write_bytes(kept)
    assert verify(full)["broken"] == []


def test_a_bucket_without_a_cluster(make_broker):
    done = make_broker().run("segment", "verify", "--all")
    assert done.returncode == 3 and "holds no cluster" in done.stderr, done
