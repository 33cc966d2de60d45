"""Buckets of Google and S3, and containers of Azure, laid out as other systems do."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.fake_gcs.faults import CutAt, StatusBefore
from tests.services.fixtures import ALL, Emulators
from tests.services.service import DIALECTS, BucketView, RemoteBucket, Service
from tests.sources.offering import WHEEL, body_of, md5, offered, opened, sha256, taken
from tests.waiting import TIMEOUT_SECONDS
from wheelyard.errors import Invalid, Unavailable
from wheelyard.sources.candidate import Candidate
from wheelyard.wiring.stores import system_runtime

pytestmark = pytest.mark.integration

SDIST = "a-1.tar.gz"
PAGE = """<!DOCTYPE html>
<html>
  <head>
    <meta charset="UTF-8">
    <title>Package Index</title>
  </head>
  <body>
{}
  </body>
</html>"""
"""What s3pypi writes around its links."""


@pytest.fixture(params=ALL)
def service(
    request: pytest.FixtureRequest, emulators: Emulators, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Service]:
    """A service, which this process is led to."""
    with emulators.serving(request.param, "wheels") as service:
        for name, value in service.environment().items():
            monkeypatch.setenv(name, value)
        yield service


@pytest.fixture
def bucket(service: Service) -> BucketView:
    """A bucket of the service."""
    return service.bucket("wheels")


on_s3 = pytest.mark.parametrize("service", ["s3"], indirect=True)


def page(*links: str) -> bytes:
    """Return a page of s3pypi."""
    return PAGE.format("<br>\n".join(f"    {link}" for link in links)).encode()


def link(filename: str, body: bytes, more: str = "") -> str:
    """Return a link as s3pypi 1 and 2 write it."""
    return f'<a href="{filename}#sha256={sha256(body)}"{more}>{filename}</a>'


def test_files_are_found_below_a_prefix(service: Service, bucket: BucketView) -> None:
    """Files are found in folders below a prefix, with the date of their objects."""
    bucket.put(f"acme/b/c/{WHEEL}", b"wheel" * 100_000)
    bucket.put("acme/README.txt", b"?")
    bucket.put("acme-2/a-2.tar.gz", b"of another prefix")

    kind, found = taken(service.location("wheels/acme"))

    assert (kind, found.names) == ("files", [WHEEL])
    assert body_of(found[WHEEL]) == b"wheel" * 100_000
    assert found[WHEEL].size == 500_000
    assert found[WHEEL].location == service.location(f"wheels/acme/b/c/{WHEEL}")
    uploaded_at = found[WHEEL].uploaded_at
    assert uploaded_at is not None
    now = system_runtime().now()
    assert abs(now - uploaded_at) < timedelta(seconds=TIMEOUT_SECONDS)
    assert [each.why for each in found.passed_over] == ["it is not named like a distribution"]


def test_a_file_that_is_replaced(service: Service, bucket: BucketView) -> None:
    """Of a file that is replaced after the listing no byte is taken, nor of one that is gone."""
    for name in (WHEEL, SDIST):
        bucket.put(name, b"then")

    with opened(service.location("wheels")) as source:
        found = offered(source.candidates())
        bucket.put(WHEEL, b"now!")
        bucket.remove(SDIST)
        for name in (WHEEL, SDIST):
            with pytest.raises(OSError, match="replaced or deleted"):
                body_of(found[name])


def test_a_broken_connection(service: Service, bucket: BucketView) -> None:
    """A service that is busy is asked again, and a download that breaks off goes on."""
    body = bytes(range(256)) * 4000
    bucket.put(WHEEL, body)
    service.faults.add(StatusBefore(503), "list")
    cut = service.faults.add(CutAt(300_000), "media", WHEEL)

    _, found = taken(service.location("wheels"))

    assert body_of(found[WHEEL]) == body
    assert cut.taken == 1


@pytest.mark.parametrize("service", DIALECTS, indirect=True)
@pytest.mark.parametrize("has_hash", [True, False])
def test_a_bucket_of_pypicloud_keeps_digests_and_uploaders(
    service: Service, bucket: BucketView, *, has_hash: bool
) -> None:
    """Digests and uploaders in pypicloud's metadata are kept, which a listing does not have."""
    joint = "_" if service.location("x").startswith("az") else "-"
    folder = f"pypi/{md5(WHEEL.encode())[:4]}/a" if has_hash else "pypi/a"
    metadata = {"name": "a", "version": "1", "uploader": "ana", f"hash{joint}md5": md5(b"wheel")}
    metadata[f"hash{joint}sha256"] = sha256(b"wheel")
    assert isinstance(bucket, RemoteBucket)
    bucket.put(f"{folder}/{WHEEL}", b"wheel", **metadata)

    kind, found = taken(service.location("wheels/pypi"))

    assert kind == "pypicloud"
    assert found[WHEEL].hashes == {"sha256": sha256(b"wheel"), "md5": md5(b"wheel")}
    assert found[WHEEL].uploaded_by == "ana"
    assert body_of(found[WHEEL]) == b"wheel"


