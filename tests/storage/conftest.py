"""Fixtures for the tests of stores."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.storage.conformance import WRITERS


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads enough for everyone who races."""
    with ThreadPoolExecutor(WRITERS) as pool:
        yield pool
