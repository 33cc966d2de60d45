"""BucketSite is a Site, and what its bucket says of the objects is what a client needs."""

from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.bucket.faults import DropAfter, Fault, StatusAfter, StatusBefore
from tests.bucket.objects import Bucket
from tests.bucket.server import BucketServer
from tests.storage.site.conformance import FILE, LARGE, PAGE, WHEEL, A, SiteConformance
from tests.storage.site.opened import bucket_site
from wheelyard.errors import Invalid, NotFound, Unavailable
from wheelyard.storage.base import ABSENT
from wheelyard.storage.cloud.counting import COPY, operation_of
from wheelyard.storage.site.base import Site
from wheelyard.storage.site.bucket import BucketSite

pytestmark = pytest.mark.integration

SOURCE = "prefix/files/a/0123/a-1-py3-none-any.whl"


@pytest.fixture
def site(server: BucketServer, tmp_path: Path) -> Iterator[BucketSite]:
    """Yield an empty site."""
    del server
    with bucket_site(tmp_path) as site:
        yield site


class TestBucketSite(SiteConformance):
    """A bucket of its own."""

    @pytest.fixture
    def site(self, server: BucketServer, tmp_path: Path) -> Iterator[Site]:
        """Yield an empty site."""
        del server
        (tmp_path / "spool").mkdir()
        with bucket_site(tmp_path / "spool") as site:
            yield site
        assert list((tmp_path / "spool").iterdir()) == []


class TestBucketSiteUnderPrefix(SiteConformance):
    """Part of a bucket whose listings come in small pages."""

    @pytest.fixture
    def site(self, server: BucketServer, bucket: Bucket, tmp_path: Path) -> Iterator[Site]:
        """Yield an empty site, with the objects of others around it."""
        del server
        bucket.page_size, bucket.empty_pages = 3, True
        for name in ("simple/a/index.html", "docs/pypi", "docs/pypi-2/a"):
            bucket.put(name, b"of somebody else")
        with bucket_site(tmp_path, "gs://site/docs/pypi") as site:
            yield site


def test_what_a_browser_is_told(server: BucketServer, bucket: Bucket, site: BucketSite) -> None:
    """Type and caching are what was asked for, also of a page whose name ends in a slash."""
    bucket.public = True
    site.put("simple/a/", b"page", PAGE, ABSENT)
    site.put_stream(FILE, lambda: iter([b"wheel"]), WHEEL)

    page, wheel = _download(server, "simple/a/"), _download(server, FILE)

    assert page == (b"page", "text/html; charset=utf-8", "no-cache")
    assert wheel == (b"wheel", WHEEL.content_type, WHEEL.cache_control)
    assert [each.path for each in site.names("simple/a/")] == ["simple/a/"]


def test_a_read_past_caches(server: BucketServer, bucket: Bucket, site: BucketSite) -> None:
    """A read asks for the generation that is there now, which no cache on the way can replace."""
    version = site.put(A, b"one", PAGE, None)
    server.log.clear()

    site.get(A)

    assert server.log.kinds(A) == ["get", "media"]
    assert f"generation={version}" in server.log.records("media")[0].target
    del bucket


@pytest.mark.parametrize("piece", [0, 1_000_000])
def test_a_copy(server: BucketServer, bucket: Bucket, site: BucketSite, piece: int) -> None:
    """The bucket copies by itself, once, in as many steps as it likes, and says what we say."""
    body = b"x" * LARGE
    server.bucket("wheels").put(SOURCE, body, cacheControl="private", metadata={"write-id": "1"})
    bucket.rewrite_piece = piece

    assert site.copy_object(FILE, "wheels", SOURCE, WHEEL)
    requests = server.log.records("rewrite")
    assert not site.copy_object(FILE, "wheels", SOURCE, WHEEL)

    found = bucket.get(FILE)
    assert found
    assert found.data == body
    assert dict(found.fields) == {
        "contentType": WHEEL.content_type,
        "cacheControl": WHEEL.cache_control,
    }
    assert found.metadata["write-id"] != "1"
    assert server.log.count(kind="media") == server.log.count(kind="insert") == 0
    assert len(requests) == (5 if piece else 1)
    assert {operation_of(each.method, each.target) for each in requests} == {COPY}


