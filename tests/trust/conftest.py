"""Fixtures for tests of who is believed."""

from pathlib import Path

import pytest

from tests.trust.logins import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Return a desk."""
    return Desk(tmp_path)
