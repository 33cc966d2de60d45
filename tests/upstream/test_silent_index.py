"""Decisions and requests while no upstream index can be asked."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NoReturn

import pytest

from tests.http.in_process import InProcessResponse, InProcessServer, in_process
from tests.upstream.settings import close
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.errors import Unavailable
from wheelyard.http.upstream_reader import UpstreamReader
from wheelyard.model.access import Action
from wheelyard.settings.sections import Settings
from wheelyard.settings.upstream_section import UpstreamSettings

OFFLINE: Final = UpstreamSettings(enabled=True, url="https://index.example/simple/", offline=True)
WITH_DIGEST: Final = {"project": "numpy", "version": "1.0", "sha256": ["ab" * 32]}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[InProcessServer]:
    """A server that is offline, and has no page of any public package."""
    with in_process(tmp_path, Settings(upstream=OFFLINE)) as running:
        yield running
        close(running.index)


def post(server: InProcessServer, path: str, **body: object) -> InProcessResponse:
    """Send a body to an operation on public packages, with a token that may approve all."""
    wanted = TokenRequest(name="of-bo", actions=Action.READ | Action.APPROVE)
    token = server.index.tokens.create(wanted, by="local:ana")[0].text
    headers = (("content-type", "application/json"), ("authorization", f"Bearer {token}"))
    target, sent = f"/api/v1/upstream/{path}", json.dumps(body).encode()
    return server.get(target, *headers, method="POST", body=(sent,))


def test_a_request_is_not_told_that_a_package_is_unknown(server: InProcessServer) -> None:
    """Who asks for a package while the index cannot say whether it has it may try again later."""
    answer = post(server, "request", project="numpy", reason="need it")

    assert (answer.status, json.loads(answer.body)["error"]) == (503, "upstream_unavailable")
    assert server.index.server.package_requests.get().requests == ()


@pytest.mark.parametrize(
    ("verdict", "packages", "status"),
    [
        ("blocked", [{"project": "numpy"}], 200),
        ("approved", [WITH_DIGEST], 200),
        ("approved", [WITH_DIGEST, {"project": "flask"}], 503),
    ],
)
def test_who_blocks_waits_for_no_index(
    server: InProcessServer,
    monkeypatch: pytest.MonkeyPatch,
    verdict: str,
    packages: list[dict[str, object]],
    status: int,
) -> None:
    """While too many requests wait for an index, decisions that need no index are made."""

    async def refuse(*_: object) -> NoReturn:
        raise Unavailable("Too many requests wait.", code="overloaded")

    monkeypatch.setattr(UpstreamReader, "answer", refuse)

    assert post(server, "decide", verdict=verdict, packages=packages).status == status
