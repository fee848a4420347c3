"""The cluster that `cargo xtask cluster` starts: every address that it prints is used, a broker is killed by its pid, and
Ctrl-C leaves nothing behind."""
import os
import pathlib
import re
import signal
import sys

import confluent_kafka
import pytest

from harness import log, tools
from harness.broker import binary
from harness.process import clean_environment, spawn, wait_until

SCRIPT = pathlib.Path(__file__).resolve().parent / "demo/cluster.py"


class Started:
    """What the script prints: lines of addresses, pids and commands, by name."""

    def __init__(self, directory, *options):
        self.log_file = directory / "script.log"
        command = [sys.executable, "-u", SCRIPT, "--directory", directory / "cluster", "--free-ports", *options]
        self.process = spawn(command, self.log_file, clean_environment() | {"RUNNEL_BIN": binary()})
        wait_until(lambda: "end everything" in self._said(), "a started cluster", seconds=90)
        lines = re.findall(r"^  (\w+(?: \d)?) +((?:\S+:\d+ +)+)(\d+) +/", self._said(), re.MULTILINE)
        self.addresses = {name: at.split() for name, at, _ in lines}
        self.pids = {name: int(pid) for name, _, pid in lines}
        self.kafka, self.grpc = ([at[i] for name, at in self.addresses.items() if name not in ("etcd", "S3")] for i in (0, 1))

    def _said(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the script exited with {self.process.returncode}:\n{self.log_file.read_text()}")
        return self.log_file.read_text()

    def wait_said(self, text):
        wait_until(lambda: text in self._said(), text)

    def interrupt(self):
        """Ctrl-C; the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)

    def close(self):
        """As a test that failed leaves it: the kernel ends what the script started, with it."""
        self.process.kill()
        self.process.wait()


def runs(pid):
    """Whether a process is there, and not only its exit status."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("options", [[], ["--single-address"]], ids=["brokers are told of", "one address is told of"])
def test_a_cluster_on_one_machine(tmp_path, options):
    started = Started(tmp_path, *options)
    try:
        assert sorted(started.pids) == ["HAProxy", "S3", "broker 0", "broker 1", "broker 2", "etcd"]
        log.create_topic(started.kafka[0], "t", 3)
        write_and_read(started.kafka, started.grpc, "before")
        dead = "broker 2"
        os.kill(started.pids[dead], signal.SIGKILL)
        started.wait_said(f"{dead} has ended (killed)")
        living = {name: at for name, at in started.addresses.items() if name not in ("etcd", "S3", dead)}
        write_and_read([at[0] for at in living.values()], [at[1] for at in living.values()], "after")
        told = confluent_kafka.admin.AdminClient({"bootstrap.servers": started.addresses["HAProxy"][0]})
        brokers = {f"{b.host}:{b.port}" for b in told.list_topics(timeout=30).brokers.values()}
        proxy, *_ = started.addresses["HAProxy"]
        assert brokers == ({proxy} if options else {at[0] for name, at in living.items() if name != "HAProxy"})
        assert started.interrupt() == 130
        assert not [name for name, pid in started.pids.items() if runs(pid)]
    finally:
        started.close()


def write_and_read(kafka, grpc, what):
    """Through each address a record, and through each of them all that were written in this round."""
    written = set()
    for address in kafka:
        log.produce(address, "t", [(p, None, f"{what} {address} {p}".encode(), []) for p in range(3)])
        written |= {f"{what} {address} {p}".encode() for p in range(3)}
    for address in grpc:
        value = f"{what} {address}"
        tools.run([binary(), "produce", "t", "--bootstrap", address], value + "\n")
        written.add(value.encode())
    for address in kafka:
        assert written <= {record.value for records in log.read_all(address, "t").values() for record in records}, address
    for address in grpc:
        read = tools.run([binary(), "consume", "t", "--from", "start", "--until", "end", "--bootstrap", address])
        assert written <= {line.encode() for line in read.splitlines()}, address
