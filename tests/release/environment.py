"""The environment that releases are made in: `requirements/release.txt`."""

import functools
from pathlib import Path

from tests.clients.harness import REPOSITORY, install_lock
from tests.once import made_once


def release_python() -> Path:
    """Return the Python of an environment with what a release needs."""
    lock = REPOSITORY / "requirements" / "release.txt"
    return made_once("release", [lock], functools.partial(install_lock, lock)) / "bin" / "python"
