"""MemoryStore is a Store, and so are two of them that are one."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.storage.conformance import StoreConformance, keys
from wheelyard.storage.base import ABSENT, Entry, Key, Store
from wheelyard.storage.forwarding import PrefixedStore, SplitStore
from wheelyard.storage.memory import MemoryStore


class TestMemoryStore(StoreConformance):
    """The memory backend."""

    @pytest.fixture
    def store(self) -> Store:
        """Return an empty store."""
        return memory()


class TestSplitStore(StoreConformance):
    """Two halves in memory; of the keys of a test some, all or none are in the one apart."""

    @pytest.fixture(params=["a/", "a/b", "race/", "k"])
    def store(self, request: pytest.FixtureRequest) -> Store:
        """Return an empty store; the prefix of the half apart is the parameter."""
        return SplitStore(memory(), memory(), request.param)


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


@dataclass(frozen=True)
class Halves:
    """Both halves, and what they look like together."""

    usual: MemoryStore
    apart: MemoryStore
    whole: SplitStore


@pytest.fixture
def halves() -> Halves:
    """Return two empty halves, of which one has the keys below `files/`."""
    usual, apart = memory(), memory()
    return Halves(usual, apart, SplitStore(usual, apart, "files/"))


def test_a_listing_takes_what_it_needs_from_each(halves: Halves) -> None:
    """A listing is one sorted row of both halves, wherever it begins and whatever its prefix."""
    wanted = ["a", "file", "files", "files/a", "files/b", "files/c", "files0", "z"]
    for key in wanted:
        halves.whole.put(Key(key), b"", ABSENT)

    assert keys(halves.whole, "") == wanted
    assert keys(halves.whole, "file") == wanted[1:-1]
    assert keys(halves.whole, "files") == wanted[2:-1]
    assert keys(halves.whole, "files/") == wanted[3:6]
    assert keys(halves.whole, "files/b") == ["files/b"]
    assert keys(halves.whole, "z") == ["z"]
    for at, key in enumerate(wanted):
        assert keys(halves.whole, "", key) == wanted[at + 1 :]


def test_what_lies_in_the_wrong_half_is_not_there(halves: Halves) -> None:
    """An object in the wrong half is neither read nor listed."""
    halves.usual.put(Key("files/a"), b"", ABSENT)
    halves.apart.put(Key("projects/a"), b"", ABSENT)

    assert keys(halves.whole, "") == keys(halves.whole, "files/") == []
    assert keys(halves.whole, "projects/") == keys(halves.whole, "f") == []
    assert halves.whole.get(Key("files/a")) is halves.whole.get(Key("projects/a")) is None


def test_a_listing_of_one_half_asks_only_that_half() -> None:
    """A listing that can lie in one half only costs nothing in the other."""
    usual, apart = Listing(), Listing()
    store = SplitStore(usual, apart, "files/")

    assert list(store.list("files/a/")) == list(store.list("projects/")) == []

    assert usual.listed == ["projects/"]
    assert apart.listed == ["files/a/"]


def memory() -> MemoryStore:
    """Return an empty store in memory."""
    return MemoryStore(lambda: 0.0)


class Listing(MemoryStore):
    """A store in memory that remembers which listings it was asked for."""

    def __init__(self) -> None:
        super().__init__(lambda: 0.0)
        self.listed: list[str] = []

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """Yield the entries."""
        self.listed.append(prefix)
        return super().list(prefix, after)
