"""
The format of a store (`wheelyard.json`).

An older version of wheelyard may not read or write a store of a newer format. Within one format,
`reader` and `writer` name the lowest versions that may, as older versions would show parts of the
store wrongly, or lose them.
"""

from importlib.metadata import version
from typing import Final

from msgspec import DecodeError
from msgspec.structs import replace
from packaging.version import InvalidVersion, Version

from wheelyard.catalog import keys
from wheelyard.concurrency.runtime import ConflictRetries
from wheelyard.errors import DAMAGED, NEWER_STORE, Conflict, Invalid, NotFound
from wheelyard.model.decoding import Extensible, ExtensibleCodec, encode_all_fields, escaped
from wheelyard.storage.base import ABSENT, Store, Stored, Stores
from wheelyard.storage.forwarding import ReadOnlyStore

FORMAT: Final = 3
"""The only format that this version reads and writes."""
OLDEST_VERSION: Final = "0.2.0"
"""The first version of wheelyard that reads and writes this format as this version does."""


class StoreFormat(
    Extensible, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """The content of `wheelyard.json`."""

    format: int
    reader: str = ""
    """The lowest version of wheelyard that may read the store, or empty for any version."""
    writer: str = ""
    """The lowest version of wheelyard that may write to the store, or empty for any version."""
    files: str = ""
    """The location of the distributions, or empty if they are in the same bucket."""
    credentials: str = ""
    """
    The location of tokens, grants and publishers, or empty if they are in the same bucket.

    It is the one in the settings of the server that was started last.
    """

    @property
    def is_older(self) -> bool:
        """Whether a version below `OLDEST_VERSION` may read the store."""
        try:
            return not self.reader or Version(self.reader) < Version(OLDEST_VERSION)
        except InvalidVersion:
            return False  # a newer version may write versions in another form


_FORMATS: Final = ExtensibleCodec(StoreFormat)


def _decode(stored: Stored) -> StoreFormat:
    """Return the content of `wheelyard.json`, or raise Invalid (code `damaged_document`)."""
    try:
        return _FORMATS.decode(stored.body)
    except DecodeError as error:
        raise Invalid(
            f"{keys.FORMAT} of this store is damaged. Restore it from a backup: "
            f'{{"format":{FORMAT}}}.',
            code=DAMAGED,
        ) from error


def read_format(store: Store) -> StoreFormat | None:
    """
    Return the content of `wheelyard.json`, or None if the store has none.

    Raises Invalid if the format is an older one (code `older_store`), if only a newer version of
    wheelyard may read the store (code `newer_store`), or if `wheelyard.json` is damaged (code
    `damaged_document`). Raises Unavailable if the store does not answer.
    """
    stored = store.get(keys.FORMAT)
    if not isinstance(stored, Stored):
        return None
    stored_format = _decode(stored)
    if stored_format.format > FORMAT:
        needed = ""
        if _is_newer(stored_format.reader):
            needed = f" to {escaped(stored_format.reader)} or newer"
        raise Invalid(
            f"This store has format {stored_format.format}, and this version of wheelyard knows "
            f"{FORMAT}. Upgrade wheelyard{needed}.",
            code=NEWER_STORE,
        )
    if stored_format.format < FORMAT:
        raise Invalid(
            f"This store has format {stored_format.format}, which no release of wheelyard wrote: "
            "make a new store, and import the folder 'files' of this one into it.",
            code="older_store",
        )
    if _is_newer(stored_format.reader):
        raise Invalid(
            f"Reading this store needs wheelyard {escaped(stored_format.reader)} or newer. Upgrade "
            "wheelyard.",
            code=NEWER_STORE,
        )
    return stored_format


def ensure_format(store: Store, files: str = "") -> StoreFormat | None:
    """
    Return the content of `wheelyard.json`, or None if the store is new, after writing it.

    `files` is the location of a new store's distributions, if they have a bucket of their own.

    Raises Invalid if this version may not read the store (code `older_store` or `newer_store`), or
    if `wheelyard.json` is damaged, or missing in a store with projects (code `damaged_document`).
    Raises Unavailable if the store does not answer.
    """
    existing = read_format(store)
    if existing is not None:
        return existing
    new = StoreFormat(format=FORMAT, reader=OLDEST_VERSION, writer=OLDEST_VERSION, files=files)
    # a store with projects that has lost this document is no new store, and may have any format
    if next(store.list(keys.PROJECTS), None) is not None:
        raise Invalid(
            f"There are projects here, and no {keys.FORMAT}. Restore it from a backup: "
            f"{encode_all_fields(new).decode()}.",
            code=DAMAGED,
        )
    try:
        store.put(keys.FORMAT, encode_all_fields(new) + b"\n", ABSENT)
    except Conflict:
        return read_format(store)  # another process has created the store meanwhile
    return None


def writable(stores: Stores, stored_format: StoreFormat | None) -> Stores:
    """
    Return the stores, whose writes raise an error if only a newer version of wheelyard may write.

    The error is an Unavailable (code `newer_store`). `stored_format` is None for a new store.
    """
    if stored_format is None or not _is_newer(stored_format.writer):
        return stores
    why = (
        f"writing to this store needs wheelyard {escaped(stored_format.writer)} or newer. Upgrade "
        "wheelyard."
    )
    return Stores(
        documents=ReadOnlyStore(stores.documents, why, NEWER_STORE),
        credentials=ReadOnlyStore(stores.credentials, why, NEWER_STORE),
        files=ReadOnlyStore(stores.files, why, NEWER_STORE),
    )


def _is_newer(needed: str) -> bool:
    """Return whether a needed version is newer than this one. An empty text is not."""
    if needed in {"", OLDEST_VERSION}:
        return False
    try:
        return Version(needed) > Version(version("wheelyard"))
    except InvalidVersion:
        return True  # a newer version may write versions in another form


def rewrite_format(store: Store, retries: ConflictRetries, credentials: str | None = None) -> None:
    """
    Write `wheelyard.json` again, to prove that this process can write to the store.

    `credentials` is the location of a server's credentials, or None for a command, which leaves the
    stored location as it is. A version below `OLDEST_VERSION` does not read the store from then on.
    Raises NotFound if `wheelyard.json` is missing, and Invalid (code `damaged_document`) if it is
    damaged. Raises Unavailable if the store cannot be written, or (code `overloaded`) if too many
    processes write it.
    """
    for _ in retries.attempts():
        stored = store.get(keys.FORMAT)
        if not isinstance(stored, Stored):
            raise NotFound(f"There is no {keys.FORMAT} in this store.")
        stored_format = _decode(stored)
        # only raised: a newer version may have set both since this process has started
        if stored_format.is_older:
            stored_format = replace(stored_format, reader=OLDEST_VERSION, writer=OLDEST_VERSION)
        if credentials is not None:
            stored_format = replace(stored_format, credentials=credentials)
        try:
            store.put(keys.FORMAT, encode_all_fields(stored_format) + b"\n", stored.version)
        except Conflict:  # another server has written it at the same moment
            continue
        return
    raise retries.exhausted(keys.FORMAT)
