"""From an upload URL to the steps of trusted publishing (PEP 807), and to a text about the URL."""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from msgspec.structs import replace

from tests.http.in_process import InProcessServer, in_process
from tests.http.jobs import AUDIENCE, BURN, DISCOVERY, MINT
from tests.index_tables import toml_of
from tests.operations.in_memory_index import OPEN_MAIN
from wheelyard.settings.sections import PublishingSettings, ServerSettings, Settings

PYTP = "application/vnd.pypi.pytp.v1+json"
SERVER = ServerSettings(public_url="https://packages.example.com")
PUBLISHER = {
    "id": "ci",
    "provider": "buildkite",
    "organization": "acme",
    "pipeline": "x",
    "build_branch": "main",
    "projects": ["demo"],
}
INDEXES = (
    {"name": "dev"},
    {"name": "view", "layers": ["dev"]},
    {"name": "prod", "promote_only": True, "promote_from": ["dev"]},
)
REFUSED = {
    "/view": "no_own_packages",
    "/prod": "promotions_only",
    "/as-of-2025-12-30": "read_only",
    "/dev/as-of-2025-12-30": "read_only",
}
"""Indexes that take no uploads, whatever the settings are, and why."""
PATHS = ("", "/dev", *REFUSED)


def settings_of(server: ServerSettings = SERVER) -> Settings:
    """Return the settings of a server whose CI jobs may publish."""
    publishing = PublishingSettings(audience=(AUDIENCE,))
    return Settings(server=server, trusted_publishing=publishing)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[InProcessServer]:
    """A server to which the jobs of a CI may publish `demo`."""
    tables = toml_of(publisher=[PUBLISHER])
    with in_process(tmp_path, settings_of(), tables=tables) as opened:
        yield opened


@pytest.mark.parametrize("path", [MINT, BURN])
def test_a_body_without_a_token_is_refused(server: InProcessServer, path: str) -> None:
    """A job that sends no JSON object with a token is told at either step what to send."""
    answer = server.send(path, b"[]")

    assert answer.status == 422
    assert answer.json()["detail"] == 'Send a JSON object: {"token": "..."}.'


@pytest.mark.parametrize("path", ["/legacy/", "/legacy", "/", "/simple/", "/pypi"])
@pytest.mark.parametrize("accept", [None, "*/*", PYTP, f"text/html, {PYTP};q=0.9"])
def test_client_finds_the_steps_from_an_upload_url(
    server: InProcessServer, path: str, accept: str | None
) -> None:
    """A client that knows an upload URL finds the steps from there (PEP 807)."""
    headers = () if accept is None else (("Accept", accept),)
    answer = server.get(f"{DISCOVERY}?discover={quote(path, '')}", *headers, host="evil.test")

    assert json.loads(answer.body) == {
        "audience-endpoint": "https://packages.example.com/_/oidc/audience",
        "token-mint-endpoint": "https://packages.example.com/_/oidc/mint-token",
        "features": ["multi-use-token"],
        "default-features": ["multi-use-token"],
    }


@pytest.mark.parametrize(
    "query",
    [
        *("", "discover", "discover=", "discover=%2Fsimple%2Fdemo%2F", "discover=%2Fhealth"),
        *("discover=%2Flegacy%2F&discover=%2F", "discover=%2F..%2F", "discover=%25zz", "x=%2F"),
        *("discover=%2F%252e%252e%2F", "discover=%2Fa%2Fb%2F", "discover=legacy", "&" * 2000),
        "discover=%2F%ff",
    ],
)
def test_path_without_uploads_leads_nowhere(server: InProcessServer, query: str) -> None:
    """What is not the path of an upload URL leads nowhere."""
    answer = server.get(f"{DISCOVERY}?{query}")

    assert answer.status == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("main", "is_read_only", "codes"),
    [
        (OPEN_MAIN, False, {"": None, "/dev": None}),
        ({}, False, {"": "index_not_named", "/dev": None}),
        (OPEN_MAIN, True, dict.fromkeys(PATHS, "read_only")),
    ],
    ids=["open", "unused", "read-only"],
)
def test_an_index_without_uploads_is_not_discovered(
    tmp_path: Path, main: dict[str, bool], codes: dict[str, str | None], *, is_read_only: bool
) -> None:
    """No view, index of promotions, unused main or read-only server has an upload URL."""
    tables = toml_of(main=main, index=INDEXES, publisher=[PUBLISHER])
    settings = settings_of(replace(SERVER, read_only=is_read_only))
    with in_process(tmp_path, settings, tables=tables) as server:
        found = {
            path: server.get(f"{DISCOVERY}?discover={quote(path, '')}%2Flegacy%2F").status
            for path in PATHS
        }
        shown = {path: server.get(f"{path}/legacy/") for path in PATHS}

    told = {
        path: None if answer.status == 200 else json.loads(answer.body)["error"]
        for path, answer in shown.items()
    }
    assert told == {**REFUSED, **codes}
    assert found == {path: 200 if code is None else 404 for path, code in told.items()}


def test_discovery_is_json_alone(server: InProcessServer) -> None:
    """Discovery comes as JSON and as nothing else."""
    target = f"{DISCOVERY}?discover=%2Flegacy%2F"

    assert server.get(target, ("Accept", "text/html")).status == 406


@pytest.mark.parametrize(
    ("settings", "publishers"),
    [
        (settings_of(), []),
        (Settings(server=SERVER), [PUBLISHER]),
        (Settings(), []),
    ],
    ids=["no-publisher", "no-audience", "nothing of it"],
)
def test_without_a_publisher_nothing_is_discovered(
    tmp_path: Path, settings: Settings, publishers: list[dict[str, object]]
) -> None:
    """Where no job may publish, clients learn of no steps, and ask for no token."""
    tables = toml_of(main=OPEN_MAIN, publisher=publishers)
    with in_process(tmp_path, settings, tables=tables) as server:
        answers = [server.get(f"{DISCOVERY}?discover=%2Flegacy%2F"), server.get("/_/oidc/audience")]

    assert [answer.status for answer in answers] == [404, 404]
    assert answers[0].header("content-type") == "application/problem+json"
    assert b"oidc" not in answers[0].body
