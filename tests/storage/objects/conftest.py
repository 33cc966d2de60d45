"""Fixtures: a service of a test's own, and stores in it whose pauses take no time."""

from collections.abc import Callable, Iterator

import pytest

from tests.fake_time import RunningClock
from tests.services.fixtures import ALL, Emulators
from tests.services.service import DIALECTS, ProxiedService
from tests.storage.gcs.opened import Opener
from wheelyard.storage.base import Key
from wheelyard.storage.bucket_store import Downloads
from wheelyard.storage.buckets import ConnectedBucket
from wheelyard.storage.objects import connect
from wheelyard.storage.objects.store import ObjectStore

Open = Callable[..., ConnectedBucket]


@pytest.fixture(params=[name for name in ALL if name in DIALECTS])
def service(
    request: pytest.FixtureRequest, emulators: Emulators, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ProxiedService]:
    """A service with a bucket `wheels`; the environment leads there."""
    with emulators.serving(request.param, "wheels") as service:
        assert isinstance(service, ProxiedService)
        for name, value in service.environment().items():
            monkeypatch.setenv(name, value)
        yield service


@pytest.fixture
def patience() -> RunningClock:
    """The time of all stores of a test."""
    return RunningClock()


@pytest.fixture
def open_place(
    service: ProxiedService, patience: RunningClock, monkeypatch: pytest.MonkeyPatch
) -> Open:
    """Open `BUCKET/PREFIX` as another process would, which has checked no bucket yet."""

    def opened(path: str = "wheels", downloads: Downloads = "auto") -> ConnectedBucket:
        monkeypatch.setattr(connect, "_condition_checks", {})
        return Opener()(service.location(path), patience, downloads=downloads).bucket

    return opened


@pytest.fixture
def store(open_place: Open, service: ProxiedService) -> ObjectStore:
    """Return the store of the bucket, which was written before."""
    store = open_place().documents
    assert isinstance(store, ObjectStore)
    store.delete(Key("written"))
    service.log.clear()
    return store
