"""This machine, and the versions of all programs that are compared on it."""

import os
import platform
import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

from tests.clients.harness import REPOSITORY, client_lock

INSTALLED = ("wheelyard", "granian")
LOCKED = {
    "devpi": "devpi-server",
    "dumb-pypi": "dumb-pypi",
    "proxpi": "proxpi",
    "pypiserver": "pypiserver",
    "simple-repository-server": "simple-repository-server",
}
"""The compared distributions, by the lock that has their version."""
PROGRAMS = {
    "nginx": (["nginx", "-v"], "apt install nginx-light", "it is left out"),
    "wrk": (["wrk", "-v"], "apt install wrk", "a slower client of our own makes the load"),
}
"""The system programs: what prints their version, how Debian installs them, what happens else."""


def describe() -> dict[str, str]:
    """Return what the figures depend on, by name."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    model = re.search(r"model name\s*: (.*)", _text(Path("/proc/cpuinfo")))
    facts = {
        "cpu": model[1] if model else platform.processor() or "unknown",
        "cores": str(os.cpu_count()),
        "memory": f"{memory:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
    commit = _printed(["git", "-C", str(REPOSITORY), "rev-parse", "--short=12", "HEAD"])
    facts |= {"commit": commit} if commit else {}
    facts |= {name: version(name) for name in INSTALLED}
    facts |= {name: _locked(lock, name) for lock, name in LOCKED.items()}
    for name, (command, *_) in PROGRAMS.items():
        found = re.search(r"\d+(\.\d+)+", _printed(command))
        facts[name] = found[0] if found else "not installed"
    return facts


def missing_programs() -> list[str]:
    """Return a sentence for each system program that is not installed."""
    return [
        f"{name} is not installed (on Debian: {how}), so {instead}."
        for name, (_, how, instead) in PROGRAMS.items()
        if shutil.which(name) is None
    ]


def _locked(lock: str, distribution: str) -> str:
    found = re.search(rf"^{distribution}\S*==(\S+)", client_lock(lock).read_text(), re.MULTILINE)
    return found[1] if found else "unknown"


def _printed(command: list[str]) -> str:
    """Return what a command prints; an empty string if it is not installed or has failed."""
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    # wrk ends with status 1 after it has printed its version
    return (done.stdout + done.stderr).strip() if done.returncode != 128 else ""


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""
