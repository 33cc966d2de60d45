"""A freeze at a day, and a view of what is stable, as pip and uv see them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from tests.clients.harness import Sandbox, program
from tests.distributions import make_wheel
from tests.durability.serving import server
from tests.index_tables import put_tables
from tests.operations.in_memory_index import IndexHarness
from wheelyard.storage.local import LocalStore

pytestmark = pytest.mark.clients

VIEW = """
[[index]]
name = "stable"
layers = [""]
prereleases = false
cooldown_days = 7
read = "anyone"
"""
PATHS = {
    "simple": "3.0",
    "stable/simple": "3.0",
    "as-of-2026-01-01/simple": "1.0",
    "as-of-2026-01-11/simple": "2.0",
    "stable/as-of-2026-01-11/simple": "1.0",
    "stable/as-of-2026-01-18/simple": "2.0",
}
"""The version that a client installs from each of the indexes."""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an index to which three releases were published in January 2026."""
    folder = tmp_path_factory.mktemp("views")
    harness = IndexHarness(folder, other=LocalStore(folder / "store", Random(1)))
    for version in ("1.0", "2.0", "3.0"):
        harness.upload(make_wheel("yard_viewed", version))
        harness.clock.advance(days=10)
    put_tables(harness.index, VIEW)
    with server(folder / "store", folder / "log") as running:
        yield f"http://127.0.0.1:{running.port}"


def by_pip(sandbox: Sandbox, index: str) -> str:
    """Return the name of the wheel that pip downloads."""
    target = sandbox.folder / "pip"
    command = ("download", "--quiet", "--no-cache-dir", "--dest", target, "--index-url", index)
    sandbox.run(program("pip"), *command, "yard-viewed")
    return ",".join(path.name for path in target.iterdir())


def by_uv(sandbox: Sandbox, index: str) -> str:
    """Return the requirement that uv locks."""
    wanted = sandbox.folder / "wanted.in"
    wanted.write_text("yard-viewed\n")
    command = ("pip", "compile", "--no-header", "--no-cache", "--default-index", index)
    return sandbox.run(program("uv"), *command, wanted)


@pytest.mark.parametrize(
    ("client", "paths"),
    [
        (by_uv, [*PATHS]),
        (by_pip, ["stable/as-of-2026-01-11/simple"]),
        pytest.param(by_pip, [*PATHS], marks=pytest.mark.weekly),
    ],
)
def test_clients_get_what_the_view_shows(
    sandbox: Sandbox, url: str, client: Callable[[Sandbox, str], str], paths: list[str]
) -> None:
    """Both pip and uv get the newest release that a view shows, also one of a day."""
    for number, path in enumerate(paths):
        folder: Path = sandbox.folder / str(number)
        folder.mkdir()
        assert PATHS[path] in client(sandbox.at(folder), f"{url}/{path}/")
