"""The conformance suite for stores at Google, S3 and Azure: as they are, and with faults."""

from collections.abc import Iterator

import pytest

from tests.fake_gcs.emulator import new_bucket, running_emulator
from tests.fake_gcs.faults import DropAfter, DropBefore, Fault, ResetAt, StatusAfter, StatusBefore
from tests.fake_gcs.objects import Bucket
from tests.fake_time import Clock
from tests.services.fixtures import ALL, RARELY
from tests.services.service import Service
from tests.services.stores import store_at
from tests.storage.conformance import StoreConformance
from tests.storage.gcs.opened import EMULATOR, Opener, frozen_clock
from wheelyard.storage.base import Store

pytestmark = pytest.mark.integration

PREFIX = "packages/internal/"
FAULTS: list[Fault] = [StatusBefore(503), StatusAfter(503), DropAfter(), ResetAt(5), DropBefore()]
EVERY = 7
"""Which of so many requests fails."""
PLANNED = 500
"""Faults that a test may meet, at most."""


class ServiceConformance(StoreConformance):
    """For a store that answers each call over a socket."""

    passes = 10


@pytest.mark.parametrize("service", ALL, indirect=True)
class TestService(ServiceConformance):
    """Part of a bucket with foreign objects; Google lists it in small pages, some of them empty."""

    longest_key = 1024 - len(PREFIX)

    @pytest.fixture
    def store(self, service: Service) -> Iterator[Store]:
        """Yield an empty store."""
        bucket = service.bucket("wheels")
        if isinstance(bucket, Bucket):
            bucket.page_size, bucket.empty_pages = 3, True
        for name in ("a/1.json", "packages/internal-2/a", "packages/j"):
            bucket.put(name, b"of somebody else")
        with store_at(service, Clock(), f"wheels/{PREFIX}") as store:
            yield store


@pytest.fixture(scope="module")
def emulator() -> Iterator[str]:
    """Yield the URL of an emulator for all tests."""
    with running_emulator() as url:
        yield url


class TestFakeGcsServer(ServiceConformance):
    """The widely used emulator `fake-gcs-server`."""

    @pytest.fixture
    def store(self, emulator: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
        """Yield a store in a new bucket."""
        monkeypatch.setenv(EMULATOR, emulator)
        opener = Opener()
        yield opener(f"gs://{new_bucket(emulator)}").store
        opener.close()


@pytest.mark.parametrize("service", RARELY, indirect=True)
class TestServiceWithFaults(ServiceConformance):
    """A whole bucket of which every seventh request fails, before it is carried out or after."""

    loses_answers = True
    passes = 3  # of each of the five beginnings

    @pytest.fixture(params=range(len(FAULTS)))
    def store(self, service: Service, request: pytest.FixtureRequest) -> Iterator[Store]:
        """Yield an empty store; which request is the first to fail, and how, is the parameter."""
        first: int = request.param
        for turn in range(PLANNED):
            fault = FAULTS[(first + turn) % len(FAULTS)]
            service.faults.add(fault, skip=first + (EVERY - 1) * turn)
        with store_at(service, frozen_clock()) as store:
            yield store
