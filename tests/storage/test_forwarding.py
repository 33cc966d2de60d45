"""MemoryStore is a Store, and so are parts of one."""

from collections.abc import Callable

import pytest

from tests.refused import refused
from tests.storage.conformance import StoreConformance
from wheelyard.errors import Unavailable
from wheelyard.storage.base import ABSENT, Key, Store, Stored
from wheelyard.storage.forwarding import PrefixedStore, ReadOnlyStore
from wheelyard.storage.memory import MemoryStore
from wheelyard.upstream.kept_folders import KeptFolders

KEY = Key("a")


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


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.delete(KEY),
        lambda store: store.put(KEY, b"new", None),
        lambda store: store.put_file(KEY, b"new"),
        lambda store: store.put_file(Key("b"), b"new"),
    ],
    ids=["delete", "put", "put a file", "put another file"],
)
def test_a_store_that_is_only_read(change: Callable[[Store], object]) -> None:
    """A store that is only read takes no change, and says what forbids it."""
    whole = memory()
    whole.put(KEY, b"old", ABSENT)

    with refused(Unavailable, "read_only", r"is not written: server\.read_only forbids it\."):
        change(ReadOnlyStore(whole))

    assert [entry.key for entry in whole.list("")] == [KEY]
    found = whole.get(KEY)
    assert isinstance(found, Stored)
    assert found.body == b"old"


def memory() -> MemoryStore:
    """Return an empty store in memory."""
    return MemoryStore(lambda: 0.0)
