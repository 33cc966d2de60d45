"""Many processes publish into one store at once: nothing that was accepted is lost."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.utils import NormalizedName

from tests.durability.serving import first_token, get, post, server, wheelyard
from tests.forking import FORKS
from tests.operations.making import Made, make_wheel
from tests.operations.world import ALICE
from wheelyard.index import open_index
from wheelyard.settings.sections import Settings, StoreSettings

PROCESSES = 8
UPLOADS = 25


def distributions(process: int, project: str) -> list[Made]:
    """Return what one process publishes."""
    return [make_wheel(project, f"{process}.{number}") for number in range(UPLOADS)]


def project_of(process: int, together: bool) -> str:  # noqa: FBT001
    """Return the project that a process publishes to."""
    return "demo" if together else f"demo{process % 4}"


def publish(store: str, process: int, together: bool) -> None:  # noqa: FBT001
    """Publish straight into a store, as `wheelyard upload` does."""
    folder = Path(store).parent / f"dist-{process}"
    folder.mkdir()
    index = open_index(Settings(store=StoreSettings(location=store)))
    for made in distributions(process, project_of(process, together)):
        index.uploads.accept_path(made.write(folder), ALICE, lambda _: None)


def send(port: int, token: str, process: int, together: bool) -> None:  # noqa: FBT001
    """Publish over HTTP."""
    for made in distributions(process, project_of(process, together)):
        status = post(port, token, made)
        assert status == 200, status


def all_at_once(target: Callable[..., None], *arguments: object, together: bool) -> None:
    """Run one function in many processes, and expect each to succeed."""
    started = [
        FORKS.Process(target=target, args=(*arguments, number, together))
        for number in range(PROCESSES)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0] * PROCESSES


def expected(together: bool) -> dict[str, set[str]]:  # noqa: FBT001
    """Return what is listed in the end, by project."""
    listed: dict[str, set[str]] = {}
    for process in range(PROCESSES):
        project = project_of(process, together)
        names = {made.filename for made in distributions(process, project)}
        listed.setdefault(project, set()).update(names)
    return listed


@pytest.mark.slow
@pytest.mark.parametrize("together", [True, False], ids=["one project", "several projects"])
def test_straight_into_the_store(tmp_path: Path, together: bool) -> None:  # noqa: FBT001
    """Eight processes with 25 uploads each lose none, and leave a clean store."""
    store = tmp_path / "store"

    all_at_once(publish, str(store), together=together)

    index = open_index(Settings(store=StoreSettings(location=str(store))))
    listed = {
        project: {file.filename for file in index.projects.get(NormalizedName(project)).files}
        for project in expected(together)
    }
    assert listed == expected(together)
    done = wheelyard("check", "--store", str(store))
    assert (done.returncode, done.stderr) == (0, "")
    assert "note" not in done.stdout
    assert "mended" not in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("together", [True, False], ids=["one project", "several projects"])
def test_through_four_workers(tmp_path: Path, together: bool) -> None:  # noqa: FBT001
    """Eight clients of four worker processes lose no upload, and every worker shows them all."""
    store, log = tmp_path / "store", tmp_path / "log"
    with server(store, log, "--workers", "4") as running:
        all_at_once(send, running.port, first_token(log), together=together)

        for project, filenames in expected(together).items():
            for _ in range(8):
                status, body = get(running.port, f"/simple/{project}/")
                assert status == 200
                assert {file["filename"] for file in json.loads(body)["files"]} == filenames

    done = wheelyard("check", "--store", str(store))
    assert (done.returncode, done.stderr) == (0, "")