@pytest.mark.parametrize("service", ["s3", "google"], indirect=True)
@pytest.mark.parametrize("name", ["", "index.html"])
@pytest.mark.parametrize("prefix", ["", "deep/er/"])
def test_a_page_of_s3pypi_says_which_files_there_are(
    service: Service, bucket: BucketView, prefix: str, name: str
) -> None:
    """A project's page of s3pypi says which files the project has, and their digests."""
    for file in (WHEEL, SDIST, "a-3.tar.gz"):
        bucket.put(f"{prefix}a/{file}", file.encode())
    yanked = ' data-yanked="by hand"'
    links = link(WHEEL, WHEEL.encode()), link("a-3.tar.gz", b"a-3.tar.gz", yanked)
    bucket.put(f"{prefix}a/{name}", page(*links))
    bucket.put(prefix or "index.html", page('<a href="a/">a</a>'))

    kind, found = taken(service.location(f"wheels/{prefix}"))

    assert (kind, found.names) == ("s3pypi", [WHEEL, "a-3.tar.gz"])
    assert found[WHEEL].hashes["sha256"] == sha256(WHEEL.encode())
    assert (found[WHEEL].yanked, found["a-3.tar.gz"].yanked) == (None, "by hand")
    (unlisted,) = found.passed_over
    assert unlisted.location.endswith(f"a/{SDIST}")
    assert "does not list it" in unlisted.why
    assert not unlisted.is_error


@on_s3
def test_s3pypi_before_1(service: Service, bucket: BucketView) -> None:
    """Pages of s3pypi before 1.0, without digests and with quoted names, list their files, too."""
    local = "a-1+local.1-py3-none-any.whl"
    bucket.put(f"a/{local}", b"wheel")
    bucket.put("a/index.html", page(f'<a href="a-1%2Blocal.1-py3-none-any.whl">{local}</a>'))

    kind, found = taken(service.location("wheels"))

    assert (kind, found.names, found[local].hashes) == ("s3pypi", [local], {})


@on_s3
def test_damaged_pages_of_s3pypi(service: Service, bucket: BucketView) -> None:
    """Damage of a page or a link is a warning; its files are taken without digests."""
    for name in ("a", "b"):
        bucket.put(f"{name}/{name}-1.tar.gz", b"sdist")
    bucket.put("a/", page('<a href="a-1.tar.gz#sha256=abc">a-1.tar.gz</a>'))
    bucket.put("b/", b" " * 17_000_000)

    _, found = taken(service.location("wheels"), kind="s3pypi")

    assert found.names == ["a-1.tar.gz", "b-1.tar.gz"]
    assert [bool(each.hashes) for each in found.candidates] == [False, False]
    assert (found.warned, found.faults) == (["a-1.tar.gz", "b-1.tar.gz"], [])


@on_s3
def test_other_projects_have_pages(service: Service, bucket: BucketView) -> None:
    """A project without a page was not served; --from files takes its files."""
    bucket.put(f"a/{WHEEL}", b"wheel")
    bucket.put("a/", b"")  # what consoles make of a folder

    assert taken(service.location("wheels"))[0] == "files"
    _, found = taken(service.location("wheels"), kind="s3pypi")
    assert (found.names, len(found.passed_over)) == ([], 1)


@on_s3
def test_names_that_cannot_be_listed(service: Service, bucket: BucketView) -> None:
    """A name with an empty part is refused with what to do, not passed over."""
    bucket.put(f"acme//a/{WHEEL}", b"wheel")

    with pytest.raises(Invalid, match="copy the packages") as raised:
        taken(service.location("wheels"))

    assert raised.value.code == "bad_source"


def test_there_is_no_such_bucket(service: Service) -> None:
    """A bucket that is missing is an error, not an empty one."""
    with pytest.raises(Unavailable) as raised:
        taken(service.location("nowhere"))

    assert raised.value.code == "bucket_missing"


def test_a_list_in_a_bucket(service: Service, bucket: BucketView) -> None:
    """A package list of dumb-pypi has its files beside it."""
    bucket.put("site/packages.json", b'{"filename": "%s"}' % WHEEL.encode())
    bucket.put(f"raw/{WHEEL}", b"wheel")

    with opened(service.location("wheels/site/packages.json"), packages_url="../../../raw/") as it:
        (candidate,) = it.candidates()
        assert isinstance(candidate, Candidate)
        assert body_of(candidate) == b"wheel"
