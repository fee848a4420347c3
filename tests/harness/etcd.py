"""A real etcd of one member on loopback."""
import os
import pathlib
import shutil
import signal

from .process import accepts_connections, clean_environment, free_port, spawn, wait_until


class Etcd:
    """Its files stay where they are when it ends, so that it can be started again on them."""

    def __init__(self, directory, port=None):
        self.directory = pathlib.Path(directory)
        self.port, self.peer_port = port or free_port(), free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.log_file = self.directory / "etcd.log"
        self.process = None

    def start(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        client, peer = f"http://{self.address}", f"http://127.0.0.1:{self.peer_port}"
        # A quick election, since a member alone waits for one; no fsync, since a process that is killed loses nothing.
        args = [os.environ["ETCD_BIN"], "--name", "one", "--data-dir", self.directory / "data", "--log-level", "warn",
                "--initial-cluster", f"one={peer}", "--initial-advertise-peer-urls", peer, "--listen-peer-urls", peer,
                "--advertise-client-urls", client, "--listen-client-urls", client,
                "--heartbeat-interval", "20", "--election-timeout", "200", "--unsafe-no-fsync"]
        self.process = spawn(args, self.log_file, clean_environment())
        wait_until(self._listens, "etcd listening")
        return self

    def _listens(self):
        if self.process.poll() is not None:
            raise AssertionError(f"etcd exited with {self.process.returncode}:\n{self.log()[-2000:]}")
        return accepts_connections(self.port)

    def stop(self):
        """SIGKILL, as a crash ends it."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def wipe(self):
        """All that it held is gone, as with its disks; to be called while it is stopped."""
        shutil.rmtree(self.directory / "data")

    def pause(self):
        """From now on it accepts connections and answers nothing; no lease ends meanwhile."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        """Ends `pause`."""
        self.process.send_signal(signal.SIGCONT)

    def url(self, prefix="runnel"):
        """For `metadata.url`."""
        return f"etcd://{self.address}/{prefix}"

    def log(self):
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""
