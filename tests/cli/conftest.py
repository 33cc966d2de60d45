"""A clean desk, a store, and a way to type commands."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.harness import REPOSITORY, Desk

Done = subprocess.CompletedProcess[str]
Typed = Callable[..., Done]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A clean place to run programs at."""
    desk = Desk(tmp_path / "desk", tmp_path / "home")
    desk.folder.mkdir()
    desk.home.mkdir()
    return desk


@pytest.fixture
def wheelyard(desk: Desk) -> Typed:
    """Type a command; the answer has its exit status and what it printed."""

    def run(*arguments: str | Path, **environment: str) -> Done:
        where = {"PYTHONPATH": str(REPOSITORY / "src")}
        return desk.attempt(sys.executable, "-m", "wheelyard", *arguments, **where, **environment)

    return run
