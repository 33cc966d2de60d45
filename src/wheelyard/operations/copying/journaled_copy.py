"""Copying a document with its journal, and telling which of both stores a fault is in."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from wheelyard.catalog import keys
from wheelyard.catalog.commits import C, D, Journal, JournaledDocument, JournalKind, diverged
from wheelyard.errors import UNREADABLE_CODES, Conflict, NotFound, Unavailable
from wheelyard.storage.base import Store


def copy_document(source: Store, target: JournaledDocument[D, C, Any]) -> int:
    """Add the commits that the target lacks of a document to it; return how many."""
    kind = target.kind
    with source_faults(source):
        newest, _ = kind.read(source)
    if not newest.revision:
        return 0
    with target_faults():
        there, _ = kind.read(target.commits.store)
    with source_faults(source):
        if not kind.is_state_of(there, source, newest):
            raise diverged()
        commits = commits_of(kind, source, newest, range(there.revision + 1, newest.revision + 1))
    if commits:
        with target_faults():
            target.commits.add(kind, commits)
    return len(commits)


def commits_of(kind: JournalKind[D, C], source: Store, newest: D, numbers: range) -> list[C]:
    """Return commits of a document of the source; raise Conflict if one cannot be read."""
    with source_faults(source):
        journal = Journal(kind, source, newest)
        return [journal.read(number, is_whole=True) for number in numbers]


@contextmanager
def source_faults(source: Store) -> Iterator[None]:
    """Raise Conflict if an object of `source` is unreadable, Unavailable if all of it is."""
    try:
        yield
    except NotFound as fault:
        raise NotFound(f"in FROM: {fault.message}") from fault
    except Unavailable as fault:
        source.get(keys.FORMAT)
        raise Conflict(f"in FROM: {fault.message}") from fault


@contextmanager
def target_faults() -> Iterator[None]:
    """Raise Conflict if a document of the target is damaged."""
    try:
        yield
    except Unavailable as fault:
        if fault.code in UNREADABLE_CODES:
            raise Conflict(f"in TO: {fault.message}") from fault
        raise
