"""Opens buckets; the library of a service is imported for a bucket there only."""

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Invalid
from wheelyard.storage.bucket_reader import BucketReader
from wheelyard.storage.bucket_store import IMMUTABLE_CACHING, BucketStore, Downloads
from wheelyard.storage.instrumented import OperationCounter
from wheelyard.storage.location import GOOGLE, BucketLocation, missing_library

OpenStore = Callable[[BucketLocation, Downloads, str], BucketStore]
"""Returns the store at a location, with a way of downloads and a value of Cache-Control."""


class BucketService(Protocol):
    """What the module of a service does; both without a request to the bucket."""

    def store_opener(
        self, location: BucketLocation, runtime: Runtime, counter: OperationCounter
    ) -> OpenStore:
        """Return what opens stores, all by one connection; `location` is for messages."""

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

    Raises:
        Invalid: A library is missing, the environment lacks something, or `redirect` needs signed
            URLs, and the credentials cannot sign (code `bad_setting`).
        Unavailable: There are no credentials (code `storage_credentials`).
    """
    open_store = _service(location.scheme).store_opener(location, runtime, counter)
    # only the bucket of the files is public
    is_apart = files_location is not None and downloads == "public"
    scope = "public" if downloads == "public" else "private"
    return ConnectedBucket(
        open_store(location, "auto" if is_apart else downloads, ""),
        open_store(files_location or location, downloads, f"{scope}, {IMMUTABLE_CACHING}"),
    )


def open_bucket_reader(location: BucketLocation, runtime: Runtime) -> BucketReader:
    """Return a reader of a bucket that is no store, without a request; raises as `open_bucket`."""
    return _service(location.scheme).open_bucket_reader(location, runtime)


def _service(scheme: str) -> BucketService:
    try:
        if scheme == GOOGLE:
            from wheelyard.storage.gcs import connect as google  # noqa: PLC0415 - 40 MB of memory

            return google
        from wheelyard.storage.objects import connect  # noqa: PLC0415 - 14 MB
    except ImportError as error:
        raise Invalid(missing_library(scheme), code="bad_setting") from error
    return connect
