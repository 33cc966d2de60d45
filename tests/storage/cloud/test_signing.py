"""Signed URLs: Google's published vectors, names that need care, and windows of time."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given, strategies

from tests.storage.cloud.signatures import EMAIL, HOUR, NOON, VECTORS, sign, verify
from wheelyard.storage.cloud.signers import KeySigner, Signer, UrlSigner
from wheelyard.storage.cloud.signing import (
    Ask,
    canonical_request,
    object_path,
    quantised,
    signed_url,
    string_to_sign,
)

PUBLISHED: Final = json.loads((VECTORS / "v4_signatures.json").read_text())["signingV4Tests"]


@pytest.mark.parametrize("vector", PUBLISHED, ids=lambda vector: vector["description"])
def test_published_urls(vector: dict[str, Any]) -> None:
    """Every URL that Google has published comes out letter for letter."""
    ask = _asked(vector)

    assert signed_url(ask, EMAIL, sign) == vector["expectedUrl"]
    if "expectedStringToSign" in vector:
        assert canonical_request(ask, EMAIL) == vector["expectedCanonicalRequest"]
        assert string_to_sign(ask, EMAIL) == vector["expectedStringToSign"]


def test_all_vectors_are_here() -> None:
    """None of the published vectors got lost."""
    assert len({vector["description"] for vector in PUBLISHED}) == 29


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("files/foo-1.0+cpu.whl", "/wheels/files/foo-1.0%2Bcpu.whl"),
        ("files/foo-1!2.0.tar.gz", "/wheels/files/foo-1%212.0.tar.gz"),
        ("files/~foo~", "/wheels/files/~foo~"),
        ("files/a b.zip", "/wheels/files/a%20b.zip"),
        ("files/100%2B.zip", "/wheels/files/100%252B.zip"),
        ("files/a@b", "/wheels/files/a%40b"),
        ("files/smörgås-☃", "/wheels/files/sm%C3%B6rg%C3%A5s-%E2%98%83"),
        ("files/a?b#c&d=e", "/wheels/files/a%3Fb%23c%26d%3De"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_names_that_need_care(name: str, path: str, method: str) -> None:
    """A name with '+', '!', '~', blanks or letters from anywhere is quoted once, and verifies."""
    url = _urls(lambda: NOON).url("wheels", name, method, 2 * HOUR)

    assert urlsplit(url).path == path
    verify(url, method)


def test_every_method_has_a_url_of_its_own() -> None:
    """A URL for GET is not one for HEAD."""
    urls = _urls(lambda: NOON)

    assert urls.url("b", "o", "GET", HOUR) != urls.url("b", "o", "HEAD", HOUR)


def test_what_the_url_says() -> None:
    """A URL names who signed, from when on it is good, and for how long."""
    url = _urls(lambda: NOON + 3599).url("wheels", "a", "GET", 2 * HOUR)

    query = parse_qs(urlsplit(url).query)
    assert url.startswith("https://storage.googleapis.com/wheels/a?X-Goog-Algorithm=")
    assert query["X-Goog-Credential"] == [f"{EMAIL}/20260504/auto/storage/goog4_request"]
    assert query["X-Goog-Date"] == ["20260504T120000Z"]
    assert query["X-Goog-Expires"] == ["7200"]
    assert query["X-Goog-SignedHeaders"] == ["host"]


def test_an_endpoint_of_ones_own() -> None:
    """At an emulator the URL has its scheme and port, and the signature is for its name."""
    urls = UrlSigner(_key_signer(), lambda: NOON, "http://127.0.0.1:4443")

    url = urls.url("wheels", "a", "GET", HOUR)

    assert url.startswith("http://127.0.0.1:4443/wheels/a?")
    verify(url, "GET")


@given(strategies.text(strategies.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_path_is_the_name_quoted_once(name: str) -> None:
    """A path is plain ASCII, and decodes to the object's name in one step."""
    path = object_path("wheels", name)

    assert path.isascii()
    assert not set(path) & set(' +!?#"<>@:')
    assert unquote(path, errors="strict") == f"/wheels/{name}"


@given(
    now=strategies.floats(0, 4e9),
    seconds=strategies.integers(1, 7 * 86400),
    later=strategies.floats(0, 1),
)
def test_a_window(now: float, seconds: int, later: float) -> None:
    """Whoever asks within a window gets one time, past, with half the lifetime left or more."""
    lifetime = timedelta(seconds=seconds)
    window = max(1, seconds // 2)

    start = quantised(now, lifetime).timestamp()

    assert start <= now < start + window
    assert start + seconds - now >= seconds / 2 or seconds == 1
    assert quantised(start + later * (window - 1), lifetime).timestamp() == start
    assert quantised(start + window, lifetime).timestamp() == start + window


@given(offset=strategies.integers(0, 3599), windows=strategies.integers(1, 1000))
def test_the_same_url_within_a_window(offset: int, windows: int) -> None:
    """Within half its lifetime a URL repeats, whoever makes it; after that comes another."""
    first = _urls(lambda: NOON).url("b", "o", "GET", 2 * HOUR)

    assert _urls(lambda: NOON + offset).url("b", "o", "GET", 2 * HOUR) == first
    assert _urls(lambda: NOON + offset + 3600 * windows).url("b", "o", "GET", 2 * HOUR) != first


@pytest.mark.parametrize("lifetime", [timedelta(0), timedelta(days=7, seconds=1)])
def test_a_lifetime_that_the_service_refuses(lifetime: timedelta) -> None:
    """No URL is made that lives longer than a week, or not at all."""
    with pytest.raises(ValueError, match="1 second to 7 days"):
        _urls(lambda: NOON).url("b", "o", "GET", lifetime)


def _key_signer() -> Signer:
    return KeySigner(EMAIL, sign)


def _urls(now: Callable[[], float]) -> UrlSigner:
    return UrlSigner(_key_signer(), now)


def _asked(vector: dict[str, Any]) -> Ask:
    """Return what a published vector asks for."""
    scheme, host = _origin(vector)
    whole = vector.get("urlStyle", "PATH_STYLE") == "PATH_STYLE"
    name = vector.get("object", "")
    path = object_path(vector["bucket"], name)
    if not whole or not name:
        path = path.removeprefix(f"/{vector['bucket']}") if name else f"/{vector['bucket']}"
    return Ask(
        method=vector["method"],
        scheme=scheme,
        host=host,
        path=path,
        headers=tuple(vector.get("headers", {}).items()),
        query=tuple(vector.get("queryParameters", {}).items()),
        signed_at=datetime.fromisoformat(vector["timestamp"]),
        lifetime=timedelta(seconds=vector["expiration"]),
    )


def _origin(vector: dict[str, Any]) -> tuple[str, str]:
    storage = f"storage.{vector.get('universeDomain', 'googleapis.com')}"
    style = vector.get("urlStyle")
    if style == "VIRTUAL_HOSTED_STYLE":
        storage = f"{vector['bucket']}.{storage}"
    if style == "BUCKET_BOUND_HOSTNAME":
        storage = vector["bucketBoundHostname"]
    for option in ("hostname", "clientEndpoint", "emulatorHostname"):
        if option in vector:
            storage = vector[option]
            break
    scheme, found, host = storage.rpartition("://")
    return scheme if found else vector.get("scheme", "https"), host
