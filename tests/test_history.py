"""What the tests of faults rest on: histories of real clients are judged, and broken ones are found to be broken."""
import json

import pytest

from harness import history, log
from harness.history import Committer, Load, Recorder, Watcher, check, judge
from harness.process import wait_until


def some_history(broker):
    """The files of a history without faults, which is found to be right."""
    log.create_topic(broker.address, "t", 1)
    load = Load(broker.address, "t", 1, "a").start()
    watcher = Watcher(broker.address, "t", 1).start()
    committer = Committer(broker.address, "t", "readers").start()
    wait_until(lambda: watcher.seen > 500 and committer.committed.get(0, 0) > 500, "a history")
    load.finish()
    patience = committer.catch_up()
    watcher.finish()
    committer.finish()
    asked = Recorder("asker", "t")
    asked.committed(broker.address, "readers", 1)
    return check(log.read_all(broker.address, "t"), [load], watcher, committer, patience, asked)


def without(offset):
    """Nobody sees this record."""
    def change(kind, event):
        if kind == "poll":
            event["records"] = [record for record in event["records"] if record[0] != offset]
    return change


def another_content(kind, event):
    """The watcher sees a record with another timestamp."""
    if kind == "poll" and event["client"] == "watcher":
        for record in event["records"]:
            record[3] += record[0] == 100


def an_old_commit(kind, event):
    if kind == "committed":
        event["offset"] = None


def without_progress(kind, event):
    """The group reads and commits nothing behind the first hundred records."""
    if kind == "poll" and event["client"] == "member-of-readers":
        event["records"] = [record for record in event["records"] if record[0] < 100]
    if kind == "commit" and event["offset"] > 100:
        event["outcome"] = "unknown"


def changed(file, change):
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines:
        (kind, event), = line.items()
        change(kind, event)
    new = file.with_suffix(".changed")
    new.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return new


def test_a_broken_history_is_found(broker):
    files = some_history(broker)
    for change, kind in [(without(100), "lost"), (another_content, "two-contents"), (an_old_commit, "lost-commit"),
                         (without_progress, "stuck-group")]:
        with pytest.raises(AssertionError, match=f"^{kind}: .*t-0: "):
            judge([changed(file, change) for file in files])


def test_a_watermark_that_goes_back_is_told_unless_it_may_be_a_late_answer(monkeypatch):
    clock = [0]
    monkeypatch.setattr(history, "now", lambda: clock[0])
    recorder = Recorder("consumer", "t")
    # Seconds, the broker that leads, the high watermark that the client has heard of, and whether it is told.
    heard = [(0, 1, 10, True), (20, 1, 30, True), (21, 2, 20, False), (22, 2, 50, True), (23, 2, 40, False),
             (40, 2, 40, True), (41, 2, 60, True), (60, 2, 55, True)]
    for second, broker, high, _ in heard:
        clock[0] = second * 1_000_000
        partition = {"broker": broker, "lo_offset": 0, "hi_offset": high}
        recorder.watermarks()["stats_cb"](json.dumps({"topics": {"t": {"partitions": {"0": partition}}}}))
    recorder.lines.flush()
    told = [json.loads(line)["poll"]["high_watermark"] for line in recorder.path.read_text().splitlines()]
    assert told == [high for _, _, high, is_told in heard if is_told]
