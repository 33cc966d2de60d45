"""A folder that is copied into an image, and one that files are dropped into, installed from."""

import shutil
from pathlib import Path

import pytest

from tests.clients.harness import Desk, program
from tests.clients.projects import Builder
from tests.clients.reading import listed
from tests.clients.servers import running_server
from tests.waiting import until

pytestmark = [pytest.mark.clients, pytest.mark.slow]


def test_dropping_a_file(tmp_path: Path, build: Builder, desk: Desk) -> None:
    """What lay there at the start is installed, and so is what was dropped, some seconds later."""
    first, second = build("hatchling", "yard-first"), build("flit-core", "yard-second")
    packages = tmp_path / "packages"
    packages.mkdir()
    shutil.copy(first.wheel, packages)
    python = desk.python()
    with running_server(tmp_path / "server", "--watch", str(packages)) as server:
        shutil.copy(second.sdist, packages)
        shutil.copy(second.wheel, packages)
        until(lambda: len(listed(server, second.name)) == 2)
        desk.run(
            *(program("pip"), "--python", python, "install", "--no-deps"),
            *("--index-url", server.index_url, first.requirement, second.requirement),
        )
    for built in (first, second):
        built.assert_installed(python)
