"""
The current versions of what answers are made from, as far as they are known without waiting.

A key names what has a version: its kind, and the name of a project or nothing.
"""

from asyncio import get_running_loop
from typing import Any, Final

from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import Snapshot
from wheelyard.wiring.index import Index

Key = tuple[str, str]
NAMES: Final[Key] = ("names", "")
SEARCH: Final[Key] = ("search", "")
GRANTS: Final[Key] = ("grants", "")
POLICY: Final[Key] = ("policy", "")
"""The rules and decisions about public packages."""


def project_key(name: NormalizedName) -> Key:
    """Return the key of a project's document."""
    return ("project", name)


def upstream_page_key(name: NormalizedName) -> Key:
    """Return the key of the page of a public project."""
    return ("upstream page", name)


class CurrentVersions:
    """
    Returns versions by a few system calls on a local store, from memory on a remote one.

    A system call lets the other threads run, which costs far more than the call itself. So all
    requests that the event loop begins to answer in one turn share it: they came before it.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._of_this_turn = dict[Key, str | None]()

    def __call__(self, key: Key) -> str | None:
        """Return the version of a key now; None if it is not known. May raise Unavailable."""
        versions = self._of_this_turn
        if not versions:
            get_running_loop().call_soon(versions.clear)
        if key not in versions:
            versions[key] = self._version(key)
        return versions[key]

    def _version(self, key: Key) -> str | None:
        index, (kind, text) = self._index, key
        name = NormalizedName(text)
        snapshot: Snapshot[Any] | None = None
        if kind == "project":
            snapshot = index.projects.documents.peek(keys.project(name))
        elif key == NAMES:
            snapshot = index.projects.names.peek()
        elif key == GRANTS:
            snapshot = index.access.records.peek()
        elif key == SEARCH:
            table = index.search.peek()
            return None if table is None else str(table.generation)
        else:
            return self._upstream_version(key, name)
        return None if snapshot is None else snapshot.version

    def _upstream_version(self, key: Key, name: NormalizedName) -> str | None:
        upstream = self._index.upstream
        if upstream is None:
            return None
        return (
            upstream.policy.generation if key == POLICY else upstream.pages.version_in_memory(name)
        )
