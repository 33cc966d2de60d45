"""
The keys of the stored objects of upstream indexes.

A copy has the objects that cannot be fetched again: pages and owners, by which an upstream index
has a public name, and the digests of files whose pages have none.
"""

from collections.abc import Iterator
from typing import Final

from wheelyard.catalog import keys
from wheelyard.storage.base import Key, Store

_AFTER_SLASH: Final = "0"
"""The character after a slash: in place of the slash, it sorts after every key of a folder."""


def kept_upstream_keys(store: Store) -> Iterator[Key]:
    """
    Yield the keys of the objects of upstream indexes that cannot be fetched again.

    Raises Unavailable if the store does not answer.
    """
    for key_or_folder in _top_level(store):
        if key_or_folder in {keys.UPSTREAM_FIRST_USES, keys.UPSTREAM_LICENCES}:
            yield Key(key_or_folder)
        elif key_or_folder == keys.UPSTREAM_OWNERS:
            for entry in store.list(key_or_folder):
                yield entry.key
        elif key_or_folder.endswith("/"):
            for subfolder in (keys.UPSTREAM_DIGESTS, keys.UPSTREAM_PAGES):
                for entry in store.list(f"{key_or_folder}{subfolder}"):
                    yield entry.key


def upstream_folders(store: Store) -> Iterator[str]:
    """
    Yield the names of the folders of upstream indexes, which are their ids, and that of owners.

    Raises Unavailable if the store does not answer.
    """
    for key_or_folder in _top_level(store):
        if key_or_folder.endswith("/"):
            yield key_or_folder.removeprefix(keys.UPSTREAM).removesuffix("/")


def _top_level(store: Store) -> Iterator[str]:
    """Yield the keys and, with a slash at the end, the folders right below `upstream/`."""
    after = ""
    while (entry := next(store.list(keys.UPSTREAM, after), None)) is not None:
        name, slash, _ = entry.key.removeprefix(keys.UPSTREAM).partition("/")
        key_or_folder = f"{keys.UPSTREAM}{name}{slash}"
        yield key_or_folder
        after = key_or_folder
        # the folder is skipped, as it may have hundreds of thousands of files
        if slash:
            after = f"{key_or_folder.removesuffix('/')}{_AFTER_SLASH}"
