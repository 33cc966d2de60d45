"""Fixtures for tests of the policy."""

import logging
from pathlib import Path

import pytest

from tests.operations.in_memory_index import IndexHarness


@pytest.fixture
def harness(tmp_path: Path) -> IndexHarness:
    """An index in memory, with a clock that stands still."""
    return IndexHarness(tmp_path)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The captured warnings."""
    caplog.set_level(logging.WARNING, "wheelyard")
    return caplog
