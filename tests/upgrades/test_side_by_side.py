"""
Another version and this one on one store, as during an upgrade of several servers.

The other ones are all released versions of which a store is kept; each is installed from the
package index. `WHEELYARD_OTHER` can name a program instead: `wheelyard` of any build.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPConnection
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any

import pytest
from msgspec import json

from tests.distributions import make_wheel
from tests.durability.serving import post
from tests.http_server import TOKEN, WHEELYARD, ServerProcess, launch_server
from tests.once import made_once
from tests.upgrades.kept_stores import kept_versions
from tests.waiting import TIMEOUT_SECONDS
from wheelyard.catalog import keys
from wheelyard.downloads.folding import SETTLED_SECONDS, fold
from wheelyard.storage.local import LocalStore
from wheelyard.wiring.stores import system_runtime

pytestmark = [pytest.mark.downloads, pytest.mark.slow]

Program = tuple[str, ...]
ROUNDS = 20
PROGRAM = os.environ.get("WHEELYARD_OTHER", "")  # noqa: TID251 - for whoever runs this by hand
OTHERS = (
    [PROGRAM] if PROGRAM else [each for each in kept_versions() if each != version("wheelyard")]
)


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a process of either version."""
    return {"PATH": os.defpath, "HOME": str(folder), "TMPDIR": str(folder)}


@pytest.fixture(params=OTHERS or ["none is released yet, so this one"])
def other_version(request: pytest.FixtureRequest) -> Program:
    """The program of another version."""
    if request.param == PROGRAM:
        return (PROGRAM,)
    if request.param not in OTHERS:
        return WHEELYARD

    def install(folder: Path) -> None:
        for command in (
            (sys.executable, "-m", "venv", folder / "venv"),
            (folder / "venv/bin/pip", "install", "--quiet", f"wheelyard=={request.param}"),
        ):
            subprocess.run(command, check=True)

    folder = made_once(f"wheelyard-{request.param}", [request.param], install)
    return (str(folder / "venv/bin/wheelyard"),)


