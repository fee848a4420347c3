"""HAProxy in front of a cluster, with the configuration in `deploy/`."""
import pathlib

from .process import accepts_connections, clean_environment, free_port, spawn, wait_until

CONFIGURATION = pathlib.Path(__file__).resolve().parents[2] / "deploy/haproxy/haproxy.cfg"
NAMES = ("broker-a", "broker-b", "broker-c")


def on_loopback(text, ports, brokers):
    """The configuration `text` for a proxy that listens on the two `ports`, with `brokers` in place of those it names."""
    # As many files as it may open here.
    text = text.replace("maxconn 20000", "maxconn 1000")
    for standard, port in zip((9092, 9093), ports):
        text = text.replace(f"bind *:{standard}", f"bind 127.0.0.1:{port}")
    first, *others = NAMES
    lines = [line for line in text.splitlines() if not any(f" {name} " in line for name in others)]
    return "\n".join(here for line in lines for here in ([_server(line, i, broker) for i, broker in enumerate(brokers)]
                                                         if f" {first} " in line else [line])) + "\n"


def _server(line, i, broker):
    """The line of the first server for broker `i`."""
    line = line.replace("9094", str(broker.http_port))
    line = line.replace(f"{NAMES[0]}:9092", broker.address).replace(f"{NAMES[0]}:9093", broker.grpc_address)
    return line.replace(NAMES[0], f"broker-{i}")


class HAProxy:
    """Its ports, of Kafka and gRPC, are known before it is started, since brokers have to tell them."""

    def __init__(self, directory, ports=None):
        self.directory = pathlib.Path(directory)
        self.ports = ports or (free_port(), free_port())
        self.address, self.grpc_address = [f"127.0.0.1:{port}" for port in self.ports]
        self.log_file = self.directory / "haproxy.log"
        self.process = None

    def settings(self):
        """What brokers behind it are set up with."""
        return {"KAFKA__ADVERTISE_MODE": "single", "KAFKA__ADVERTISE": self.address}

    def start(self, brokers):
        """Starts it in front of these brokers; returns when it listens."""
        self.directory.mkdir(parents=True, exist_ok=True)
        file = self.directory / "haproxy.cfg"
        file.write_text(on_loopback(CONFIGURATION.read_text(), self.ports, brokers))
        self.process = spawn(["haproxy", "-db", "-f", file], self.log_file, clean_environment())
        wait_until(self._listens, "HAProxy listening")
        return self

    def _listens(self):
        if self.process.poll() is not None:
            raise AssertionError(f"HAProxy exited with {self.process.returncode}:\n{self.log_file.read_text()[-2000:]}")
        return accepts_connections(self.ports[0])

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
