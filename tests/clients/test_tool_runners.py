"""`uvx wheelyard serve` and `pipx run wheelyard serve`, from an index that has the built wheel."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from uv import find_uv_bin

from tests.clients.harness import REPOSITORY, Sandbox, new_sandbox, program, wheelyard
from tests.clients.servers import Server, running_server
from tests.http_server import TOKEN, launch_server
from tests.once import made_once
from tests.waiting import TIMEOUT_SECONDS

LOCK = REPOSITORY / "requirements" / "run.txt"

pytestmark = [pytest.mark.clients, pytest.mark.integration]


def download(folder: Path) -> None:
    """Download everything that the lock names; skip the test where that is impossible."""
    command = (sys.executable, "-Im", "pip", "download", "--quiet", "--no-deps", "--require-hashes")
    done = subprocess.run(
        [*command, "--requirement", LOCK, "--dest", folder],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"the packages of {LOCK.name} cannot be downloaded here: {done.stderr[-300:]}")


@pytest.fixture(scope="module")
def stocked_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An index of ours that has wheelyard, as it is in this clone, and all that it needs."""
    folder = tmp_path_factory.mktemp("tools")
    build = (sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder / "dist")
    subprocess.run(build, check=True, capture_output=True, cwd=REPOSITORY)
    dependencies = made_once("dependencies", [LOCK], download)
    with running_server(folder / "server") as server:
        for packages in (folder / "dist", dependencies):
            wheelyard(
                new_sandbox(folder / packages.name), "import", packages, "--store", server.store
            )
        yield server


@pytest.mark.parametrize("runner", ["uvx", pytest.param("pipx", marks=pytest.mark.weekly)])
def test_an_index_without_installing_it(
    runner: str, stocked_server: Server, sandbox: Sandbox
) -> None:
    """One line makes an index in the working folder, and prints its first token; Ctrl-C ends it."""
    uvx = program("uv", "uvx")
    commands = {"uvx": (uvx, "wheelyard"), "pipx": (program("pipx"), "run", "wheelyard")}
    environment = sandbox.environment()
    environment |= {"UV_DEFAULT_INDEX": stocked_server.index_url, "UV_PYTHON": sys.executable}
    # pipx installs with uv where it is on the path, else with pip
    environment["PATH"] = f"{Path(find_uv_bin()).parent}:{environment['PATH']}"
    log = sandbox.folder / "log.txt"
    server = launch_server(
        folder=sandbox.folder,
        environment=environment,
        log=log,
        program=[*map(str, commands[runner])],
    )
    try:
        server.wait_until_healthy()
        connection = HTTPConnection("127.0.0.1", server.port)
        for path in ("/simple/", "/"):  # the second is made from templates, which the wheel has
            connection.request("GET", path, headers={"Accept": "text/html"})
            answer = connection.getresponse()
            assert (answer.status, b"wheelyard" in answer.read()) == (200, path == "/")
        connection.close()
        server.send_signal(signal.SIGINT)
        assert server.process.wait(TIMEOUT_SECONDS) == 0
    finally:
        server.kill()

    assert TOKEN.search(log.read_text())
    assert (sandbox.folder / "wheelyard-data" / "wheelyard.json").is_file()
