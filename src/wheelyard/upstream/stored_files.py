"""What of a page of an upstream index is in the store: for exports, and while it is offline."""

from collections.abc import Mapping

from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.storage.base import Key
from wheelyard.upstream.file_cache import FileCache
from wheelyard.upstream.page import UpstreamFile, UpstreamPage

Sizes = Mapping[Key, int]
"""The objects of a project's files in the store, by their keys in the cache, with their bytes."""


def stored_sizes(cache: FileCache, name: NormalizedName) -> Sizes:
    """Return what the store has of a project's files; one listing."""
    return {each.key: each.size for each in cache.store.list(keys.files_of(name))}


def only_stored(page: UpstreamPage, sizes: Sizes) -> UpstreamPage:
    """Return a page with those files alone that the store has."""
    files = (_as_stored(page.name, file, sizes) for file in page.files)
    return replace(page, files=tuple(file for file in files if file is not None))


def _as_stored(name: NormalizedName, file: UpstreamFile, sizes: Sizes) -> UpstreamFile | None:
    """Return a file without the core metadata that the store lacks; None if it lacks the file."""
    size = sizes.get(keys.distribution(name, file.sha256, file.filename))
    if size is None or file.size not in (None, size):
        return None
    if file.has_metadata and keys.core_metadata(name, file.sha256, file.filename) not in sizes:
        return replace(file, has_metadata=False, core_metadata="")
    return file
