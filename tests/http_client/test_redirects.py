"""Where redirects may lead, of a server whose answers are written down."""

from collections.abc import Iterator
from contextlib import ExitStack, closing

import httpcore2
import pytest

from wheelyard.http_client.client import ClientResponse, Network, Requester
from wheelyard.http_client.hosts import FetchError
from wheelyard.http_client.urls import Url, parse_url
from wheelyard.wiring.stores import system_runtime


@pytest.fixture
def requester(monkeypatch: pytest.MonkeyPatch) -> Iterator[Requester]:
    """A client of servers that redirect `/?<url>` to that URL, and have all other pages."""

    def answer(_: Requester, __: str, url: Url, ___: object) -> ClientResponse:
        location = url.query
        status, headers = (302, {"location": location}) if location else (200, {})
        return ClientResponse(url, status, headers, httpcore2.Response(status), ExitStack())

    monkeypatch.setattr(Requester, "send", answer)
    with closing(Requester(system_runtime(), Network(policies={}))) as client:
        yield client


@pytest.mark.parametrize(
    ("start", "location"),
    [
        ("https", "https://files.acme.dev/a"),
        ("https", "/a"),
        ("http", "https://files.acme.dev/a"),
        ("http", "http://files.acme.dev/a"),
    ],
)
def test_a_redirect_is_followed(requester: Requester, start: str, location: str) -> None:
    """A redirect to another host, and from http to https, is followed."""
    url = parse_url(f"{start}://acme.dev/?{location}")

    reached = requester.follow("GET", url, {}).url

    assert reached == url.resolved(location)


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("http://acme.dev/a", "it leads from https to http"),
        ("https://[", "it leads to what is no URL"),
    ],
)
def test_a_redirect_is_refused(requester: Requester, location: str, why: str) -> None:
    """A redirect from https to http, or to what is no URL, is not followed."""
    with pytest.raises(FetchError, match=why) as refused:
        requester.follow("GET", parse_url(f"https://acme.dev/?{location}"), {})

    assert refused.value.is_refused
