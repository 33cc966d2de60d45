"""Fixtures for tests of an index without a server."""

import logging
from pathlib import Path

import pytest

from tests.authentication.publishing_fixture import MOMENT
from tests.operations.fake_sources import FakeFiles
from tests.operations.in_memory_index import IndexHarness


@pytest.fixture
def harness(tmp_path: Path) -> IndexHarness:
    """An index in memory, with a clock that stands still."""
    return IndexHarness(tmp_path)


@pytest.fixture
def noon(harness: IndexHarness) -> IndexHarness:
    """An index whose clock shows the moment at which the ID tokens were issued."""
    harness.clock.now = MOMENT
    return harness


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The captured log."""
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
def files() -> FakeFiles:
    """A fake source of distributions."""
    return FakeFiles()
