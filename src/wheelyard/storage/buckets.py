"""Opening of buckets: imports the library of a service when a bucket of that service is opened."""

from typing import Protocol

from msgspec import Struct

from wheelyard.concurrency.runtime import Runtime
from wheelyard.storage.bucket_reader import BucketReader
from wheelyard.storage.bucket_store import IMMUTABLE_CACHING, BucketStore, Downloads
from wheelyard.storage.forwarding import OperationCounter
from wheelyard.storage.location import GOOGLE, BucketLocation, missing_library


class StoreOpener(Protocol):
    """Opens the stores of a service by one connection."""

    def open_store(
        self, location: BucketLocation, downloads: Downloads, caching: str
    ) -> BucketStore:
        """
        Return the store at a location, whose objects have `caching` as their Cache-Control.

        Raises Invalid (code `bad_setting`) if the environment lacks something, or if `downloads`
        needs signed URLs, and nothing can sign them. Raises Unavailable (code
        `storage_credentials`) if there are no credentials.
        """


class BucketService(Protocol):
    """
    What the module of a service does, without a request to the bucket.

    Each function raises Invalid (code `bad_setting`) if the environment lacks something, and
    Unavailable (code `storage_credentials`) if there are no credentials.
    """

    def store_opener(
        self, location: BucketLocation, runtime: Runtime, counter: OperationCounter
    ) -> StoreOpener:
        """Return the opener of stores by one connection. `location` is for error messages."""

    def open_bucket_reader(self, location: BucketLocation, runtime: Runtime) -> BucketReader:
        """Return a reader of a bucket that is no store."""


class ConnectedBucket(Struct, frozen=True):
    """The stores of a bucket."""

    documents: BucketStore
    files: BucketStore
    """The store of files, which tells clients that they never change. Perhaps another bucket."""


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
    cache_scope = "private"
    documents_downloads = downloads
    if downloads == "public":
        cache_scope = "public"
        # if the files have a bucket of their own, only that bucket is public
        if files_location is not None:
            documents_downloads = "auto"
    documents = opener.open_store(location, documents_downloads, "")
    files = opener.open_store(
        files_location or location, downloads, f"{cache_scope}, {IMMUTABLE_CACHING}"
    )
    return ConnectedBucket(documents, files)


def open_bucket_reader(location: BucketLocation, runtime: Runtime) -> BucketReader:
    """
    Return a reader of a bucket that is no store, without a request.

    Raises Invalid (code `bad_setting`) if a library is missing, or if the environment lacks
    something. Raises Unavailable (code `storage_credentials`) if there are no credentials.
    """
    return _service(location.scheme).open_bucket_reader(location, runtime)


def _service(scheme: str) -> BucketService:
    """Return the module of a service, or raise Invalid if its library is not installed."""
    # imported here: an index in a folder must not pay for the libraries of services
    try:
        if scheme == GOOGLE:
            from wheelyard.storage.gcs import connect as google  # noqa: PLC0415 - 40 MB of memory

            return google
        from wheelyard.storage.objects import connect  # noqa: PLC0415 - 14 MB
    except ImportError as error:
        raise missing_library(scheme) from error
    return connect
