"""Lines of htpasswd files that are outdated: sweeps of two servers, and copies, as typed."""

from collections.abc import Mapping
from pathlib import Path

import httpx2
import pytest
from msgspec import json

from tests.authentication.verifiers.test_password_hashes import SHA512
from tests.cli.conftest import Serve, Typed
from tests.clients.harness import Sandbox
from tests.plain_http import LOCALLY
from tests.upgrades.kept_stores import FOLDER, read_kept_store
from tests.waiting import TIMEOUT_SECONDS
from wheelyard.authentication.passwords import with_line
from wheelyard.catalog.removed import CHANGED_PASSWORDS

pytestmark = pytest.mark.integration

OLD_LINES = (FOLDER / "removed.htpasswd").read_text()
"""The file in which the line of Ana is outdated, and those of Bo and Cy are not."""
OUTDATED, UNCHANGED = "before", "bo"
"""The names of a password that Ana had changed, and of the one of Bo."""


@pytest.fixture
def passwords() -> Mapping[str, str]:
    """The passwords of the people of the kept store."""
    kept = json.decode((FOLDER / "removed.json").read_bytes())
    return dict(kept["passwords"])


@pytest.fixture
def store(sandbox: Sandbox) -> Path:
    """The kept store, in which Ana had changed her password."""
    return read_kept_store("removed").in_folder(sandbox.folder / "store")


def configure(folder: Path, name: str, lines: str) -> Path:
    """Write the settings of a server, with an htpasswd file of these lines, and return them."""
    (folder / f"{name}.htpasswd").write_text(lines)
    path = folder / f"{name}.toml"
    path.write_text(
        f'[access]\nprivate = true\nhtpasswd_file = "{name}.htpasswd"\nhtpasswd_may = []\n'
    )
    return path


def status_of(port: int, name: str, password: str) -> int:
    """Return the status of the list of projects for a name and a password."""
    answer = httpx2.get(
        f"http://127.0.0.1:{port}/simple/",
        auth=(name, password),
        timeout=TIMEOUT_SECONDS,
        **LOCALLY,
    )
    return answer.status_code


def test_a_sweep_gives_no_line_back_to_another_server(
    sandbox: Sandbox, store: Path, passwords: Mapping[str, str], wheelyard: Typed, serve: Serve
) -> None:
    """After a sweep by a server without Ana, one that has her old line still refuses it."""
    without = configure(sandbox.folder, "without", OLD_LINES.replace("ana:", "ann:"))
    old = configure(sandbox.folder, "old", OLD_LINES)
    swept = wheelyard("check", "--sweep", "--store", store, "--config", without)
    assert (swept.returncode, swept.stderr) == (0, "")
    assert f"note: {CHANGED_PASSWORDS} keeps the outdated lines of people who are" in swept.stdout
    again = wheelyard("check", "--sweep", "--store", store, "--config", old)
    assert CHANGED_PASSWORDS not in again.stdout

    serving = serve("--store", str(store), "--config", str(old))

    assert status_of(serving.port, "ana", passwords[OUTDATED]) == 401
    assert status_of(serving.port, "bo", passwords[UNCHANGED]) == 200
    replaced = configure(sandbox.folder, "new", with_line(OLD_LINES, "ana", SHA512))
    last = wheelyard("check", "--sweep", "--store", store, "--config", replaced)
    assert "\nswept 1 leftover\n" in f"\n{last.stdout}"
    assert not (store / CHANGED_PASSWORDS).exists()


def test_an_old_line_does_not_work_at_a_copy(
    sandbox: Sandbox, store: Path, passwords: Mapping[str, str], wheelyard: Typed, serve: Serve
) -> None:
    """An outdated line opens nothing at a copy without credentials."""
    old, copy = configure(sandbox.folder, "old", OLD_LINES), sandbox.folder / "copy"
    done = wheelyard("copy", store, copy)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(", outdated lines of htpasswd files\n")
    again = wheelyard("copy", store, copy)
    assert again.stdout.endswith(" 0 objects written, 0 bytes\n")

    serving = serve("--store", str(copy), "--config", str(old))

    assert status_of(serving.port, "ana", passwords[OUTDATED]) == 401
    assert status_of(serving.port, "bo", passwords[UNCHANGED]) == 200
    assert [path.name for path in copy.glob("credentials/*.json")] == ["passwords.json"]
