"""Errors of reading from the store that is copied: of one object, or of the whole store."""

from collections.abc import Iterator
from contextlib import contextmanager

from wheelyard.catalog import keys
from wheelyard.errors import Conflict, NotFound, Unavailable
from wheelyard.storage.base import Store


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
