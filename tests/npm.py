"""Programs and libraries that npm installs, each by its lock in `requirements/npm`."""

import functools
import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.clients.harness import REPOSITORY, system_program
from tests.once import made_once

PACKAGES: Final = REPOSITORY / "requirements" / "npm"
"""A folder for each package, with its lock."""


def npm_package(name: str) -> Path:
    """Return the folder of a package below `node_modules`; skip the test without npm."""
    npm = system_program("npm")
    lock = PACKAGES / name
    install = functools.partial(_install, npm, lock)
    return made_once(f"npm-{name}", [lock], install) / "node_modules" / name


def _install(npm: str, lock: Path, folder: Path) -> None:
    shutil.copytree(lock, folder, dirs_exist_ok=True)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
