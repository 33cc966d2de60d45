"""MemoryStore is a Store."""

import pytest

from tests.storage.conformance import StoreConformance
from wheelyard.storage.base import Store
from wheelyard.storage.memory import MemoryStore


class TestMemoryStore(StoreConformance):
    """The memory backend."""

    @pytest.fixture
    def store(self) -> Store:
        """Return an empty store."""
        return MemoryStore(lambda: 0.0)
