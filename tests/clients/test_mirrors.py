"""Mirrors of an index, as the pages of `docs/mirrors/` set them up."""

import re
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import httpx2
import pytest

from tests.clients.harness import REPOSITORY, Sandbox, new_sandbox, program, wheelyard
from tests.clients.installing import pip_command
from tests.clients.projects import Builder
from tests.clients.reading import fetch, publish
from tests.clients.servers import Server, running_server
from tests.http_server import serving
from tests.migration.systems import new_devpi
from tests.plain_http import LOCALLY

pytestmark = [pytest.mark.clients, pytest.mark.weekly]

PAGES = REPOSITORY / "docs" / "mirrors"
DELETES = 8
"""The version of bandersnatch from which on it removes projects that are gone."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A private index of its own, as a mirror takes all projects; its JSON has version 1.5."""
    with running_server(tmp_path / "server", "--private") as server:
        owner = ("--owner", "user:ana@acme.dev", "--store", server.store)
        wheelyard(new_sandbox(tmp_path / "admin"), "namespace", "grant", "tools", *owner)
        yield server


def change(server: Server, path: str, **body: object) -> None:
    """Change a project through the API of a server."""
    headers = {"Authorization": f"Bearer {server.token}"}
    url = f"{server.url}/api/v1/projects/{path}"
    httpx2.post(url, json=body, headers=headers, **LOCALLY).raise_for_status()


def reader_of(server: Server, sandbox: Sandbox) -> str:
    """Return the URL of a server with a token that may only read, as the pages have it."""
    place = ("--store", server.store)
    token = wheelyard(sandbox, "token", "create", "mirror", "--can", "read", *place).split()[0]
    return f"http://__token__:{token}@{server.address}"


def test_bandersnatch_follows_an_index(server: Server, sandbox: Sandbox, build: Builder) -> None:
    """Bandersnatch takes all projects, then what has changed, and pip installs from its folder."""
    base, tool = build("flit-core", "yard-base", "1!2.0"), build("setuptools", "acme-core")
    newer = build("hatchling", "acme-tool", "1.5+cpu.1", "yard-base>=2")
    publish(server, base, tool)
    mirror, bandersnatch = sandbox.folder / "mirror", program("bandersnatch")
    page = (PAGES / "bandersnatch.md").read_text()
    (settings,) = re.findall(r"```ini\n(.*?)```", page, re.DOTALL)
    stand_ins = {
        "https://__token__:TOKEN@pypi.acme.dev": reader_of(server, sandbox),
        "/srv/pypi": str(mirror),
    }
    for text, stand_in in stand_ins.items():
        settings = settings.replace(text, stand_in)
    (sandbox.folder / "mirror.conf").write_text(f"{settings}\nallow-non-https = true\n")
    run = partial(sandbox.run, bandersnatch, "-c", "mirror.conf", "mirror")

    def shown(name: str) -> str:
        page = mirror / "web" / "simple" / name / "index.html"
        return page.read_text() if page.exists() else ""

    assert "ERROR" not in run()
    assert base.wheel.name in shown("yard-base").replace("%21", "!")
    assert tool.sdist.name in shown("acme-core")
    assert "0 packages to sync" in run()

    publish(server, newer)
    change(server, "yard-base/yank", version="1!2.0", reason="too old")
    change(server, "acme-core/delete", version="1.0", file=tool.sdist.name)
    again = run()
    assert ("ERROR" in again, "3 packages to sync" in again) == (False, True)
    assert 'data-yanked="too old"' in shown("yard-base")
    assert tool.wheel.name in shown("acme-core")
    assert tool.sdist.name not in shown("acme-core")

    folder = partial(SimpleHTTPRequestHandler, directory=str(mirror / "web"))
    with serving(type("Folder", (SimpleHTTPRequestHandler,), {"__init__": folder})) as url:
        python = sandbox.python()
        wanted = (newer.requirement, base.requirement)
        sandbox.run(*pip_command(python), "--index-url", f"{url}/simple/", *wanted)
        newer.assert_installed(python)

    change(server, "acme-core/delete", version="1.0")
    run()
    version = sandbox.run(bandersnatch, "--version").split()[-1]
    assert (shown("acme-core") == "") == (int(version.split(".")[0]) >= DELETES)


def test_devpi_mirrors_an_index(server: Server, sandbox: Sandbox, build: Builder) -> None:
    """A mirror index of devpi shows what this index has, and pip installs through it."""
    tool = build("setuptools", "acme-core")
    publish(server, tool)
    page = (PAGES / "devpi.md").read_text()
    (options,) = re.findall(r"devpi index -c root/acme (type=mirror .*)", page)
    options = options.replace("https://__token__:TOKEN@pypi.acme.dev", reader_of(server, sandbox))
    devpi = new_devpi(sandbox, is_offline=False)
    with devpi.serving():
        index = f"{devpi.url}/root/acme/+simple/"
        settings = dict(option.split("=", 1) for option in options.split())
        devpi.call("PUT", "/root/acme", settings, devpi.login("root"))
        python = sandbox.python()
        sandbox.run(*pip_command(python), "--index-url", index, "acme-core")
        tool.assert_installed(python)

        change(server, "acme-core/yank", version="1.0", reason="too old")
        change(server, "acme-core/delete", version="1.0", file=tool.sdist.name)
        devpi.call("POST", "/root/acme/+simple/acme-core/refresh", {})
        shown = fetch(f"{index}acme-core/").decode()
        assert ('data-yanked="too old"' in shown, tool.sdist.name in shown) == (True, False)
