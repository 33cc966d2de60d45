"""
Opening of buckets: the library of a service is imported for a bucket there only.

An object is read at the version that was listed, so its bytes are those that the listing describes.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import NotFound
from wheelyard.storage.bucket_store import IMMUTABLE_CACHING, BucketStore, Downloads
from wheelyard.storage.failures import LIST, READ, Failure, FailureKind, Rights, unavailable
from wheelyard.storage.forwarding import OperationCounter
from wheelyard.storage.location import GOOGLE, BucketLocation, missing_library


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
    """Custom metadata, as the uploader set it; None if a listing lacks it, and `find` has it."""
    md5: str = ""
    """Hexadecimal; empty if the service does not tell it."""
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
        """Yield what `objects` yields."""

    @abstractmethod
    def _find(self, name: str) -> BucketObject:
        """Return what `find` returns, or raise Failure, of the kind ABSENT if there is none."""

    @abstractmethod
    def _read(self, name: str, version: str) -> Iterator[bytes]:
        """Return what `read` returns, or raise Failure, of the kind ABSENT if it was replaced."""

    def objects(self) -> Iterator[BucketObject]:
        """
        Yield every object below the prefix, sorted by name.

        A folder's own object may be left out. Raises Unavailable (code `storage_refused`) if the
        bucket has names that cannot be listed.
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
        with self._faults(READ):
            return self._chunks(self._read(name, version))

    def _chunks(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        with self._faults(READ):
            yield from chunks

    @contextmanager
    def _faults(self, rights: Rights) -> Iterator[None]:
        try:
            yield
        except Failure as failure:
            if failure.kind is FailureKind.ABSENT and rights is READ:
                raise NotFound("It was replaced or deleted after it was listed.") from failure
            # no outage begins: one unreadable file must not keep the next from being tried
            raise unavailable(failure, self._location, rights) from failure


class StoreOpener(Protocol):
    """Opens the stores of a service by one connection."""

    def open_store(
        self, location: BucketLocation, downloads: Downloads, caching: str
    ) -> BucketStore:
        """
        Return the store at a location, whose objects have `caching` as their Cache-Control.

        Raises Invalid and Unavailable as `open_bucket` does.
        """


class BucketService(Protocol):
    """
    What the module of a service does, without a request to the bucket.

    Each function raises Invalid and Unavailable as `open_bucket` does.
    """

    def store_opener(
        self, location: BucketLocation, runtime: Runtime, counter: OperationCounter
    ) -> StoreOpener:
        """Return what opens the stores, with `location` for messages."""

    def open_bucket_reader(self, location: BucketLocation, runtime: Runtime) -> BucketReader:
        """Return a reader of a bucket that is no store."""


class ConnectedBucket(Struct, frozen=True):
    """The stores of a bucket."""

    documents: BucketStore
    files: BucketStore
    """With the caching headers of what never changes; perhaps in another bucket."""


def open_bucket(
    location: BucketLocation,
    runtime: Runtime,
    counter: OperationCounter,
    *,
    files_location: BucketLocation | None = None,
    downloads: Downloads = "auto",
) -> ConnectedBucket:
    """
    Return the stores of a bucket, without a request to it.

    The distributions may have a bucket of their own, `files_location`, in the same service.
    `downloads` says how clients get them.

    Raises Invalid (code `bad_setting`) if a library is missing, if the environment lacks something,
    or if `redirect` needs signed URLs, and the credentials cannot sign. Raises Unavailable (code
    `storage_credentials`) if there are no credentials.
    """
    opener = _service(location.scheme).store_opener(location, runtime, counter)
    # only the bucket of the files is public
    is_apart = files_location is not None and downloads == "public"
    scope = "public" if downloads == "public" else "private"
    return ConnectedBucket(
        opener.open_store(location, "auto" if is_apart else downloads, ""),
        opener.open_store(files_location or location, downloads, f"{scope}, {IMMUTABLE_CACHING}"),
    )


def open_bucket_reader(location: BucketLocation, runtime: Runtime) -> BucketReader:
    """
    Return a reader of a bucket that is no store, without a request.

    Raises Invalid and Unavailable as `open_bucket` does.
    """
    return _service(location.scheme).open_bucket_reader(location, runtime)


def _service(scheme: str) -> BucketService:
    try:
        if scheme == GOOGLE:
            from wheelyard.storage.gcs import connect as google  # noqa: PLC0415 - 40 MB of memory

            return google
        from wheelyard.storage.objects import connect  # noqa: PLC0415 - 14 MB
    except ImportError as error:
        raise missing_library(scheme) from error
    return connect
