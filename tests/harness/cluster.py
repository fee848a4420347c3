"""Brokers that share an etcd and a bucket on an S3 server, all on loopback."""
import pathlib

from .broker import Broker
from .etcd import Etcd
from .s3 import S3Server

BUCKET, PREFIX = "lake", "cluster"


class Cluster:
    """Brokers are numbered from 0, and known to clients by that number. `settings` are those of all of them; a broker's
    own can be changed in `brokers[i].settings` while it is down. `etcd` and `s3` can be stopped, paused and started
    like brokers. `ports` are those of Kafka, gRPC and HTTP, for each broker."""

    def __init__(self, directory, brokers=3, settings=None, ports=None):
        directory = pathlib.Path(directory)
        self.etcd, self.s3 = Etcd(directory / "etcd"), S3Server(directory / "s3")
        self.brokers = [self._broker(directory, i, settings or {}, ports[i] if ports else None) for i in range(brokers)]

    def _broker(self, directory, i, settings, ports):
        own = {"NODE__ID": f"broker-{i}", "NODE__NUMBER": i, "METADATA__URL": self.etcd.url()}
        storage = self.s3.settings(f"s3://{BUCKET}/{PREFIX}")
        broker = Broker(directory / f"broker-{i}", storage | own | settings, ports)
        broker.bucket = self.s3.data / BUCKET / PREFIX
        return broker

    def start_servers(self):
        """Starts etcd and the S3 server, and makes the bucket."""
        self.etcd.start()
        self.s3.start().create_bucket(BUCKET)
        return self

    def start_all(self):
        """Starts everything; returns when all brokers are ready."""
        self.start_servers()
        for broker in self.brokers:
            broker.start(wait=False)
        for broker in self.brokers:
            broker.wait_ready()
        return self

    def start(self, i, wait=True):
        """Starts a broker, for the first time or again on its data."""
        return self.brokers[i].start(wait=wait)

    def stop(self, i, seconds=60):
        """SIGTERM; the exit status."""
        return self.brokers[i].stop(seconds)

    def kill(self, i):
        self.brokers[i].kill()

    def pause(self, i):
        self.brokers[i].pause()

    def resume(self, i):
        self.brokers[i].resume()

    def bootstrap(self):
        """Kafka addresses of all brokers, dead or alive."""
        return ",".join(broker.address for broker in self.brokers)

    def grpc_bootstrap(self):
        """The same for gRPC."""
        return ",".join(broker.grpc_address for broker in self.brokers)

    def close(self):
        """Kills everything."""
        for broker in self.brokers:
            broker.kill()
        self.etcd.stop()
        self.s3.stop()

    def unexpected_errors(self):
        return [line for broker in self.brokers for line in broker.unexpected_errors()]
