"""`wheelyard.json`: the format of a store, so that an older version never writes into a newer."""

from typing import Final

from msgspec import Struct

from wheelyard.catalog import keys
from wheelyard.catalog.documents import DAMAGED, Codec
from wheelyard.catalog.races import Retries
from wheelyard.errors import Conflict, Invalid, NotFound, Unavailable
from wheelyard.storage.base import Store, Stored, create

FORMAT: Final = 1


class StoreFormat(Struct, frozen=True, omit_defaults=True):
    """The stored form of this store."""

    format: int
    files: str = ""
    """Where its distributions are, if that is a bucket of their own."""


def read_format(store: Store) -> StoreFormat | None:
    """
    Return the format of a store, None where there is no store.

    Raises:
        Invalid: A newer version of wheelyard has written it (code `newer_store`).
    """
    found = store.get(keys.FORMAT)
    if not isinstance(found, Stored):
        return None
    try:
        written = Codec(StoreFormat).decode(keys.FORMAT, found.body)
    except Unavailable as fault:
        raise Invalid(
            f'{keys.FORMAT} of this store is damaged. Restore it from a backup: {{"format":1}}.',
            code=fault.code,
        ) from fault
    if written.format > FORMAT:
        raise Invalid(
            f"This store has format {written.format}, and this version of wheelyard knows "
            f"{FORMAT}. Upgrade wheelyard.",
            code="newer_store",
        )
    return written


def ensure_format(store: Store, files: str = "") -> bool:
    """
    See to it that the store has a format that we read, and return whether it is new.

    Args:
        store: Where it is written.
        files: Where a new store keeps its distributions, if that is a bucket of their own.

    Raises:
        Invalid: A newer version of wheelyard has written it (code `newer_store`).
    """
    if read_format(store) is not None:
        return False
    if any(True for _ in store.list(keys.PROJECTS)):
        raise Invalid(
            f"There are projects here, and no {keys.FORMAT}. Restore it from a backup: "
            '{"format":1}.',
            code=DAMAGED,
        )
    try:
        create(store, keys.FORMAT, Codec(StoreFormat).encode(StoreFormat(FORMAT, files)))
    except Conflict:
        read_format(store)  # somebody else has just begun the store
        return False
    return True


def renew_format(store: Store, retries: Retries) -> None:
    """Write the format of a store again as it is: whoever can do that can commit, too."""
    for _ in retries.attempts():
        found = store.get(keys.FORMAT)
        if not isinstance(found, Stored):
            raise NotFound(f"There is no {keys.FORMAT} in this store.")
        try:
            store.put(keys.FORMAT, found.body, found.version)
        except Conflict:  # another server does the same
            continue
        return
    raise retries.exhausted(keys.FORMAT)
