"""A store that its first write makes."""

from pathlib import Path
from random import Random

import pytest

from wheelyard.errors import Unavailable
from wheelyard.storage.base import ABSENT, Key
from wheelyard.storage.deferred import DeferredSpool, DeferredStore
from wheelyard.storage.local import LocalStore
from wheelyard.storage.memory import MemoryStore


def deferred(folder: Path) -> DeferredStore:
    """Return an empty store that will be a folder."""
    return DeferredStore(MemoryStore(lambda: 0.0), lambda: LocalStore(folder, Random(1)))


def test_the_first_write_makes_it(tmp_path: Path) -> None:
    """Reads and deletes make no folder, and what an upload wrote before stays usable."""
    store, key = deferred(tmp_path / "store"), Key("files/a")
    spool = DeferredSpool(tmp_path, store=store)
    early, sink = spool.create()
    with sink:
        sink.write(b"early")

    assert (store.get(key), [*store.list("")]) == (None, [])
    store.delete(key)
    assert [each.name for each in tmp_path.iterdir()] == [early.name]

    store.put_file(key, early)
    assert b"".join(store.read(key)) == b"early"
    later, sink = spool.create()
    sink.close()
    assert later.parent == tmp_path / "store" / ".spool"


def test_a_failure_is_no_end(tmp_path: Path) -> None:
    """Where no folder can be made, a write says so, and the next one tries again."""
    store = deferred(tmp_path / "a" / "store")
    (tmp_path / "a").write_text("in the way")
    with pytest.raises(Unavailable, match="cannot be a store"):
        store.put(Key("k"), b"", ABSENT)

    (tmp_path / "a").unlink()

    store.put(Key("k"), b"", ABSENT)
