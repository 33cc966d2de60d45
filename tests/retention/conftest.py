"""An index in memory for these tests."""

from pathlib import Path

import pytest

from tests.operations.in_memory_index import IndexHarness


@pytest.fixture
def harness(tmp_path: Path) -> IndexHarness:
    """Return an empty index in memory."""
    return IndexHarness(tmp_path)
