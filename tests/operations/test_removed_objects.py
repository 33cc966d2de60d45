"""What earlier versions have stored, and nothing uses any more: it is noted, swept, not copied."""

from pathlib import Path

import pytest

from tests.advice import texts_of
from tests.operations.in_memory_index import IndexHarness
from wheelyard.catalog import removed
from wheelyard.operations.copying.credential_copy import CredentialCopy
from wheelyard.storage.base import Key
from wheelyard.storage.memory import MemoryStore

WAITING = Key(f"{removed.DEVICE_LOGINS}2026010101/{7:032x}.json")
"""A login that somebody has approved, and no program has fetched."""
FOREIGN = Key(f"{removed.DEVICE_LOGINS}notes.txt")


@pytest.fixture
def harness(tmp_path: Path) -> IndexHarness:
    """An index with a login that waits, and an object of somebody else."""
    harness = IndexHarness(tmp_path)
    harness.store.put(WAITING, b'{"approval":{"owner":"htpasswd:ana"}}', None)
    harness.store.put(FOREIGN, b"", None)
    return harness


def keys_below(harness: IndexHarness) -> list[str]:
    """Return what is stored about logins."""
    return [entry.key for entry in harness.store.list(removed.DEVICE_LOGINS)]


def test_a_waiting_login_is_noted_and_swept(harness: IndexHarness) -> None:
    """A check says that a login is no use any more, and a sweep deletes it alone."""
    found = harness.check()

    assert found.problems == []
    noted = f"1 object under {removed.DEVICE_LOGINS}, of no use any more"
    assert noted in texts_of(found.notes)
    assert harness.check(sweep=True).swept == 1
    assert keys_below(harness) == [FOREIGN]
    assert not any("of no use" in note for note in texts_of(harness.check().notes))


def test_a_login_is_not_copied(harness: IndexHarness) -> None:
    """A copy with credentials leaves logins out."""
    target = MemoryStore(harness.clock.seconds)

    copying = CredentialCopy(harness.store, target, harness.index.catalog.credential_documents)

    assert not any(key.startswith(removed.DEVICE_LOGINS) for key in copying.keys_to_copy())
