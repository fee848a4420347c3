"""One broker process on a data directory; it can be stopped, killed and started again on it."""
import os
import pathlib
import re
import signal
import subprocess
import urllib.error
import urllib.request

from .process import clean_environment, free_port, spawn, wait_until


def binary():
    """The broker under test."""
    return os.environ["RUNNEL_BIN"]


def previous_binary():
    """A build of before; the one under test where there is none."""
    return os.environ.get("PREVIOUS_RUNNEL_BIN", binary())


class Broker:
    """Settings are given as environment variables without their prefix: `settings={"SEGMENT__MAX_AGE": "1s"}`;
    `ports` are those of Kafka, gRPC and HTTP."""

    def __init__(self, directory, settings=None, ports=None):
        self.directory = pathlib.Path(directory)
        self.data = self.directory / "data"
        self.bucket = self.data / "bucket"
        self.log_file = self.directory / "broker.log"
        self.kafka_port, self.grpc_port, self.http_port = ports or [free_port() for _ in range(3)]
        self.address = f"127.0.0.1:{self.kafka_port}"
        self.grpc_address = f"127.0.0.1:{self.grpc_port}"
        self.settings = {
            "NODE__DATA_DIR": str(self.data),
            "KAFKA__LISTEN": self.address,
            "GRPC__LISTEN": f"127.0.0.1:{self.grpc_port}",
            "HTTP__LISTEN": f"127.0.0.1:{self.http_port}",
        } | (settings or {})
        self.environment = {}  # beyond the settings
        self.expected_errors = []
        self.open_files = None
        self.binary = binary()
        self.process = None

    def start(self, fail_points=None, wait=True):
        """Starts it; with `wait`, returns when it is ready."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.process = spawn([self.binary, "serve"], self.log_file, self._environment(fail_points), self.open_files)
        if wait:
            self.wait_ready()
        return self

    def run(self, *args, seconds=60, fail_points=None):
        """Runs a verb of the binary to its end, with this broker's settings."""
        return subprocess.run([self.binary, *args], env=self._environment(fail_points), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=seconds, check=False)

    def run_to_end(self):
        """Starts it in the expectation that it refuses: (exit status, what it printed)."""
        done = self.run("serve")
        return done.returncode, done.stdout + done.stderr

    def cli(self, *args):
        """Runs a verb that must succeed and returns its stdout."""
        done = self.run(*args)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def wait_ready(self, seconds=60):
        """Returns when `/readyz` answers 200."""
        def ready():
            if self.process.poll() is not None:
                raise AssertionError(f"the broker exited with {self.process.returncode}; the end of {self.log_file}:\n"
                                     f"{self.log()[-4000:]}")
            return self.http("/readyz")[0] == 200
        wait_until(ready, "ready", seconds)

    def http(self, path):
        """(status, body); the status is 0 when nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()
        except OSError:
            return 0, ""

    def metric(self, name):
        """The sum of a metric over its labels; None if it is not there."""
        lines = [line for line in self.http("/metrics")[1].splitlines()
                 if line.startswith((name + " ", name + "{"))]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines) if lines else None

    def memory(self):
        """Resident bytes."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) * 1024

    def running(self):
        return self.process is not None and self.process.poll() is None

    def stop(self, seconds=60):
        """SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def pause(self):
        """From now on it does nothing, and its connections stay open."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        """Ends `pause`."""
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        """SIGKILL; returns when it is gone."""
        if self.running():
            self.process.kill()
            self.process.wait()

    def wait_exit(self, seconds=60):
        """Waits for it to end by itself; the exit status."""
        return self.process.wait(seconds)

    def log(self):
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def expect_error(self, text):
        """Lines of the log at ERROR that contain `text` are what the test wants to see."""
        self.expected_errors.append(text)

    def unexpected_errors(self):
        """Lines at ERROR mean that a human must look: a test that did not provoke them fails."""
        lines = [line for line in self.log().splitlines() if " ERROR " in line or "panicked at" in line]
        return [line for line in lines if not any(text in line for text in self.expected_errors)]

    def files(self):
        """Every file below a bucket that is a folder, whoever adds and removes folders meanwhile."""
        return [pathlib.Path(folder) / name for folder, _, names in os.walk(self.bucket) for name in names]

    def parquet_files(self, topic):
        """Every Parquet object of a topic in a bucket that is a folder."""
        return sorted((self.bucket / "topics" / f"topic={topic}").glob("*/*/*.parquet"))

    def _environment(self, fail_points):
        env = clean_environment() | self.environment | {f"RUNNEL_{k}": str(v) for k, v in self.settings.items()}
        return env | ({"RUNNEL_FAIL_POINTS": fail_points} if fail_points else {})
