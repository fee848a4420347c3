"""Child processes that never outlive the test run, and waiting for what they do."""
import ctypes
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import time


# Below those that the system gives to connections of clients, one of which would take a port before its server does.
PORTS = range(10_000, 32_000)
# Given away by this process: who has one may not listen on it yet.
_given = set()


def free_port():
    """A port of this machine that nobody uses, and that nobody was given before."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            port = random.SystemRandom().choice(PORTS)  # whatever a test has seeded
            if port in _given:
                continue
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            _given.add(port)
            return port


def die_with_parent():
    """For `preexec_fn`: the kernel kills the child when we end."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def spawn(args, log, env=None, open_files=None):
    """Starts `args` with its output appended to the file `log`; killed by the kernel if we die. It may have at most
    `open_files` files open, if that is given."""
    def prepare():
        die_with_parent()
        if open_files:
            resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, open_files))

    with open(log, "ab") as out:
        return subprocess.Popen(
            [str(a) for a in args], env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            start_new_session=True, preexec_fn=prepare)


def wait_until(condition, what, seconds=30, every=0.02):
    """The first true value of `condition()`; fails with `what` when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {seconds} s")
        time.sleep(every)


def accepts_connections(port):
    """Does anybody listen on this port?"""
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex(("127.0.0.1", port)) == 0


def clean_environment():
    """Our environment without settings of the broker or of an S3 client, which would leak into it."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("RUNNEL_", "AWS_"))}
