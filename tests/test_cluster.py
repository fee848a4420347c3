"""Three brokers, one etcd, one bucket: clients go on while brokers die, stall, restart, and lose touch."""
import time

import pytest

from harness.libraries import LIBRARIES
from harness.under_load import go_on, under_load

LEASE = 3  # seconds, the default


@pytest.fixture
def cluster(make_cluster):
    return make_cluster().start_all()


def test_brokers_are_killed_one_after_the_other(cluster):
    """With clients of three libraries."""
    def work(_loads):
        for i in (0, 1, 2):
            cluster.kill(i)
            time.sleep(1.5)  # a moment of load on those who are left
            cluster.start(i)

    under_load(cluster.bootstrap(), work, LIBRARIES)


def test_a_rolling_restart(cluster):
    """Nobody sees an error: what a broker led goes to others before it stops."""
    def work(_loads):
        for i in (0, 1, 2):
            assert cluster.stop(i) == 0
            cluster.start(i)

    under_load(cluster.bootstrap(), work)


def test_all_brokers_are_killed_at_once(cluster):
    def work(_loads):
        for i in (0, 1, 2):
            cluster.kill(i)
        for i in (0, 1, 2):
            cluster.start(i, wait=False)

    under_load(cluster.bootstrap(), work)


def test_a_broker_stalls_for_longer_than_its_lease(cluster):
    """It was replaced meanwhile, and finds that out when it goes on."""
    def work(_loads):
        cluster.pause(1)
        time.sleep(LEASE + 2)  # it is its silence that is tested
        cluster.resume(1)
        cluster.brokers[1].wait_ready()

    under_load(cluster.bootstrap(), work)


def test_etcd_is_away(cluster):
    """Clients are served meanwhile, for longer than leases last."""
    def work(loads):
        cluster.etcd.stop()
        go_on(loads, LEASE + 3, "records were not acknowledged while etcd was away")
        cluster.etcd.start()

    under_load(cluster.bootstrap(), work)


def test_the_bucket_is_away(cluster):
    def work(_loads):
        cluster.s3.stop()
        time.sleep(3)  # nothing can be acknowledged meanwhile
        cluster.s3.start()

    under_load(cluster.bootstrap(), work)
