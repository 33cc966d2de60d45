"""Many processes publish into one store at once: nothing that was accepted is lost."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.utils import NormalizedName

from tests.distributions import Distribution, make_wheel
from tests.durability.serving import first_token, get, post, server, wheelyard
from tests.forking import FORKS
from tests.operations.in_memory_index import ALICE
from wheelyard.settings.sections import Settings, StoreSettings
from wheelyard.wiring.build import open_index

PROCESSES = 8
PROJECTS = 3
"""Each of them is published to by two or three processes."""
UPLOADS = 25


def distributions(process: int) -> list[Distribution]:
    """Return what one process publishes."""
    project = f"demo{process % PROJECTS}"
    return [make_wheel(project, f"{process}.{number}") for number in range(UPLOADS)]


def expected(project: int) -> set[str]:
    """Return what is listed of a project in the end."""
    processes = range(project, PROCESSES, PROJECTS)
    return {
        distribution.filename for process in processes for distribution in distributions(process)
    }


def publish(store: str, process: int) -> None:
    """Publish straight into a store, as `wheelyard upload` does."""
    folder = Path(store).parent / f"dist-{process}"
    folder.mkdir()
    index = open_index(Settings(store=StoreSettings(location=store)))
    for distribution in distributions(process):
        index.uploads.accept_path(distribution.write(folder), ALICE, lambda _: None)


def send(port: int, token: str, process: int) -> None:
    """Publish over HTTP."""
    for distribution in distributions(process):
        assert post(port, token, distribution) == 200


def all_at_once(target: Callable[..., None], *arguments: object) -> None:
    """Run one function in many processes, and expect each to succeed."""
    started = [
        FORKS.Process(target=target, args=(*arguments, number)) for number in range(PROCESSES)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0] * PROCESSES


@pytest.mark.slow
def test_straight_into_the_store(tmp_path: Path) -> None:
    """Eight processes with 25 uploads each lose none, and leave a clean store."""
    store = tmp_path / "store"

    all_at_once(publish, str(store))

    index = open_index(Settings(store=StoreSettings(location=str(store))))
    for number in range(PROJECTS):
        files = index.projects.get(NormalizedName(f"demo{number}")).files
        assert {file.filename for file in files} == expected(number)
    done = wheelyard("check", "--store", str(store))
    assert (done.returncode, done.stderr) == (0, "")
    assert "note" not in done.stdout
    assert "mended" not in done.stdout


@pytest.mark.slow
def test_through_four_workers(tmp_path: Path) -> None:
    """Eight clients of four worker processes lose no upload, and every worker shows them all."""
    store, log = tmp_path / "store", tmp_path / "log"
    with server(store, log, "--workers", "4") as running:
        all_at_once(send, running.port, first_token(log))

        for number in range(PROJECTS):
            for _ in range(8):
                status, body = get(running.port, f"/simple/demo{number}/")
                assert status == 200
                assert {file["filename"] for file in json.loads(body)["files"]} == expected(number)

    done = wheelyard("check", "--store", str(store))
    assert (done.returncode, done.stderr) == (0, "")
