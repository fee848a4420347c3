"""Three brokers whose world misbehaves without being away: clients go on, and their histories are judged."""
import email.utils
import random
import time
import urllib.request

import pytest

from harness.clock import Clock
from harness.link import Link
from harness.process import wait_until
from harness.under_load import go_on, under_load
from harness.unreliable import UnreliableBucket


def new_seed():
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    return seed


@pytest.fixture
def bad_bucket(make_cluster):
    """A cluster, and the bucket that all its brokers reach."""
    cluster = make_cluster()
    cluster.start_servers()
    bucket = UnreliableBucket(cluster.s3.port, new_seed())
    for broker in cluster.brokers:
        broker.settings["STORAGE__ENDPOINT"] = f"http://{bucket.address}"
    for i in range(3):
        cluster.start(i, wait=False)
    for broker in cluster.brokers:
        broker.wait_ready()
    yield cluster, bucket
    bucket.close()


def test_a_bucket_that_answers_wrongly_late_and_twice(bad_bucket):
    """Also while the partitions of a broker that died are opened by others."""
    cluster, bucket = bad_bucket

    def work(_loads):
        bucket.bad(0.3)
        time.sleep(2)  # of load, here and below
        cluster.kill(1)
        time.sleep(3)
        bucket.good()
        cluster.start(1)
        assert bucket.faults > 20, "hardly anything was wrong"

    under_load(cluster.bootstrap(), work)


def test_what_is_forwarded_gets_lost(make_cluster):
    """Clients know one broker, which asks another by a link that fails: requests, or answers, or both are lost."""
    cluster = make_cluster()
    cluster.start_servers()
    asked, asker = cluster.brokers[:2]
    link = Link(asked.grpc_port)
    asked.settings["GRPC__ADVERTISE"] = link.address
    for broker in cluster.brokers:
        broker.settings |= {"KAFKA__ADVERTISE_MODE": "single", "KAFKA__ADVERTISE": asker.address}
    for i in range(3):
        cluster.start(i, wait=False)
    for broker in cluster.brokers:
        broker.wait_ready()

    def work(_loads):
        for fail in (link.deafen, link.silence, link.deafen, link.cut):
            fail()
            time.sleep(0.5)  # it is the failure that is tested
            link.heal()
            time.sleep(0.5)
        assert asker.metric("runnel_forwarded_requests_total") > 0

    try:
        under_load(asker.address, work)
    finally:
        link.heal()  # what waits in it must not wait for ever


def ahead_by(broker):
    """Seconds by which the clock of a broker is ahead, as the dates of its answers say."""
    with urllib.request.urlopen(f"http://127.0.0.1:{broker.http_port}/metrics", timeout=10) as answer:
        return email.utils.parsedate_to_datetime(answer.headers["date"]).timestamp() - time.time()


def test_clocks_jump(make_cluster, tmp_path):
    """Those of two brokers, ten minutes ahead and back behind: nothing but times of records depends on them."""
    cluster = make_cluster(settings={"SEGMENT__MAX_AGE": "2s"})
    clocks = [Clock(tmp_path / f"clock-{i}") for i in range(2)]
    for broker, clock in zip(cluster.brokers, clocks):
        broker.environment = clock.environment()
    cluster.start_all()

    def work(loads):
        for ahead, behind in ((0, 1), (1, 0)):
            clocks[behind].set(-600)
            clocks[ahead].set(600)
            # Only of this one: an HTTP server remembers the date of its last answer, and gives it until the clock is past it.
            wait_until(lambda i=ahead: abs(ahead_by(cluster.brokers[i]) - 600) < 60, "a jump of the clock")
            go_on(loads, 1.5, "records were not acknowledged while clocks jumped")
        cluster.kill(0)
        clocks[0].set(-600)
        cluster.start(0)

    under_load(cluster.bootstrap(), work)
