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
    """Without the prefix."""
    version: str
    """Differs after each write."""
    size: int
    """Bytes as stored."""
    created: datetime
    """When this version was written, UTC."""
    metadata: Mapping[str, str] | None = None
    """Custom metadata, as the uploader set it. None if a listing lacks it, and `find` has it."""
    md5: str = ""
    """Hexadecimal. Empty if the service does not tell it."""
    is_compressed: bool = False
    """Whether a download may have another size and other digests than the object."""


class BucketReader(ABC):
    """
    Lists and reads the objects below a location.

    Threads may share it. `str` of it is that location. Every public method may raise Unavailable. A
    service adds the methods with an underscore, each of which raises Failure.
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
        """Return an object with its metadata, or raise Failure, of the kind ABSENT for none."""

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
        # two blocks: the request fails here, and each chunk in the hands of the caller
        with self._faults(READ):
            chunks = self._read(name, version)
        return self._chunks(chunks)

    def _chunks(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        with self._faults(READ):
            yield from chunks

    @contextmanager
    def _faults(self, rights: Rights) -> Iterator[None]:
        """Turn a Failure of the block into NotFound or Unavailable."""
        try:
            yield
        except Failure as failure:
            # a listing fails so if there is no bucket
            if failure.kind is FailureKind.ABSENT and rights is READ:
                raise NotFound("It was replaced or deleted after it was listed.") from failure
            # no outage begins: an import that cannot read one file must still try the next
            raise unavailable(failure, self._location, rights) from failure
