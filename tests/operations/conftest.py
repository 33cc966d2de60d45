"""Fixtures for tests of an index without a server."""

from pathlib import Path

import pytest

from tests.operations.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """An index in memory, with a clock that stands still."""
    return World(tmp_path)
