"""What the client of the API does with answers of a gateway, without a connection."""

from contextlib import ExitStack

import pytest
from httpcore2 import Response

from tests.fake_time import Clock, fake_runtime
from tests.refused import refused
from wheelyard.api_client import ApiConnection
from wheelyard.errors import Unavailable
from wheelyard.http_client.client import ClientResponse, Requester
from wheelyard.http_client.urls import Url, parse_url

SERVER = parse_url("https://packages.acme.dev/")


@pytest.mark.parametrize(("code", "attempts"), [("overloaded", 3), ("upstream_unavailable", 1)])
def test_a_busy_server_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, code: str, attempts: int
) -> None:
    """A busy server is asked again, and none whose upstream index is down; its error is shown."""
    body = f'{{"message":"Later.","code":"503 x","title":"x","error":"{code}"}}'.encode()
    asked = list[str]()

    def answer(_: Requester, method: str, url: Url, *_rest: object) -> ClientResponse:
        asked.append(method)
        return ClientResponse(url, 503, {}, Response(503, content=body), ExitStack())

    monkeypatch.setattr(Requester, "send", answer)
    connection = ApiConnection(SERVER, None, fake_runtime(Clock(), 1))

    with refused(Unavailable, code, match="Later"):
        connection.send("GET", "whoami", str)

    assert len(asked) == attempts
