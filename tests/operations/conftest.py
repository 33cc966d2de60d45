"""Fixtures for tests of an index without a server."""

import logging
from pathlib import Path

import pytest

from tests.authentication.publishing_fixture import MOMENT
from tests.operations.fake_sources import Shelf
from tests.operations.in_memory_index import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """An index in memory, with a clock that stands still."""
    return World(tmp_path)


@pytest.fixture
def noon(world: World) -> World:
    """A world in which every statement has just been made."""
    world.clock.now = MOMENT
    return world


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What the operator reads."""
    caplog.set_level(logging.WARNING, "wheelyard.audit")  # whose lines are tested elsewhere
    caplog.set_level(logging.INFO, "wheelyard")
    return caplog


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that is watched."""
    folder = tmp_path / "packages"
    folder.mkdir()
    return folder


@pytest.fixture
def shelf() -> Shelf:
    """Where the distributions of a source are."""
    return Shelf()
