"""ETags, "not modified", compression and Cache-Control of pages."""

import gzip
from pathlib import Path

import pytest

from tests.distributions import make_wheel
from tests.http.in_process import InProcessResponse, InProcessServer, in_process
from wheelyard.settings.sections import AccessSettings, HttpSettings, Settings

V1_JSON = "application/vnd.pypi.simple.v1+json"
KINDS = (V1_JSON, "application/vnd.pypi.simple.v1+html", "text/html", "application/json")
PAGES = ("/simple/", "/simple/demo/", "/simple/local/", "/project/demo/", "/", "/pypi/demo/json")


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip, deflate", "gzip"),
        ("zstd,gzip,deflate", "gzip"),
        ("br, zstd", ""),
        ("zstd;q=1, gzip;q=0.1", "gzip"),
        ("gzip;q=0.0, zstd", ""),
        ("gzip;q=0", ""),
        ("identity", ""),
        ("identity;q=0", ""),
        ("*", "gzip"),
        ("*;q=0", ""),
        ("gzip;q=0, *", ""),
        ("deflate, br", ""),
        ("GZIP", "gzip"),
        (";;=,gzip;q=banana,,", ""),
        ("", ""),
    ],
)
def test_page_is_compressed_for_clients_that_take_gzip(
    stocked_app: InProcessServer, accepted: str, coding: str
) -> None:
    """A page comes compressed with gzip if the client takes that, else as it is."""
    plain = stocked_app.raw("GET /simple/demo/")
    answer = stocked_app.raw("GET /simple/demo/", f"Accept-Encoding: {accepted}")

    assert answer.headers.get("content-encoding", "") == coding
    assert decoded(answer) == plain.body
    assert answer.header("vary") == "Accept, Accept-Encoding"


def decoded(answer: InProcessResponse) -> bytes:
    """Return a body as it was before it was compressed."""
    coding = answer.headers.get("content-encoding", "")
    return gzip.decompress(answer.body) if coding else answer.body


def test_small_page_is_not_compressed(stocked_app: InProcessServer) -> None:
    """A page under 256 bytes is sent as it is; that of one file is larger."""
    answer = stocked_app.raw("GET /simple/", f"Accept: {V1_JSON}", "Accept-Encoding: gzip")
    assert len(answer.body) < 256
    assert "content-encoding" not in answer.headers
    page = stocked_app.raw("GET /simple/local/", f"Accept: {V1_JSON}", "Accept-Encoding: gzip")
    assert page.header("content-encoding") == "gzip"


def test_headers_of_json_are_few(stocked_app: InProcessServer) -> None:
    """A page in JSON has no header that only browsers read and that its type makes needless."""
    for kind, expected in ((V1_JSON, False), ("text/html", True)):
        answer = stocked_app.raw("GET /simple/demo/", f"Accept: {kind}")
        assert answer.header("x-content-type-options") == "nosniff"
        assert ("content-security-policy" in answer.headers) == expected


def test_each_representation_has_its_own_etag(stocked_app: InProcessServer) -> None:
    """No two representations of a page share an ETag, and none is weak."""
    etags = [
        stocked_app.raw("GET /simple/demo/", f"Accept: {kind}", f"Accept-Encoding: {coding}")
        for kind in KINDS
        for coding in ("identity", "gzip")
    ]
    values = [answer.header("etag") for answer in etags]

    assert len(set(values)) == len(values)
    assert all(value.startswith('"') and value.endswith('"') for value in values)


@pytest.mark.parametrize("path", PAGES)
def test_page_is_asked_for_anew(
    stocked_app: InProcessServer, private_app: InProcessServer, path: str
) -> None:
    """Clients revalidate a page each time; shared caches may keep the page only if it is public."""
    answer = stocked_app.raw(f"GET {path}")
    assert answer.header("cache-control") == "public, no-cache"
    assert {"last-modified", "expires"}.isdisjoint(answer.headers)

    secret = private_app.get(path.replace("local", "demo"), private_app.bearer())
    assert secret.header("cache-control") == "private, no-cache"


def test_etag_of_another_coding_will_do(stocked_app: InProcessServer) -> None:
    """A page whose ETag is known is not sent again in another coding, but in another form."""
    packed = stocked_app.raw("GET /simple/demo/", "Accept-Encoding: gzip").header("etag")
    json_etag = stocked_app.raw("GET /simple/demo/", f"Accept: {V1_JSON}").header("etag")

    assert stocked_app.raw("GET /simple/demo/", f"If-None-Match: {packed}").status == 304
    assert stocked_app.raw("GET /simple/demo/", f"If-None-Match: {json_etag}").status == 200
    as_v1 = ("Accept: application/vnd.pypi.simple.v1+html", f"If-None-Match: {packed}")
    assert stocked_app.raw("GET /simple/demo/", *as_v1).status == 200


@pytest.mark.parametrize(
    ("private", "cached"), [(False, "public, max-age=60"), (True, "private, no-cache")]
)
def test_setting_for_shared_caches(tmp_path: Path, cached: str, *, private: bool) -> None:
    """`public_max_age` lets a CDN keep pages that anybody may read, and no others."""
    access, http = AccessSettings(private=private), HttpSettings(public_max_age=60)
    with in_process(tmp_path, Settings(access=access, http=http)) as app:
        app.publish(make_wheel("demo"))
        bearer = app.bearer(can="read")
        for path in ("/simple/", "/simple/demo/"):
            assert app.get(path, bearer).headers["cache-control"] == cached
        assert app.get("/", bearer).headers["cache-control"] == "private, no-cache"  # has a name
        if not private:
            assert app.get("/").headers["cache-control"] == cached
