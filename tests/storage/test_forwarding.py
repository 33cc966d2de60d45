"""MemoryStore is a Store, and so are parts of one."""

import pytest

from tests.storage.conformance import StoreConformance
from wheelyard.storage.base import ABSENT, Key, Store
from wheelyard.storage.forwarding import PrefixedStore
from wheelyard.storage.memory import MemoryStore
from wheelyard.upstream.kept_folders import KeptFolders


class TestMemoryStore(StoreConformance):
    """The memory backend."""

    @pytest.fixture
    def store(self) -> Store:
        """Return an empty store."""
        return memory()


class TestPrefixedStore(StoreConformance):
    """A part of a store in memory."""

    longest_key = 1024 - len("part/")

    @pytest.fixture
    def store(self) -> Store:
        """Return an empty store; what is beside its part is not seen through it."""
        whole = memory()
        for key in ("a/0.json", "part", "part.json", "partial/a", "z"):
            whole.put(Key(key), b"", ABSENT)
        return PrefixedStore(whole, "part/")


class TestKeptFolders(StoreConformance):
    """What is kept of an upstream index."""

    longest_key = 1024 - len("upstream/pypi-0123abcd/")

    @pytest.fixture
    def store(self) -> Store:
        """Return an empty store."""
        return PrefixedStore(KeptFolders(memory(), ["pypi-0123abcd"]), "upstream/pypi-0123abcd/")


def memory() -> MemoryStore:
    """Return an empty store in memory."""
    return MemoryStore(lambda: 0.0)
