"""What tests of wheel variants need."""

from pathlib import Path

import pytest

from tests.operations.in_memory_index import IndexHarness


@pytest.fixture
def harness(tmp_path: Path) -> IndexHarness:
    """An index in memory."""
    return IndexHarness(tmp_path)
