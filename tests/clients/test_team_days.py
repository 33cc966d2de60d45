"""Days of two teams: one promotes from `dev` to `prod` by CI, one freezes its builds at a day."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import gmtime, strftime

import pytest

from tests.clients.harness import Sandbox, program, site_packages, wheelyard
from tests.clients.projects import Built
from tests.clients.reading import ErrorResponse, post
from tests.clients.servers import Server, make_token, serving
from tests.http_server import TOKEN
from tests.index_tables import put_tables_at

pytestmark = pytest.mark.clients

SETTINGS = """\
[access]
private = true
"""
TABLES = """\
[[index]]
name = "dev"

[[index]]
name = "prod"
promote_only = true
promote_from = ["dev"]

[[index]]
name = "stable"
layers = ["prod"]
cooldown_days = 7

[[grant]]
index = "prod"
who = ["htpasswd:release"]
projects = ["*"]
actions = ["upload"]
"""


@pytest.fixture
def team(sandbox: Sandbox) -> Iterator[Server]:
    """Yield a server with the indexes of a team."""
    config, store = sandbox.folder / "team.toml", sandbox.folder.parent / "store"
    config.write_text(SETTINGS)
    put_tables_at(store, TABLES, config)
    place = ("--store", str(store), "--config", str(config))
    with serving(sandbox, {}, *place) as address:
        yield Server(address, make_token(sandbox, *place), store, private=True)


def _token(sandbox: Sandbox, server: Server, can: str, index: str) -> str:
    place = ("--store", server.store, "--config", sandbox.folder / "team.toml")
    created = wheelyard(sandbox, "token", "create", "t", "--can", can, "--index", index, *place)
    token = TOKEN.search(created)
    assert token is not None
    return token[0]


def _install(sandbox: Sandbox, server: Server, token: str, index: str, folder: str) -> Path | None:
    """Install acme-tool with uv from an index, and return where, or None if it is not there."""
    python = sandbox.python(folder)
    url = f"http://__token__:{token}@{server.address}/{index}/simple/"
    command = (program("uv"), "pip", "install", "--no-deps", "--python", python)
    done = sandbox.attempt(*command, "--index-url", url, "acme-tool")
    return site_packages(python) if done.returncode == 0 else None


def test_ci_promotes_what_was_published(team: Server, sandbox: Sandbox, tool: Built) -> None:
    """CI publishes to dev by twine and promotes to prod, and no other way leads into prod."""
    publishing = _token(sandbox, team, "read,upload", "dev")
    releasing = _token(sandbox, team, "read,upload", "dev,prod")
    reading = _token(sandbox, team, "read", "prod,stable")
    login = {"TWINE_USERNAME": "__token__", "TWINE_NON_INTERACTIVE": "1"}
    twine = (program("twine"), "upload", "--repository-url")

    direct = sandbox.attempt(
        *twine, f"{team.url}/prod/legacy/", tool.wheel, **login, TWINE_PASSWORD=releasing
    )
    assert direct.returncode == 1
    assert "403" in direct.stdout + direct.stderr
    for token in (publishing, team.token):
        with pytest.raises(ErrorResponse, match="403"):
            post(replace(team, address=f"{team.address}/prod", token=token), tool.wheel)
    sandbox.run(*twine, f"{team.url}/dev/legacy/", tool.wheel, **login, TWINE_PASSWORD=publishing)
    before = _install(sandbox, team, reading, "prod", "before")
    promote = ("promote", tool.name, tool.version, "--from", "dev", "--to", "prod")
    for _ in range(2):  # the second time changes nothing
        wheelyard(sandbox, *promote, "--server", team.url, WHEELYARD_TOKEN=releasing)
    journal = ("journal", tool.name, "--json", "--store", team.store, "--index")
    config = ("--config", sandbox.folder / "team.toml")

    assert before is None
    assert _install(sandbox, team, reading, "prod", "after") is not None
    assert _install(sandbox, team, reading, "stable", "stable") is None  # it is younger than a week
    for index in ("dev", "prod"):
        entries = wheelyard(sandbox, *journal, index, *config)
        assert json.dumps(entries).count("promoted") >= 1


def test_a_build_is_frozen_at_a_day(team: Server, sandbox: Sandbox, tool: Built) -> None:
    """A build that is frozen at a day lacks what was published later."""
    publishing = _token(sandbox, team, "read,upload", "dev")
    upload = ("upload", tool.wheel, "--index", "dev", "--server", team.url)

    wheelyard(sandbox, *upload, WHEELYARD_TOKEN=publishing)
    today = strftime("dev/as-of-%Y-%m-%d", gmtime())

    assert _install(sandbox, team, publishing, "dev/as-of-2026-01-01", "old") is None
    assert _install(sandbox, team, publishing, today, "new") is not None
