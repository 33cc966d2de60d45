"""
What a store remembers of upstream indexes, and could not fetch again as it was.

That is which of them owns a public name, as its page says, and the digests of files that pages do
not say. Everything else below `upstream/` can be fetched again.
"""

from collections.abc import Iterator
from typing import Final

from wheelyard.catalog import keys
from wheelyard.storage.base import Key, Store

_AFTER_SLASH: Final = "0"
"""The next character, so that it follows every key of a folder in its place."""


def upstream_ids(store: Store) -> Iterator[str]:
    """Yield the id of each upstream index of which a store has something, by a listing each."""
    for top in _tops(store):
        if top.endswith("/"):
            yield top.removeprefix(keys.UPSTREAM).removesuffix("/")


def remembered(store: Store) -> Iterator[Key]:
    """Yield the key of each object that has such a memory."""
    for top in _tops(store):
        if top in {keys.UPSTREAM_FIRST_USES, keys.UPSTREAM_LICENCES}:
            yield Key(top)
        elif top.endswith("/"):
            for kind in (keys.UPSTREAM_DIGESTS, keys.UPSTREAM_PAGES):
                for entry in store.list(f"{top}{kind}"):
                    yield entry.key


def _tops(store: Store) -> Iterator[str]:
    """Yield the keys and, with a slash at the end, the folders that are next below `upstream/`."""
    after = ""
    while (entry := next(store.list(keys.UPSTREAM, after), None)) is not None:
        upstream_id, slash, _ = entry.key.removeprefix(keys.UPSTREAM).partition("/")
        top = f"{keys.UPSTREAM}{upstream_id}{slash}"
        yield top
        after = f"{top.removesuffix('/')}{_AFTER_SLASH}" if slash else top
