"""Fixtures: brokers and servers in temporary folders, always stopped."""
import itertools
import pathlib
from typing import NamedTuple

import pytest

from harness.broker import Broker
from harness.cluster import Cluster
from harness.drivers import Driver
from harness.history import Recorder
from harness.s3 import S3Server


@pytest.fixture(autouse=True)
def histories(tmp_path, monkeypatch):
    """What clients of the test see is written down in its own folder, which stays if it fails."""
    monkeypatch.setattr(Recorder, "folder", tmp_path / "histories")


@pytest.fixture
def make_broker(tmp_path):
    """Makes brokers, not started; kills them at the end and fails on errors in their logs."""
    made, number = [], itertools.count()

    def make(settings=None, storage=None):
        kept = storage.settings if storage else {}
        made.append(Broker(tmp_path / f"broker{next(number)}", kept | (settings or {})))
        made[-1].bucket = storage.folder if storage else made[-1].bucket
        return made[-1]

    yield make
    for broker in made:
        broker.kill()
    for broker in made:
        assert not broker.unexpected_errors(), broker.unexpected_errors()[:5]


@pytest.fixture
def broker(make_broker):
    """A broker with the defaults, ready."""
    return make_broker().start()


@pytest.fixture
def make_cluster(tmp_path):
    """Makes clusters, not started; ends them, with their servers, and fails on errors in the logs of brokers."""
    made, number = [], itertools.count()

    def make(brokers=3, settings=None):
        made.append(Cluster(tmp_path / f"cluster{next(number)}", brokers, settings))
        return made[-1]

    yield make
    for cluster in made:
        cluster.close()
    for cluster in made:
        assert not cluster.unexpected_errors(), cluster.unexpected_errors()[:5]


@pytest.fixture
def s3(tmp_path):
    """An S3 server with the bucket `lake`."""
    server = S3Server(tmp_path / "s3")
    try:
        server.start().create_bucket("lake")
        yield server
    finally:
        server.stop()


class Storage(NamedTuple):
    """A bucket: the settings that point a broker to it, and the folder in which its objects really are."""
    settings: dict
    folder: pathlib.Path


@pytest.fixture(params=["file", "s3"])
def storage(request, tmp_path):
    """Each kind of bucket."""
    if request.param == "file":
        return Storage({"STORAGE__URL": f"file://{tmp_path}/lake"}, tmp_path / "lake")
    server = request.getfixturevalue("s3")
    return Storage(server.settings("s3://lake/some/prefix"), server.data / "lake/some/prefix")


@pytest.fixture(scope="session")
def driver():
    """The driver of a client library, by its name; each is started when it is first asked for, and kept."""
    started = {}

    def get(client):
        if client not in started:
            started[client] = Driver(client)
        return started[client]

    yield get
    for one in started.values():
        one.stop()
