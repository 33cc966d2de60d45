"""Copies from bucket to bucket, of which no byte comes by here."""

import pytest

from tests.fake_gcs.faults import DropAfter, Fault, StatusAfter, StatusBefore
from tests.fake_gcs.objects import Bucket
from tests.fake_gcs.server import FakeGcs
from tests.storage.gcs.opened import Opener
from wheelyard.errors import NotFound, Unavailable
from wheelyard.storage.base import Key, WebType
from wheelyard.storage.forwarding import Operation
from wheelyard.storage.gcs.connect import operation_of
from wheelyard.storage.gcs.store import GcsStore
from wheelyard.storage.location import BucketLocation

pytestmark = pytest.mark.integration

FILE = Key("files/a/0123/a-1-py3-none-any.whl")
SOURCE = f"prefix/{FILE}"
WHEELS = BucketLocation("wheels", "prefix/")
KIND = WebType("application/octet-stream", "public, max-age=31536000, immutable")
LARGE = 5_000_000
"""Bytes: more than goes to a bucket in one request."""


@pytest.fixture
def bucket(server: FakeGcs) -> Bucket:
    """Return the bucket that is copied to, past the wire."""
    return server.bucket("site")


@pytest.fixture
def site(bucket: Bucket, opener: Opener) -> GcsStore:
    """Return the store in the bucket that is copied to."""
    store = opener(f"gs://{bucket.name}").store
    assert isinstance(store, GcsStore)
    return store


def copied(site: GcsStore) -> None:
    """Copy the file."""
    site.copy(WHEELS, SOURCE, FILE, KIND)


@pytest.mark.parametrize("piece", [0, 1_000_000])
def test_the_bucket_copies_by_itself(
    server: FakeGcs, bucket: Bucket, site: GcsStore, piece: int
) -> None:
    """The bucket copies by itself, in as many steps as it likes, and says what we say."""
    body = b"x" * LARGE
    server.bucket("wheels").put(SOURCE, body, cacheControl="private")
    bucket.rewrite_piece = piece

    copied(site)

    assert bucket.find(FILE).data == body
    found = bucket.find(FILE)
    assert dict(found.fields) == {
        "contentType": KIND.content_type,
        "cacheControl": KIND.cache_control,
    }
    requests = server.log.records("rewrite")
    assert len(requests) == (5 if piece else 1)
    assert {operation_of(each.method, each.target) for each in requests} == {Operation("copy", "A")}
    assert server.log.count(kind="insert") == 0


def test_a_copy_over_another(server: FakeGcs, bucket: Bucket, site: GcsStore) -> None:
    """A copy replaces what is there."""
    server.bucket("wheels").put(SOURCE, b"whole")
    bucket.put(FILE, b"who")

    copied(site)

    assert bucket.find(FILE).data == b"whole"


def test_a_copy_of_nothing(site: GcsStore) -> None:
    """An object that does not exist cannot be copied."""
    with pytest.raises(NotFound):
        copied(site)


@pytest.mark.parametrize(
    ("right", "place"),
    [("storage.objects.get", "gs://wheels"), ("storage.objects.create", "gs://site")],
    ids=["read", "write"],
)
def test_a_copy_that_is_denied(
    server: FakeGcs, bucket: Bucket, site: GcsStore, right: str, place: str
) -> None:
    """Who may not read or write the files is told the permission, and on which bucket."""
    server.bucket("wheels").put(SOURCE, b"1")
    server.permissions.deny(right)

    with pytest.raises(Unavailable, match=rf"{right} on {place}"):
        copied(site)
    assert bucket.names() == []


@pytest.mark.parametrize("fault", [StatusBefore(503), StatusAfter(503), DropAfter()])
def test_a_copy_whose_answer_is_lost_is_made_again(
    server: FakeGcs, bucket: Bucket, site: GcsStore, fault: Fault
) -> None:
    """A copy whose answer is lost is made again."""
    server.bucket("wheels").put(SOURCE, b"wheel")
    server.faults.add(fault, "rewrite", count=1)

    copied(site)

    assert bucket.find(FILE).data == b"wheel"