def test_a_copy_over_half_a_file(server: BucketServer, bucket: Bucket, site: BucketSite) -> None:
    """What lies where the copy belongs, and has another size, is replaced."""
    server.bucket("wheels").put(SOURCE, b"whole")
    bucket.put(FILE, b"who")

    assert site.copy_object(FILE, "wheels", SOURCE, WHEEL)

    found = bucket.get(FILE)
    assert found
    assert found.data == b"whole"


def test_a_copy_of_nothing(bucket: Bucket, site: BucketSite) -> None:
    """What is not there cannot be copied, whether or not something has its place."""
    with pytest.raises(NotFound):
        site.copy_object(FILE, "wheels", SOURCE, WHEEL)
    bucket.put(FILE, b"1")
    with pytest.raises((NotFound, Unavailable)):
        site.copy_object(FILE, "wheels", SOURCE, WHEEL)


def test_a_copy_that_is_denied(server: BucketServer, site: BucketSite) -> None:
    """Who may not read the files is told the permission, and on which bucket."""
    server.bucket("wheels").put(SOURCE, b"1")
    server.permissions.deny("storage.objects.get")

    with pytest.raises(Unavailable, match=r"storage\.objects\.get on gs://wheels"):
        site.copy_object(FILE, "wheels", SOURCE, WHEEL)


@pytest.mark.parametrize("fault", [StatusBefore(503), StatusAfter(503), DropAfter()])
def test_lost_answers(server: BucketServer, site: BucketSite, fault: Fault, tmp_path: Path) -> None:
    """A write whose answer is lost is tried again, and known again: it succeeds, once."""
    server.bucket("wheels").put(SOURCE, b"wheel")
    (tmp_path / "body").write_bytes(b"wheel")
    for kind in ("insert", "rewrite"):
        server.faults.add(fault, kind, count=1)
    server.faults.add(fault, "insert", "files/*")

    version = site.put(A, b"one", PAGE, ABSENT)
    assert site.version(A) == version
    assert site.copy_object(FILE, "wheels", SOURCE, WHEEL)
    assert site.put_file(f"{FILE}.2", tmp_path / "body", WHEEL)
    assert not site.put_file(f"{FILE}.2", tmp_path / "body", WHEEL)


def test_a_link_is_refused(site: BucketSite, tmp_path: Path) -> None:
    """There are no links in a bucket, and the refusal says what to do."""
    with pytest.raises(Invalid, match=r"in a bucket\. Export with --files copy"):
        site.link_file(FILE, tmp_path)


def test_a_bucket_that_is_missing(server: BucketServer, tmp_path: Path) -> None:
    """A bucket that is not there is no empty site."""
    del server
    with bucket_site(tmp_path, "gs://nowhere") as site:
        for call in (
            lambda: site.version(A),
            lambda: site.get(A),
            lambda: site.put(A, b"", PAGE, None),
            lambda: list(site.names("")),
        ):
            with pytest.raises(Unavailable, match="There is no bucket"):
                call()


def test_what_it_costs(server: BucketServer, site: BucketSite, tmp_path: Path) -> None:
    """A file that is new is one write; one that is there is looked at, and not sent again."""
    (tmp_path / "body").write_bytes(b"wheel")

    site.put_file(FILE, tmp_path / "body", WHEEL)
    assert server.log.kinds(FILE) == ["insert"]
    server.log.clear()
    site.put_file(FILE, tmp_path / "body", WHEEL)

    assert server.log.kinds(FILE) == ["insert", "get"]
    assert [each.status for each in server.log.records("insert")] == [412]


def _download(server: BucketServer, path: str) -> tuple[bytes, str | None, str | None]:
    connection = HTTPConnection(server.address, timeout=10)
    try:
        connection.request("GET", f"/site/{path}")
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200
        return body, answer.getheader("Content-Type"), answer.getheader("Cache-Control")
    finally:
        connection.close()
