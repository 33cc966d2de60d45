"""
Readers of buckets that are no stores, such as those that an import takes packages from.

An object is read at the version that was listed, so its bytes are those that the listing describes.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from msgspec import Struct

from wheelyard.errors import NotFound
from wheelyard.storage.failures import LIST, READ, Failure, FailureKind, Rights, unavailable
from wheelyard.storage.location import BucketLocation


class BucketObject(Struct, frozen=True, kw_only=True):
    """The metadata of one object in a bucket."""

    name: str
    """The name of the object without the prefix of the location."""
    version: str
    """The version of the object, which differs after each write."""
    size: int
    """The number of bytes as they are stored."""
    created: datetime
    """When this version was written (UTC)."""
    metadata: Mapping[str, str] | None = None
    """
    Custom metadata, as the uploader set it. None in the listing of a service that leaves it out:
    `find` returns it.
    """
    md5: str = ""
    """The MD5 digest in hexadecimal, or empty if the service does not tell it."""
    is_compressed: bool = False
    """Whether a download may have another size and other digests than the object."""


class BucketReader(ABC):
    """
    Lists and reads the objects below a location.

    Threads may share it. `str` of a reader is its location. Every public method may raise
    Unavailable. A service adds the abstract methods with an underscore, which raise Failure.
    """

    def __init__(self, location: BucketLocation) -> None:
        self._location = location

    def __str__(self) -> str:
        return str(self._location)

    @abstractmethod
    def close(self) -> None:
        """Close the connections of this reader."""

    @abstractmethod
    def _objects(self) -> Iterator[BucketObject]:
        """Yield every object below the prefix, sorted by name, or raise Failure."""

    @abstractmethod
    def _find(self, name: str) -> BucketObject:
        """
        Return an object with its metadata.

        Raises Failure, of the kind ABSENT if there is no such object.
        """

    @abstractmethod
    def _read(self, name: str, version: str) -> Iterator[bytes]:
        """
        Return an iterator of the bytes of one version.

        Raises Failure, of the kind ABSENT if the object was replaced or deleted.
        """

    def objects(self) -> Iterator[BucketObject]:
        """
        Yield every object below the prefix, sorted by name.

        A folder's own object may be left out. Raises Invalid (code `bad_source`) if the bucket has
        names that cannot be listed.
        """
        with self._faults(LIST):
            yield from self._objects()

    def find(self, name: str) -> BucketObject | None:
        """
        Return the object `name` below the prefix, with its metadata, or None if there is none.

        A name that ends with a slash is that of a folder's own object.
        """
        with self._faults(READ):
            try:
                return self._find(name)
            except Failure as failure:
                if failure.kind is not FailureKind.ABSENT:
                    raise
        return None

    def read(self, name: str, version: str) -> Iterator[bytes]:
        """
        Return an iterator of the bytes of one version.

        Raises NotFound if the object was replaced or deleted, also from the iterator.
        """
        # The request fails here, and each chunk fails when the caller takes it: so there are two
        # blocks.
        with self._faults(READ):
            chunks = self._read(name, version)
        return self._with_faults(chunks)

    def _with_faults(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Yield chunks, and turn a Failure of theirs into NotFound or Unavailable."""
        with self._faults(READ):
            yield from chunks

    @contextmanager
    def _faults(self, rights: Rights) -> Iterator[None]:
        """Turn a Failure of the block into NotFound or Unavailable."""
        try:
            yield
        except Failure as failure:
            # only for a read: a listing has a failure of this kind if there is no bucket
            if failure.kind is FailureKind.ABSENT and rights is READ:
                raise NotFound("It was replaced or deleted after it was listed.") from failure
            # no outage begins: an import that cannot read one file must still try the next file
            raise unavailable(failure, self._location, rights) from failure
