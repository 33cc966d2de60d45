"""The conformance suite for stores in S3 buckets and Azure containers, with and without faults."""

import pytest

from tests.fake_gcs.faults import DropAfter, DropBefore, Fault, StatusAfter, StatusBefore
from tests.services.service import ProxiedService
from tests.storage.conformance import StoreConformance
from tests.storage.objects.conftest import Open
from wheelyard.storage.base import Store

pytestmark = pytest.mark.integration

PREFIX = "packages/internal/"
FAULTS: list[Fault] = [StatusBefore(503), StatusAfter(500), DropAfter(), DropBefore()]
EVERY = 7
"""Which of so many requests fails."""
PLANNED = 300
"""Faults that a test may meet, at most."""


class TestBucket(StoreConformance):
    """A part of a bucket that others use, too."""

    passes = 5
    longest_key = 900

    @pytest.fixture
    def store(self, open_place: Open, service: ProxiedService) -> Store:
        """Return an empty store, in a bucket that has foreign objects outside the prefix."""
        bucket = service.bucket("wheels")
        for name in ("a", "a/1.json", "packages/internal", "packages/internal-2/a", "packages/j"):
            bucket.put(name, b"of somebody else")
        return open_place(f"wheels/{PREFIX}").documents


@pytest.mark.services
class TestBucketWithFaults(StoreConformance):
    """A bucket of which every seventh request fails, before it is carried out or after."""

    loses_answers = True
    passes = 2
    longest_key = 1000

    @pytest.fixture(params=range(len(FAULTS)))
    def store(
        self, open_place: Open, service: ProxiedService, request: pytest.FixtureRequest
    ) -> Store:
        """Return an empty store; which request is the first to fail, and how, is the parameter."""
        first: int = request.param
        for turn in range(PLANNED):
            fault = FAULTS[(first + turn) % len(FAULTS)]
            service.faults.add(fault, skip=first + (EVERY - 1) * turn)
        return open_place().documents
