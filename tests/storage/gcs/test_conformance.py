"""The conformance suite for GCS stores: on the fake server, with faults, and on an emulator."""

from collections.abc import Iterator

import pytest

from tests.fake_gcs.emulator import new_bucket, running_emulator
from tests.fake_gcs.faults import DropAfter, DropBefore, Fault, ResetAt, StatusAfter, StatusBefore
from tests.fake_gcs.server import FakeGcs
from tests.storage.conformance import A, B, StoreConformance
from tests.storage.gcs.opened import EMULATOR, FrozenTime, Opened, Opener
from wheelyard.errors import Unavailable
from wheelyard.storage.base import ABSENT, CHUNK_BYTES, Store

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

    def test_a_stream_goes_on_over_a_change(self, store: Store) -> None:
        """A stream that breaks off after a change may end there, but has nothing of that change."""
        body = b"x" * (3 * CHUNK_BYTES)
        store.put(A, body, ABSENT)
        store.put(B, body, ABSENT)
        streams = [store.read(A), store.read(B)]
        received = [[next(stream)] for stream in streams]

        store.put(A, b"y" * (3 * CHUNK_BYTES), None)
        store.delete(B)

        for stream, chunks in zip(streams, received, strict=True):
            try:
                chunks.extend(stream)
            except Unavailable:
                assert body.startswith(b"".join(chunks))
            else:
                assert b"".join(chunks) == body


class TestFakeGcsServer(BucketConformance):
    """The widely used emulator `fake-gcs-server`."""

    @pytest.fixture
    def store(self, opener: Opener, emulator: str, monkeypatch: pytest.MonkeyPatch) -> Store:
        """Return a store in a new bucket."""
        monkeypatch.setenv(EMULATOR, emulator)
        return opener(f"gs://{new_bucket(emulator)}").store

    @pytest.mark.xfail(strict=True, reason="it deletes whatever ifGenerationMatch says")
    def test_delete_of_one_version(self, store: Store) -> None:
        """A deletion of an old version would be a Conflict."""
        super().test_delete_of_one_version(store)
