"""Fixtures of all tests."""

from pathlib import Path

import pytest

from tests.clients.harness import Sandbox, new_sandbox


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    """A sandbox for programs."""
    return new_sandbox(tmp_path)
