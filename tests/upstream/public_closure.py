"""
Sixty real packages of the public index, which the tests install through an upstream index.

Their wheels are downloaded once, for this Python, by the lock file of the group
`client-public-packages` of `pyproject.toml`. Where that cannot be done (without a network, for
example), the tests that need them are skipped.
"""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.utils import NormalizedName, parse_wheel_filename

from tests.clients.harness import REPOSITORY, client_lock, program
from tests.once import made_once

GROUP = "client-public-packages"


def roots() -> list[str]:
    """Return the requirements that need all the other packages."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    found: list[str] = project["dependency-groups"][GROUP]
    return found


def recorded_wheels() -> Path:
    """Return a folder with the wheels, which are downloaded if they never were."""
    lock = client_lock(GROUP.removeprefix("client-"))
    return made_once("public-packages", [lock, sys.version], _download) / "wheels"


def names_of(wheels: Path) -> set[NormalizedName]:
    """Return the names of the projects whose wheels are in a folder."""
    return {parse_wheel_filename(path.name)[0] for path in wheels.iterdir()}


def _download(folder: Path) -> None:
    command: list[str | Path] = [
        *(program("pip"), "--python", sys.executable, "download", "--quiet", "--no-deps"),
        *("--only-binary=:all:", "--require-hashes", "--dest", folder / "wheels"),
        *("--requirement", client_lock(GROUP.removeprefix("client-"))),
    ]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        pytest.skip(f"the public packages cannot be downloaded here: {last}")
