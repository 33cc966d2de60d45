"""
The folder of an upstream index in the store, which stays the same if the index gets another label.

The id of an index is its label and a digest of its URL. What is kept under an id is found under
another label of the same URL, too: the owners of names and the digests of files must not get lost
because an operator has chosen another word.
"""

from collections.abc import Collection, Iterator

from wheelyard.catalog import keys
from wheelyard.catalog.upstream_keys import upstream_folders
from wheelyard.storage.base import Entry, Key, Store
from wheelyard.storage.forwarding import ForwardingStore


class KeptFolders(ForwardingStore):
    """
    The objects of `inner`, where what is kept of an upstream index may have another label.

    Threads may share it. Where a folder is, is found out when it is first needed: if an index has
    nothing under its own id, it is the first that its URL has under another one.

    Args:
        inner: Has what is below `upstream/`.
        ids: Those of the upstream indexes.
    """

    __slots__ = ("_found", "_ids", "inner")

    def __init__(self, inner: Store, ids: Collection[str]) -> None:
        self.inner = inner
        self._ids = frozenset(ids)
        self._found: dict[str, str] = {}
        """The id under which each index is kept, by its own id."""

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """See `Store`."""
        asked, kept = self._folders(prefix)
        start = kept + after.removeprefix(asked) if after else ""
        for entry in self.inner.list(kept + prefix.removeprefix(asked), start):
            yield entry._replace(key=Key(asked + entry.key.removeprefix(kept)))

    def _full(self, key: Key) -> Key:
        asked, kept = self._folders(key)
        return Key(kept + key.removeprefix(asked))

    def _folders(self, key: str) -> tuple[str, str]:
        """Return the folder of an upstream index in a key, and where it is. Both may be empty."""
        upstream_id, slash, _ = key.removeprefix(keys.UPSTREAM).partition("/")
        if not slash or upstream_id not in self._ids or not key.startswith(keys.UPSTREAM):
            return "", ""
        kept_id = self._found.get(upstream_id)
        if kept_id is None:
            # of two threads that look, both find the same
            kept_id = self._found[upstream_id] = self._find(upstream_id)
        return keys.upstream(upstream_id), keys.upstream(kept_id)

    def _find(self, upstream_id: str) -> str:
        if next(self.inner.list(keys.upstream(upstream_id)), None) is not None:
            return upstream_id
        others = (other for other in upstream_folders(self.inner) if other not in self._ids)
        return next((other for other in others if is_same_url(other, upstream_id)), upstream_id)


def is_same_url(upstream_id: str, other: str) -> bool:
    """Return whether two ids are of one URL."""
    return upstream_id.rpartition("-")[2] == other.rpartition("-")[2]
