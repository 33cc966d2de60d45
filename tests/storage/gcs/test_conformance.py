"""The conformance suite for GCS stores: on the fake server, with faults, and on an emulator."""

from collections.abc import Iterator

import pytest

from tests.fake_gcs.emulator import new_bucket, running_emulator
from tests.fake_gcs.faults import DropAfter, DropBefore, Fault, ResetAt, StatusAfter, StatusBefore
from tests.fake_gcs.server import FakeGcs
from tests.storage.conformance import StoreConformance
from tests.storage.gcs.opened import EMULATOR, FrozenTime, Opened, Opener
from wheelyard.storage.base import Store

pytestmark = pytest.mark.integration

PREFIX = "packages/internal/"
FAULTS: list[Fault] = [StatusBefore(503), StatusAfter(503), DropAfter(), ResetAt(5), DropBefore()]
EVERY = 7
"""Which of so many requests fails."""
PLANNED = 500
"""Faults that a test may meet, at most."""


@pytest.fixture(scope="module")
def emulator() -> Iterator[str]:
    """Yield the URL of an emulator for all tests."""
    with running_emulator() as url:
        yield url


class BucketConformance(StoreConformance):
    """For a store that answers each call over a socket."""

    passes = 10


class TestCloudStore(BucketConformance):
    """A bucket of its own."""

    @pytest.fixture
    def store(self, opened_bucket: Opened) -> Store:
        """Return an empty store."""
        return opened_bucket.store


class TestCloudStoreUnderPrefix(BucketConformance):
    """Part of a bucket whose listings come in small pages, every other one of them empty."""

    longest_key = 1024 - len(PREFIX)

    @pytest.fixture
    def store(self, opener: Opener, server: FakeGcs) -> Store:
        """Return an empty store, in a bucket that has foreign objects outside the prefix."""
        bucket = server.bucket("wheels")
        bucket.page_size, bucket.empty_pages = 3, True
        for name in ("a", "a/1.json", "packages/internal", "packages/internal-2/a", "packages/j"):
            bucket.put(name, b"of somebody else")
        return opener(f"gs://wheels/{PREFIX}").store


class TestCloudStoreWithFaults(BucketConformance):
    """A bucket of which every seventh request fails, before it is carried out or after."""

    loses_answers = True
    passes = 3  # of each of the five beginnings

    @pytest.fixture(params=range(len(FAULTS)))
    def store(self, server: FakeGcs, opener: Opener, request: pytest.FixtureRequest) -> Store:
        """Return an empty store; which request is the first to fail, and how, is the parameter."""
        first: int = request.param
        for turn in range(PLANNED):
            fault = FAULTS[(first + turn) % len(FAULTS)]
            server.faults.add(fault, skip=first + (EVERY - 1) * turn)
        return opener(still=FrozenTime()).store


class TestFakeGcsServer(BucketConformance):
    """The widely used emulator `fake-gcs-server`."""

    @pytest.fixture
    def store(self, opener: Opener, emulator: str, monkeypatch: pytest.MonkeyPatch) -> Store:
        """Return a store in a new bucket."""
        monkeypatch.setenv(EMULATOR, emulator)
        return opener(f"gs://{new_bucket(emulator)}").store
