"""
Buckets as file trees, read at the versions that were listed; opening buckets and folders.

Separate from `file_tree.py`, because `operations` may not import Google's storage.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType

from msgspec import Struct

from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Invalid, NotFound, quoted
from wheelyard.http_client.urls import is_url, redact_url
from wheelyard.sources.candidate import EMPTY_MAPPING, Candidate, bad_source, unreadable
from wheelyard.sources.file_tree import FileTree, FolderTree
from wheelyard.storage.bucket_reader import BucketObject, BucketReader
from wheelyard.storage.buckets import open_bucket_reader
from wheelyard.storage.location import (
    BUCKET_FORMS,
    is_bucket,
    parse_location,
)


class BucketTree(Struct, frozen=True):
    """A bucket, or a prefix in it; objects are read at the versions that were listed."""

    bucket: BucketReader

    def __str__(self) -> str:
        return str(self.bucket)

    def close(self) -> None:
        """Close every connection to the bucket."""
        self.bucket.close()

    def entries(self) -> Iterator[Candidate]:
        """Yield every object whose name does not end with a slash (a folder)."""
        for found in self.bucket.objects():
            if found.name and not found.name.endswith("/"):
                yield self._file(found)

    def find(self, path: str) -> Candidate | None:
        """Return the object at a path below the prefix; None if it is missing."""
        found = self.bucket.find(path)
        return None if found is None else self._file(found)

    def _file(self, found: BucketObject) -> Candidate:
        has_md5 = found.md5 and not found.is_compressed
        return Candidate(
            filename=found.name.rpartition("/")[2],
            location=f"{self.bucket}/{found.name}",
            path=found.name,
            read=partial(self._read, found),
            size=None if found.is_compressed else found.size,
            uploaded_at=found.created,
            changed_at=found.created.timestamp(),
            attributes=None if found.metadata is None else _attributes(found.metadata),
            hashes={"md5": found.md5} if has_md5 else EMPTY_MAPPING,
            version=found.version,
        )

    @contextmanager
    def _read(self, found: BucketObject) -> Iterator[Iterator[bytes]]:
        """Yield the chunks of an object; raise OSError if it is compressed, or was replaced."""
        if found.is_compressed:
            raise unreadable(
                "it is kept packed (Content-Encoding: gzip), so its bytes are not those that were "
                "uploaded; store it again without that"
            )
        try:
            chunks = self.bucket.read(found.name, found.version)
        except NotFound as fault:
            raise unreadable(fault.message.rstrip(".").lower()) from fault
        with closing(chunks):  # type: ignore[type-var]
            yield chunks


def open_tree(text: str, runtime: Runtime, excluded: Iterable[Path] = ()) -> FileTree:
    """
    Return the file tree of a folder, without `excluded` folders, or of a place in a bucket.

    Raise Invalid (`bad_source`) if it is neither, and Unavailable without credentials for a bucket.
    """
    if is_bucket(text):
        return _open_bucket(text, runtime)
    name = quoted(redact_url(text))
    if is_url(text):
        raise bad_source(f"{name} is a URL, and this needs a folder, {BUCKET_FORMS}.")
    path = Path(text)
    try:
        next(path.iterdir(), None)  # a misspelled folder must not look empty
    except NotADirectoryError as error:
        raise bad_source(
            f"{name} is a file. Name the folder that it is in, or publish it with "
            "'wheelyard upload'."
        ) from error
    except OSError as error:
        raise bad_source(
            f"The folder {name} cannot be read: {error.strerror}. Name one that is there, with "
            "packages in it or without."
        ) from error
    return FolderTree(path, tuple(excluded))


def open_watched_tree(text: str, stores: Iterable[str], files: str, runtime: Runtime) -> FileTree:
    """
    Return the file tree of a folder or a bucket to watch; a store below the folder is excluded.

    `stores` has the locations of the parts of the store, `files` the key prefix of distributions.

    Raise as `open_tree`, and Invalid (`bad_setting`) if the store's distributions would be seen.
    """
    text = os.path.expanduser(text)  # noqa: PTH111 - Path's raises for unknown users
    for store in stores:
        if _overlaps_store(text, store, files):
            raise Invalid(
                f"{quoted(text)} cannot be watched: the store {quoted(store)} is there. Watch a "
                "place beside it.",
                code="bad_setting",
            )
    return open_tree(text, runtime, (Path(store) for store in stores if not is_bucket(store)))


def _open_bucket(text: str, runtime: Runtime) -> BucketTree:
    try:
        location = parse_location(text)
    except Invalid as fault:
        raise bad_source(fault.message) from fault
    return BucketTree(open_bucket_reader(location, runtime))


def _overlaps_store(text: str, store: str, files: str) -> bool:
    if is_bucket(text) != is_bucket(store):
        return False
    if is_bucket(text):
        own, watched = parse_location(store), parse_location(text)
        below = watched.prefix.removeprefix(own.prefix)
        return own.root == watched.root and (
            own.prefix.startswith(watched.prefix)
            or (watched.prefix.startswith(own.prefix) and below.startswith(files))
        )
    folder, root = Path(text).resolve(), Path(store).resolve()
    return folder == root or folder.is_relative_to(root / files)


def _attributes(metadata: Mapping[str, str]) -> Mapping[str, str]:
    # some libraries change the case and the dashes of custom metadata's names
    renamed = {name.lower().replace("-", "_"): value for name, value in metadata.items()}
    return MappingProxyType(renamed)
