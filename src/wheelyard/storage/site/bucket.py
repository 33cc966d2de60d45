"""
A site in a bucket, which Cloud Storage itself serves.

The version of an object is its generation. A plain URL of a bucket knows no `index.html`, so a page
may be an object whose name ends in a slash.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from wheelyard.errors import Conflict, NotFound, Unavailable
from wheelyard.storage.base import ABSENT, Key, ObjectVersion, Stored, WebType
from wheelyard.storage.cloud.location import BucketLocation
from wheelyard.storage.cloud.web import CloudWeb
from wheelyard.storage.faults import storage_faults
from wheelyard.storage.site.base import (
    SiteEntry,
    conflict,
    is_path,
    no_link,
    no_path,
    unharmed,
)
from wheelyard.storage.site.scratch import write_all
from wheelyard.storage.spool import Spool

LITTLE: Final = 1024**2
"""Bytes of a stream up to which they wait in memory, and not on disk."""

Write = Callable[[ObjectVersion], object]
"""Writes over a version, or raises Conflict."""


class BucketSite:
    """
    A site in a bucket.

    Args:
        web: The bucket, and the prefix in it.
        spool: Where the bytes of a stream wait for its end.
    """

    def __init__(self, web: CloudWeb, spool: Spool) -> None:
        self._web = web
        self._spool = spool

    @property
    def serves_folders(self) -> bool:
        """Whether who serves it finds `index.html`: a bucket does not."""
        return False

    def version(self, path: str) -> ObjectVersion:
        """Return the version of an object, ABSENT if there is none."""
        found = self._web.look(_key(path))
        return ABSENT if found is None else found.version

    def get(self, path: str) -> Stored | None:
        """Return an object as it is now, None if there is none."""
        return self._web.fetch(_key(path))

    def put(
        self, path: str, body: bytes, kind: WebType, expect: ObjectVersion | None
    ) -> ObjectVersion:
        """Write an object and return its version."""
        try:
            return self._web.put(_key(path), body, expect, kind)
        except Conflict as error:
            raise Conflict(conflict(path)) from error

    def put_file(self, path: str, source: Path, kind: WebType) -> bool:
        """Upload a file that never changes, unless it is there."""
        with storage_faults(str(source)):
            size = source.stat().st_size
        return self._create(path, lambda: size, self._writer(path, source, kind))

    def put_stream(self, path: str, source: Callable[[], Iterator[bytes]], kind: WebType) -> bool:
        """Upload what never changes, unless it is there."""
        chunks, begun = unharmed(source()), b""
        for chunk in chunks:
            begun += chunk
            if len(begun) > LITTLE:
                return self._put_spooled(path, begun, chunks, kind)
        return self._create(path, lambda: len(begun), self._writer(path, begun, kind))

    def copy_object(self, path: str, bucket: str, name: str, kind: WebType) -> bool:
        """
        Have the bucket copy what never changes from this or another bucket, unless it is there.

        Args:
            path: Where to.
            bucket: Where from.
            name: Its whole name there.
            kind: How it is to be served.

        Raises:
            NotFound: There is no such object.
        """
        key, place = _key(path), BucketLocation(bucket)

        def size() -> int:
            found = self._web.size_of(place, name)
            if found is None:
                raise NotFound(f"There is nothing at {name} in gs://{bucket}.")
            return found

        return self._create(
            path, size, lambda expect: self._web.copy(place, name, key, expect, kind)
        )

    def link_file(self, path: str, source: Path) -> bool:
        """
        Do nothing.

        Raises:
            Invalid: In any case.
        """
        del path
        raise no_link(source, "the site is in a bucket")

    def delete(self, path: str, expect: ObjectVersion | None) -> None:
        """Remove an object."""
        try:
            self._web.delete(_key(path), expect)
        except Conflict as error:
            raise Conflict(conflict(path)) from error

    def names(self, prefix: str) -> Iterator[SiteEntry]:
        """Yield the objects whose path starts with `prefix`, in order."""
        for entry in self._web.list(prefix):
            yield SiteEntry(entry.key, entry.size, entry.version)

    def close(self) -> None:
        """Close every connection."""
        self._web.close()

    def _writer(self, path: str, body: bytes | Path, kind: WebType) -> Write:
        key = _key(path)
        return lambda expect: self._web.put(key, body, expect, kind)

    def _create(self, path: str, size: Callable[[], int], write: Write) -> bool:
        """Write what never changes, and return whether it was not there yet."""
        try:
            write(ABSENT)
        except Conflict:
            found = self._web.look(_key(path))
            if found is not None and found.size == size():
                return False
            try:
                write(found.version if found is not None else ABSENT)
            except Conflict as error:
                raise Unavailable(conflict(path), short="Too many writers at once.") from error
        return True

    def _put_spooled(self, path: str, begun: bytes, chunks: Iterator[bytes], kind: WebType) -> bool:
        """Let a large stream come to its end before any of it goes up."""
        spooled, sink = self._spool.create()
        try:
            with sink:
                _append(sink.fileno(), begun)
                for chunk in chunks:
                    _append(sink.fileno(), chunk)
            return self.put_file(path, spooled, kind)
        finally:
            spooled.unlink(missing_ok=True)


def _key(path: str) -> Key:
    if not is_path(path):
        raise no_path(path)
    return Key(path)


def _append(descriptor: int, chunk: bytes) -> None:
    with storage_faults("the upload"):
        write_all(descriptor, chunk)
