"""The setup of a bucket store: the location of each object, and its metadata."""

from datetime import timedelta
from pathlib import Path

import pytest

from tests.fake_gcs.objects import Bucket
from tests.fake_gcs.server import FakeGcs
from tests.refused import refused
from tests.storage.gcs.opened import EMULATOR, FILES, A, Opened, Opener
from wheelyard.errors import Conflict, Invalid
from wheelyard.storage.base import ABSENT, NOT_MODIFIED, Key, ObjectVersion, Stored
from wheelyard.storage.bucket_store import Downloads

pytestmark = pytest.mark.integration

FILE = Key(f"{FILES}a/a 1.0+cpu.whl")
HOUR = timedelta(hours=1)


def test_opening_asks_nothing(server: FakeGcs, opened_bucket: Opened) -> None:
    """To open a bucket, and to use it, no right is needed but those for its objects."""
    assert server.log.count() == 0
    server.permissions.deny("storage.buckets.get")

    opened_bucket.store.put(A, b"one", ABSENT)
    opened_bucket.store.get(A)

    assert server.log.kinds() == ["insert", "media"]


@pytest.mark.parametrize(
    ("downloads", "scope"), [("auto", "private"), ("proxy", "private"), ("public", "public")]
)
def test_what_is_said_about_an_object(
    opener: Opener, bucket: Bucket, large_file: Path, downloads: Downloads, scope: str
) -> None:
    """Files are cacheable for ever, documents not at all; both have a content type."""
    opened = opener("gs://wheels/in", downloads=downloads).bucket
    opened.documents.put(A, b"{}", ABSENT)
    opened.files.put_file(FILE, b"")
    opened.files.put_file(Key(f"{FILES}large"), large_file)

    found = [bucket.get(f"in/{key}") for key in (A, FILE, f"{FILES}large")]

    fields = [each.fields for each in found if each]
    assert [each["contentType"] for each in fields] == [
        "application/json",
        "application/octet-stream",
        "application/octet-stream",
    ]
    kept = f"{scope}, max-age=31536000, immutable"
    assert [each.get("cacheControl") for each in fields] == [None, kept, kept]


def test_what_is_beside_public_files(opener: Opener, server: FakeGcs) -> None:
    """Beside a public bucket of files nothing has a plain URL: the other bucket is not public."""
    server.bucket("apart")
    opened = opener("gs://wheels/in", files="gs://apart/out", downloads="public").bucket

    assert opened.files.sign(FILE, HOUR) is not None
    assert opened.documents.sign(Key(f"upstream/pypi/{FILE}"), HOUR) is None


def test_files_in_a_bucket_of_their_own(opener: Opener, server: FakeGcs, bucket: Bucket) -> None:
    """Files may be in another bucket, at another place in it."""
    apart = server.bucket("apart")
    opened = opener("gs://wheels/in", files="gs://apart/out").bucket
    opened.documents.put(A, b"one", ABSENT)
    opened.files.put_file(FILE, b"two")

    assert bucket.names() == [f"in/{A}"]
    assert apart.names() == [f"out/{FILE}"]
    assert b"".join(opened.files.read(FILE)) == b"two"


def test_urls_that_anyone_may_use(opener: Opener, server: FakeGcs) -> None:
    """In a public bucket an object has a plain URL, with its name encoded once."""
    store = opener("gs://wheels/in", downloads="public").store

    assert store.sign(FILE, HOUR) == f"{server.url}/wheels/in/files/a/a%201.0%2Bcpu.whl"


@pytest.mark.parametrize("downloads", ["auto", "proxy"])
def test_an_object_has_no_url_without_a_signer(
    opener: Opener, server: FakeGcs, downloads: Downloads
) -> None:
    """Without a signer, or with signing disabled, an object has no URL."""
    del server
    assert opener(downloads=downloads).store.sign(FILE, HOUR) is None


def test_no_urls_though_somebody_can_sign(
    opener: Opener, server: FakeGcs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With `proxy`, no URL is signed; without it, the same key signs one."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(server.write_key_file(tmp_path)))
    monkeypatch.delenv(EMULATOR)
    stores = [opener(downloads=downloads).store for downloads in ("auto", "proxy")]

    signed, unsigned = (store.sign(FILE, HOUR) for store in stores)

    assert signed is not None
    assert "X-Goog-Signature=" in signed
    assert unsigned is None


def test_redirects_that_nobody_can_sign(
    opener: Opener, server: FakeGcs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Who asks for redirects and has nothing to sign with is told so when the bucket is opened."""
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)

    with refused(Invalid, "bad_setting", match="cannot sign a URL"):
        opener(downloads="redirect")

    assert server.log.count() == 0


@pytest.mark.parametrize("foreign", ["1", "17-4-9", "é", "-5", "99999999999999999999"])
def test_versions_of_another_store(opened_bucket: Opened, foreign: str) -> None:
    """A version that some other store gave matches nothing here."""
    store, other = opened_bucket.store, ObjectVersion(foreign)
    version = store.put(A, b"one", ABSENT)

    assert store.get(A, other) == Stored(b"one", version)
    with pytest.raises(Conflict):
        store.put(A, b"two", other)
    assert store.get(A, version) is NOT_MODIFIED


@pytest.fixture
def large_file(tmp_path: Path) -> Path:
    """Return a file that goes up in pieces."""
    path = tmp_path / "large"
    path.write_bytes(bytes(5_000_000))
    return path
