"""
The keys of what is kept of upstream indexes.

A copy takes along what cannot be fetched again: pages and owners, which say which of the upstream
indexes has a public name, and the digests of files that pages do not say.
"""

from collections.abc import Iterator
from typing import Final

from wheelyard.catalog import keys
from wheelyard.storage.base import Key, Store

_AFTER_SLASH: Final = "0"
"""The next character, so that it follows every key of a folder in its place."""


def kept_upstream_keys(store: Store) -> Iterator[Key]:
    """
    Yield the keys of the objects of upstream indexes that cannot be fetched again.

    Raises Unavailable if the store does not answer.
    """
    for top in _tops(store):
        if top in {keys.UPSTREAM_FIRST_USES, keys.UPSTREAM_LICENCES}:
            yield Key(top)
        elif top == keys.UPSTREAM_OWNERS:
            for entry in store.list(top):
                yield entry.key
        elif top.endswith("/"):
            for kind in (keys.UPSTREAM_DIGESTS, keys.UPSTREAM_PAGES):
                for entry in store.list(f"{top}{kind}"):
                    yield entry.key


def upstream_folders(store: Store) -> Iterator[str]:
    """
    Yield the ids under which something of upstream indexes is kept.

    Raises Unavailable if the store does not answer.
    """
    for top in _tops(store):
        if top.endswith("/"):
            yield top.removeprefix(keys.UPSTREAM).removesuffix("/")


def _tops(store: Store) -> Iterator[str]:
    """Yield the keys and, with a slash at the end, the folders that are next below `upstream/`."""
    after = ""
    while (entry := next(store.list(keys.UPSTREAM, after), None)) is not None:
        upstream_id, slash, _ = entry.key.removeprefix(keys.UPSTREAM).partition("/")
        top = f"{keys.UPSTREAM}{upstream_id}{slash}"
        yield top
        after = top
        # past the folder at once: it may have hundreds of thousands of files
        if slash:
            after = f"{top.removesuffix('/')}{_AFTER_SLASH}"
