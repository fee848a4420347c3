"""Three brokers, one of which loses touch with some of the others' world: clients go on, and nothing is lost."""
import time

import pytest

from harness.link import Link
from harness.under_load import go_on, under_load

LEASE = 3  # seconds, the default
LONG = LEASE + 3


@pytest.fixture
def cluster(make_cluster):
    """Broker 0 reaches etcd and the bucket, and is reached by the other brokers, by links that can fail."""
    cluster = make_cluster()
    cluster.start_servers()
    one = cluster.brokers[0]
    cluster.to_etcd, cluster.to_bucket, cluster.from_brokers = [
        Link(port) for port in (cluster.etcd.port, cluster.s3.port, one.grpc_port)]
    one.settings |= {"METADATA__URL": cluster.etcd.url().replace(cluster.etcd.address, cluster.to_etcd.address),
                     "STORAGE__ENDPOINT": f"http://{cluster.to_bucket.address}",
                     "GRPC__ADVERTISE": cluster.from_brokers.address}
    for i in range(3):
        cluster.start(i, wait=False)
    for broker in cluster.brokers:
        broker.wait_ready()
    yield cluster
    for link in (cluster.to_etcd, cluster.to_bucket, cluster.from_brokers):
        link.heal()  # what waits in it must not wait for ever


def test_cut_off_from_etcd_only(cluster):
    """It is replaced when its lease ends, and notices by its lane."""
    def work(_loads):
        cluster.to_etcd.silence()
        time.sleep(LONG)  # it is the silence that is tested, here and below
        cluster.to_etcd.heal()
        cluster.brokers[0].wait_ready()

    under_load(cluster.bootstrap(), work)


def test_cut_off_from_the_bucket_only(cluster):
    """What it leads waits, and the rest goes on."""
    def work(loads):
        cluster.to_bucket.silence()
        go_on(loads, LONG, "what other brokers lead was not acknowledged")
        cluster.to_bucket.heal()

    under_load(cluster.bootstrap(), work)


def test_answers_of_the_bucket_are_lost(cluster):
    """What it had put is there, and put again is the same."""
    def work(_loads):
        for _ in range(5):
            cluster.to_bucket.deafen()
            time.sleep(0.3)
            cluster.to_bucket.heal()
            time.sleep(0.5)

    under_load(cluster.bootstrap(), work)


def test_answers_of_etcd_are_lost(cluster):
    """While it opens the partitions of another that died."""
    def work(_loads):
        cluster.kill(1)
        for _ in range(5):
            cluster.to_etcd.deafen()
            time.sleep(0.3)
            cluster.to_etcd.heal()
            time.sleep(0.3)
        cluster.start(1)

    under_load(cluster.bootstrap(), work)


def test_taken_for_dead_while_it_is_alive(cluster):
    """The others cannot dial it, take its process for gone and end its session: it comes back with another."""
    def work(_loads):
        cluster.from_brokers.cut()
        time.sleep(LONG)
        cluster.from_brokers.heal()
        cluster.brokers[0].wait_ready()

    under_load(cluster.bootstrap(), work)
