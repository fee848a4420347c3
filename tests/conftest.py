"""Fixtures: brokers and servers in temporary folders, always stopped."""
import itertools

import pytest

from harness.broker import Broker
from harness.s3 import S3Server


@pytest.fixture
def make_broker(tmp_path):
    """Makes brokers, not started; kills them at the end and fails on errors in their logs."""
    made, number = [], itertools.count()

    def make(settings=None, directory=None):
        made.append(Broker(directory or tmp_path / f"broker{next(number)}", settings))
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
def s3(tmp_path):
    """An S3 server with the bucket `lake`."""
    server = S3Server(tmp_path / "s3")
    try:
        server.start().create_bucket("lake")
        yield server
    finally:
        server.stop()


@pytest.fixture(params=["file", "s3"])
def storage(request):
    """Settings for each kind of bucket."""
    if request.param == "file":
        return {}
    return request.getfixturevalue("s3").settings("s3://lake/some/prefix")
