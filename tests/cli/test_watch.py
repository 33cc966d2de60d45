"""`wheelyard serve --watch` and `wheelyard run`: publishing by putting a file somewhere."""

import shutil
import signal
from pathlib import Path

import httpx2
import pytest

from tests.cli.conftest import Serve, Serving, Typed
from tests.clients.harness import Sandbox
from tests.distributions import Distribution, make_sdist, make_wheel
from tests.plain_http import LOCALLY
from tests.waiting import TIMEOUT_SECONDS, until

pytestmark = pytest.mark.integration

WORKERS = [[], ["--workers", "2"]]


@pytest.fixture
def packages(sandbox: Sandbox) -> Path:
    """A folder with a package in it."""
    folder = sandbox.folder / "packages"
    folder.mkdir()
    make_wheel().write(folder)
    return folder


def get(serving: Serving, path: str) -> httpx2.Response:
    """Ask for a path."""
    url = f"http://127.0.0.1:{serving.port}{path}"
    return httpx2.get(url, timeout=TIMEOUT_SECONDS, follow_redirects=True, **LOCALLY)


def wait_for(serving: Serving, *distributions: Distribution) -> None:
    """Wait until each file can be had, byte for byte."""
    for distribution in distributions:
        path = f"/packages/{distribution.filename}"
        until(
            lambda path=path: get(serving, path).status_code == 200,  # type: ignore[misc]  # a default
            serving.log.read_text,
            serving.process,
        )
        assert get(serving, path).content == distribution.body


@pytest.mark.slow
def test_a_file_is_dropped(packages: Path, sandbox: Sandbox, serve: Serve) -> None:
    """Files in a watched folder are published, also when copied, moved or written slowly."""
    serving = serve("--watch", str(packages), "--watch-every", "1", "--workers", "2")
    wait_for(serving, make_wheel())
    copied, moved = make_wheel(version="2.0"), make_wheel(version="3.0")
    slow, deep = make_wheel(version="4.0"), make_sdist()

    with (packages / slow.filename).open("wb", buffering=0) as file:
        shutil.copy2(copied.write(sandbox.folder), packages)

        def is_met_half_written() -> bool:
            file.write(slow.body[file.tell() :][:1])
            return copied.filename in get(serving, "/simple/demo/").text

        until(is_met_half_written, serving.log.read_text, serving.process)
        file.write(slow.body[file.tell() :])
    moved.write(sandbox.folder).rename(packages / moved.filename)
    (packages / "deeper").mkdir()
    deep.write(packages / "deeper")

    wait_for(serving, moved, slow, deep)
    assert "was not imported" not in serving.log.read_text()
    (packages / copied.filename).unlink()
    assert copied.filename in get(serving, "/simple/demo/").text


@pytest.mark.slow
@pytest.mark.parametrize("options", WORKERS)
def test_a_signal_ends_an_import_at_once(
    sandbox: Sandbox, serve: Serve, wheelyard: Typed, options: list[str]
) -> None:
    """A signal ends an import at once; what was accepted is whole, and the next start goes on."""
    packages, waiting = sandbox.folder / "packages", sandbox.folder / "waiting"
    for folder in (packages, waiting):
        folder.mkdir()
    names = [f"project{number}" for number in range(200)]
    for name in names:
        make_wheel(name).write(waiting)
    serving = serve("--watch", str(packages), "--watch-every", "1", *options)
    # not before: on a slow machine all would be imported by the time that the server answers
    waiting.rename(packages / "arrived")
    listed = sandbox.folder / "wheelyard-data" / "projects"
    until(lambda: listed.exists() and any(listed.iterdir()))

    serving.send_signal(signal.SIGTERM)

    assert serving.process.wait(TIMEOUT_SECONDS) == 0
    assert "Traceback" not in serving.log.read_text()
    accepted = list(listed.iterdir())
    assert 0 < len(accepted) < len(names)
    assert not list((sandbox.folder / "wheelyard-data" / ".spool").iterdir())
    done = wheelyard("check")
    assert done.returncode == 0, done.stderr
    again = wheelyard("import", packages)
    assert f"imported {len(names) - len(accepted)} files, {len(accepted)} there" in again.stdout
