"""The conformance suite for GCS stores: with listings in small pages, and on an emulator."""

from collections.abc import Iterator

import pytest

from tests.fake_gcs.emulator import new_bucket, running_emulator
from tests.fake_gcs.server import FakeGcs
from tests.storage.conformance import StoreConformance
from tests.storage.gcs.opened import EMULATOR, Opener
from wheelyard.storage.base import Store

pytestmark = pytest.mark.integration

PREFIX = "packages/internal/"


@pytest.fixture(scope="module")
def emulator() -> Iterator[str]:
    """Yield the URL of an emulator for all tests."""
    with running_emulator() as url:
        yield url


class BucketConformance(StoreConformance):
    """For a store that answers each call over a socket."""

    passes = 10


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


class TestFakeGcsServer(BucketConformance):
    """The widely used emulator `fake-gcs-server`."""

    @pytest.fixture
    def store(self, opener: Opener, emulator: str, monkeypatch: pytest.MonkeyPatch) -> Store:
        """Return a store in a new bucket."""
        monkeypatch.setenv(EMULATOR, emulator)
        return opener(f"gs://{new_bucket(emulator)}").store
