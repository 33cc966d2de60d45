"""
The clients as people have them, and a clean desk to run them at.

Each client lives in an environment of its own, made once for each lock (`tests/once.py`). A client
that cannot be installed here (no network, say) skips the tests that need it.
"""

import functools
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import pytest
from uv import find_uv_bin

from tests.once import made_once

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCE = {"PYTHONPATH": str(REPOSITORY / "src")}
"""What leads Python to the product as it is in this clone."""
TIMEOUT = 600
"""Seconds after which a run of a client is given up; a loaded machine may need some."""


@dataclass(frozen=True)
class Desk:
    """A place to run programs at, where nothing of this machine's owner is to be seen."""

    folder: Path
    home: Path  # empty, so no settings, no credentials, no caches

    def at(self, folder: Path) -> Self:
        """Take the same desk to another working directory."""
        return replace(self, folder=folder)

    def run(self, *command: str | Path, **environment: str) -> str:
        """Run a program that has to succeed; returns what it printed."""
        done = self.attempt(*command, **environment)
        printed = done.stdout + done.stderr
        assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{printed}"
        return printed

    def attempt(self, *command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a program that may fail."""
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment() | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            text=True,
            timeout=TIMEOUT,
        )

    def environment(self) -> dict[str, str]:
        """Everything that a program run here finds in its environment."""
        return {
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "NO_COLOR": "1",
            # A proxy, a mirror or a token of this machine is not to be found here; nor a Python
            # other than the one that runs the tests.
            "PATH": os.pathsep.join((str(Path(sys.base_prefix) / "bin"), os.defpath)),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_INPUT": "1",
            # scratch files of this desk alone, which go when its folders do
            "TMPDIR": str(self.home),
            "UV_PYTHON_DOWNLOADS": "never",
        }

    def python(self, name: str = "venv") -> Path:
        """Make a new virtual environment with nothing in it; returns its Python."""
        place = self.folder / name
        self.run(find_uv_bin(), "venv", "--quiet", "--python", sys.executable, place)
        return place / "bin" / "python"


def new_desk(folder: Path) -> Desk:
    """Make a clean place to run programs at, in a folder that need not be there yet."""
    desk = Desk(folder / "desk", folder / "home")
    for place in (desk.folder, desk.home):
        place.mkdir(parents=True)
    return desk


def program(client: str, name: str = "") -> Path:
    """Find an executable of a file of `requirements/clients`, in an environment made once."""
    return _environment(client) / "bin" / (name or client)


def site_packages(python: Path) -> Path:
    """Return the folder where an environment keeps its packages."""
    (site,) = python.parent.parent.glob("lib/python*/site-packages")
    return site


def wheelyard(desk: Desk, *arguments: str | Path, **environment: str) -> str:
    """Run the product's own command line, as it is in this clone."""
    return desk.run(sys.executable, "-m", "wheelyard", *arguments, **SOURCE, **environment)


def system_program(name: str) -> str:
    """Find a program of the system, or skip the test."""
    return shutil.which(name) or pytest.skip(f"{name} is not installed")


def client_lock(client: str) -> Path:
    """Return the file that names what is installed for a client."""
    return REPOSITORY / "requirements" / "clients" / f"{client}.txt"


@functools.cache
def _environment(client: str) -> Path:
    lock = client_lock(client)
    return made_once(client, [lock, sys.version], functools.partial(_install, lock))


def _install(lock: Path, folder: Path) -> None:
    """Fill an environment by uv, which is quick, or by pip, which knows this machine's mirrors."""
    uv = [find_uv_bin(), "--no-config", "--quiet"]
    python = str(folder / "bin" / "python")
    locked = ["install", "--require-hashes", "--requirement", str(lock)]
    made = [*uv, "venv", "--clear", "--python", sys.executable, str(folder)]
    problem = _call(*made) or (
        _call(*uv, "pip", *locked, "--python", python)
        and _call(sys.executable, "-m", "pip", "--quiet", "--python", python, *locked)
    )
    if problem:
        pytest.skip(f"{lock.stem} cannot be installed here: {problem}")


def _call(*command: str) -> str:
    """Run a command; returns the last line of what it had to say if it failed, else nothing."""
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=False, text=True)
    if done.returncode == 0:
        return ""
    return (done.stdout + done.stderr).strip().rpartition("\n")[2] or f"{command[0]} failed"