def run(program: Program, folder: Path, *arguments: str, **variables: str) -> str:
    """Run a command of one version; return what it prints."""
    done = subprocess.run(
        [*program, *arguments],
        cwd=folder,
        env=environment(folder) | variables,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, (arguments, done.stdout, done.stderr)
    return done.stdout


@pytest.fixture
def servers(other_version: Program, tmp_path: Path) -> Iterator[list[ServerProcess]]:
    """A server of the other version, which has made the store, and one of this version."""
    with ExitStack() as ending:
        started = list[ServerProcess]()
        for number, program in enumerate((other_version, WHEELYARD)):
            server = launch_server(
                *("--store", "store"),
                folder=tmp_path,
                environment=environment(tmp_path),
                log=tmp_path / f"{number}.log",
                program=program,
            )
            ending.callback(server.kill)
            server.wait_until_healthy()
            started.append(server)
        yield started


def call_api(server: ServerProcess, token: str, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401
    """Return what the API answers with 200 or 201."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT_SECONDS)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    connection.request(method, f"/api/v1/{path}", json.encode(body) if body else b"", headers)
    response = connection.getresponse()
    answer = response.read()
    connection.close()
    assert response.status in {200, 201, 204}, (path, response.status, answer)
    return json.decode(answer) if answer else None


def change_everything(server: ServerProcess, token: str, side: int) -> None:
    """Publish, yank, delete, make tokens and change grants, at the same time as other threads."""
    for turn in range(ROUNDS):
        name, number = f"by-{side}", f"{turn}.{side}"
        for project in ("shared", name):
            made = make_wheel(project.replace("-", "_"), number)
            assert post(server.port, token, made) == 200
        reason = {"version": number, "reason": f"by {side}"}
        if turn % 2:
            call_api(server, token, "POST", "projects/shared/yank", reason)
            call_api(server, token, "POST", f"projects/{name}/delete", {"version": number})
        new = {"name": f"{side} {turn}", "projects": ["*"], "can": ["read"]}
        call_api(server, token, "POST", "tokens", new)
        member = {"change": "add", "name": "team", "who": [f"user:a{side}-{turn}@acme.dev"]}
        call_api(server, token, "POST", "access/group", member)


def test_two_versions_change_one_store(
    other_version: Program, servers: list[ServerProcess], tmp_path: Path
) -> None:
    """Nothing that either version writes is lost, also what is deleted, and each sees all of it."""
    made = run(WHEELYARD, tmp_path, "token", "create", "boss", "--can", "admin", "--store", "store")
    match = TOKEN.search(made)
    assert match is not None
    token = match[0]
    group = {"change": "set", "name": "team", "who": ["user:first@acme.dev"]}
    call_api(servers[0], token, "POST", "access/group", group)

    with ThreadPoolExecutor(4) as pool:
        sides = [(servers[side % 2], side) for side in range(4)]
        work = [pool.submit(change_everything, server, token, side) for server, side in sides]
    for each in work:
        each.result()

    for server in servers:
        files = call_api(server, token, "GET", "projects/shared")["files"]
        assert len(files) == ROUNDS * 4
        assert sum(bool(file.get("yanked")) for file in files) == ROUNDS * 2
        for side in range(4):
            assert (
                len(call_api(server, token, "GET", f"projects/by-{side}")["files"]) == ROUNDS // 2
            )
        names = {made["name"] for made in call_api(server, token, "GET", "tokens")["tokens"]}
        assert {f"{side} {turn}" for side in range(4) for turn in range(ROUNDS)} <= names
        (team,) = call_api(server, token, "GET", "access")["groups"]
        assert len(team["members"]) == ROUNDS * 4 + 1
    older, newer = servers
    call_api(newer, token, "POST", "projects/shared/delete", {"version": "0.0"})
    assert len(call_api(older, token, "GET", "projects/shared")["files"]) == ROUNDS * 4 - 1
    call_api(older, token, "POST", "projects/shared/status", {"status": "deprecated"})
    run(other_version, tmp_path, "check", "--sweep", "--store", "store")
    call_api(newer, token, "POST", "projects/shared/restore", {"version": "0.0"})
    assert len(call_api(older, token, "GET", "projects/shared")["files"]) == ROUNDS * 4
    for program in (other_version, WHEELYARD):
        assert "clean" in run(program, tmp_path, "check", "--store", "store")
        for server in servers:  # a client of each version of a server of each
            url = f"http://127.0.0.1:{server.port}/simple/"
            listed = run(program, tmp_path, "list", "--server", url, WHEELYARD_TOKEN=token)
            assert "shared" in listed


def download(server: ServerProcess, file: str) -> None:
    """Download a file, as a client does."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT_SECONDS)
    connection.request("GET", file, headers={"User-Agent": "pip/26.3"})
    response = connection.getresponse()
    assert (response.status, bool(response.read())) == (200, True)
    connection.close()


def test_two_versions_count_downloads(
    other_version: Program, servers: list[ServerProcess], tmp_path: Path
) -> None:
    """Either version shows what both have counted, before it is added up and afterwards."""
    made = make_wheel("shared")
    (tmp_path / made.filename).write_bytes(made.body)
    run(other_version, tmp_path, "upload", made.filename, "--store", "store")
    for server in servers:
        for _ in range(3):
            download(server, f"/packages/{made.filename}")
        server.end()
    store = LocalStore(tmp_path / "store", Random(1))
    assert len([*store.list(keys.NEW_DOWNLOADS)]) == 2

    for is_added_up in (False, True):
        if is_added_up:
            fold(store, system_runtime().seconds() + SETTLED_SECONDS + 1)
            assert not [*store.list(keys.NEW_DOWNLOADS)]
        for program in (other_version, WHEELYARD):
            shown = run(program, tmp_path, "downloads", "shared", "--json", "--store", "store")
            (version,) = json.decode(shown)["by_version"]
            assert (version["version"], version["downloads"]) == ("1.0", 6)
            assert "clean" in run(program, tmp_path, "check", "--store", "store")
