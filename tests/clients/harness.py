"""
The real clients (pip, uv, twine ...), and the sandbox that they run in.

Each client has a virtual environment of its own, made once for each lock file (`tests/once.py`).
Where a client cannot be installed (without a network, for example), its tests are skipped.
"""

import ctypes
import functools
import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import pytest
from uv import find_uv_bin

from tests.forking import run_forked
from tests.once import made_once

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCE = {"PYTHONPATH": str(REPOSITORY / "src")}
"""The environment variable that makes Python import the product from this clone."""
TIMEOUT = 600
"""Seconds that one run of a client may take, on a machine under load."""


@dataclass(frozen=True)
class Sandbox:
    """A working directory and an empty home: programs see no settings of this machine's user."""

    folder: Path
    home: Path  # empty, so no settings, no credentials, no caches

    def at(self, folder: Path) -> Self:
        """Return this sandbox with another working directory."""
        return replace(self, folder=folder)

    def run(self, *command: str | Path, **environment: str) -> str:
        """Run a program, assert that it succeeds, and return what it printed."""
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
        """Return the environment variables of programs that run here."""
        return {
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "NO_COLOR": "1",
            # Proxies, mirrors and tokens of this machine are left out, and so are all Pythons
            # but the one that runs the tests.
            "PATH": os.pathsep.join((str(Path(sys.base_prefix) / "bin"), os.defpath)),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_INPUT": "1",
            # scratch files are deleted together with the sandbox
            "TMPDIR": str(self.home),
            "UV_PYTHON_DOWNLOADS": "never",
        }

    def python(self, name: str = "venv") -> Path:
        """Make an empty virtual environment and return its Python."""
        folder = self.folder / name
        venv.create(folder, symlinks=True)
        return folder / "bin" / "python"


def new_sandbox(folder: Path) -> Sandbox:
    """Make a sandbox in a folder, which is created if it is missing."""
    sandbox = Sandbox(folder / "sandbox", folder / "home")
    for each in (sandbox.folder, sandbox.home):
        each.mkdir(parents=True)
    return sandbox


def program(client: str, name: str = "") -> Path:
    """Return an executable of a client that `requirements/clients/CLIENT.txt` locks."""
    return _environment(client) / "bin" / (name or client)


def pip_of(python: Path) -> list[str | Path]:
    """
    Return the start of a command of today's pip for an environment.

    `pip --python` starts the same, after it has started itself.
    """
    return [python, site_packages(program("pip", "python")) / "pip" / "__pip-runner__.py"]


def site_packages(python: Path) -> Path:
    """Return the `site-packages` folder of a Python."""
    (site,) = python.parent.parent.glob("lib/python*/site-packages")
    return site


def wheelyard(sandbox: Sandbox, *arguments: str | Path, **environment: str) -> str:
    """Run the product's own command line, as it is in this clone, and assert that it succeeds."""
    done = attempt_wheelyard(sandbox, *arguments, **environment)
    printed = done.stdout + done.stderr
    assert done.returncode == 0, f"{done.args} ended with {done.returncode}:\n{printed}"
    return printed


def attempt_wheelyard(
    sandbox: Sandbox, *arguments: str | Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the product's own command line, which may fail."""
    variables = sandbox.environment() | SOURCE | environment
    return run_forked(arguments, sandbox.folder, variables)


def system_program(name: str) -> str:
    """Return the path of a system program, or skip the test."""
    return shutil.which(name) or pytest.skip(f"{name} is not installed")


def require_system_library(name: str) -> None:
    """Skip the test where a shared library of Linux is missing."""
    try:
        if sys.platform == "linux":
            ctypes.CDLL(name)
    except OSError:
        pytest.skip(f"{name} is not installed")


def client_lock(client: str) -> Path:
    """Return the lock file of a client's environment."""
    return REPOSITORY / "requirements" / "clients" / f"{client}.txt"


@functools.cache
def _environment(client: str) -> Path:
    lock = client_lock(client)
    return made_once(client, [lock, sys.version], functools.partial(install_lock, lock))


def install_lock(lock: Path, folder: Path) -> None:
    """
    Make an environment in a folder, and install a lock file into it.

    uv does it, or pip, which uses this machine's mirrors, if uv fails.
    """
    uv = [find_uv_bin(), "--no-config", "--quiet"]
    python = str(folder / "bin" / "python")
    locked = ["install", "--require-hashes", "--requirement", str(lock)]
    command = [*uv, "venv", "--clear", "--python", sys.executable, str(folder)]
    problem = _call(*command) or (
        _call(*uv, "pip", *locked, "--python", python)
        and _call(sys.executable, "-m", "pip", "--quiet", "--python", python, *locked)
    )
    if problem:
        pytest.skip(f"{lock.stem} cannot be installed here: {problem}")


def _call(*command: str) -> str:
    """Run a command; return the last line of its output if it failed, else an empty string."""
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=False, text=True)
    if done.returncode == 0:
        return ""
    return (done.stdout + done.stderr).strip().rpartition("\n")[2] or f"{command[0]} failed"
