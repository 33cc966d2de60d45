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

    Threads may share it. The folder of an index is looked for when it is first needed: if the index
    has nothing under its own id, it is the first folder of the same URL under another id.

    Args:
        inner: The store with what is below `upstream/`.
        ids: The ids of the upstream indexes.
    """

    __slots__ = ("_ids", "_stored_ids", "inner")

    def __init__(self, inner: Store, ids: Collection[str]) -> None:
        self.inner = inner
        self._ids = frozenset(ids)
        self._stored_ids: dict[str, str] = {}
        """The id under which each index is kept, by its own id."""

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """
        Yield the objects below a prefix, by keys with the id that the index has now.

        These are the objects whose keys follow the key `after`, or all for an empty text.
        """
        folder, stored_folder = self._folders(prefix)
        start = ""
        if after:
            start = stored_folder + after.removeprefix(folder)
        for entry in self.inner.list(stored_folder + prefix.removeprefix(folder), start):
            yield entry._replace(key=Key(folder + entry.key.removeprefix(stored_folder)))

    def _full(self, key: Key) -> Key:
        """Return the key in the inner store."""
        folder, stored_folder = self._folders(key)
        return Key(stored_folder + key.removeprefix(folder))

    def _folders(self, key: str) -> tuple[str, str]:
        """
        Return the folder of an upstream index that begins a key, and the folder in the inner store.

        Both are empty if no set upstream index has the key.
        """
        upstream_id, slash, _ = key.removeprefix(keys.UPSTREAM).partition("/")
        if not slash or upstream_id not in self._ids or not key.startswith(keys.UPSTREAM):
            return "", ""
        stored_id = self._stored_ids.get(upstream_id)
        if stored_id is None:
            # two threads that look find the same id
            stored_id = self._find_stored_id(upstream_id)
            self._stored_ids[upstream_id] = stored_id
        return keys.upstream(upstream_id), keys.upstream(stored_id)

    def _find_stored_id(self, upstream_id: str) -> str:
        """Return the id under which the store has an index, which may have an earlier label."""
        first_object = next(self.inner.list(keys.upstream(upstream_id)), None)
        if first_object is not None:
            return upstream_id
        for stored_id in upstream_folders(self.inner):
            # never the folder of another index that is set now, as two would then share it
            if stored_id not in self._ids and is_same_url(stored_id, upstream_id):
                return stored_id
        return upstream_id


def is_same_url(upstream_id: str, other_id: str) -> bool:
    """Return whether two ids end with the digest of the same URL, whatever their labels are."""
    _, _, digest = upstream_id.rpartition("-")
    _, _, other_digest = other_id.rpartition("-")
    return digest == other_digest
