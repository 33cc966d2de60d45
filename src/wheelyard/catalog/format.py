"""`wheelyard.json`: the format of a store, so that an older version never writes into a newer."""

from typing import Final

from msgspec import Struct

from wheelyard.catalog import keys
from wheelyard.catalog.codec import Codec
from wheelyard.errors import Conflict, Invalid, Unavailable
from wheelyard.storage.base import ABSENT, Store, Stored

FORMAT: Final = 1


class StoreFormat(Struct, frozen=True):
    """The stored form of this store."""

    format: int


def has_format(store: Store) -> bool:
    """Return whether there is a store here already."""
    return isinstance(store.get(keys.FORMAT), Stored)


def ensure_format(store: Store) -> bool:
    """
    See to it that the store has a format that we read; a new one gets ours.

    Returns:
        Whether it is new.

    Raises:
        Invalid: A newer version of wheelyard has written it (code `newer_store`).
        Unavailable: The store does not answer.
    """
    codec = Codec(StoreFormat)
    found = store.get(keys.FORMAT)
    if not isinstance(found, Stored):
        if any(True for _ in store.list(keys.PROJECTS)):
            raise Invalid(
                f"There are projects here, and no {keys.FORMAT}. Restore it from a backup: "
                '{"format":1}.',
                code="damaged_document",
            )
        try:
            store.put(keys.FORMAT, codec.encode(StoreFormat(FORMAT)), ABSENT)
        except Conflict:
            ensure_format(store)  # somebody else has just begun the store
            return False
        return True
    try:
        written = codec.decode(keys.FORMAT, found.body).format
    except Unavailable as fault:
        raise Invalid(
            f'{keys.FORMAT} of this store is damaged. Restore it from a backup: {{"format":1}}.',
            code=fault.code,
        ) from fault
    if written > FORMAT:
        raise Invalid(
            f"This store has format {written}, and this version of wheelyard knows {FORMAT}. "
            "Upgrade wheelyard.",
            code="newer_store",
        )
    return False
