"""The clients of obstore for one bucket: they differ in their retries and time limits."""

from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from msgspec import Struct
from obstore.store import AzureStore, S3Store

from wheelyard.storage.location import AZURE, BucketLocation

Client = S3Store | AzureStore

CONNECT_SECONDS = 3


class Clients(Struct, frozen=True):
    """The clients of one bucket."""

    reads: Client
    """For small reads, listings and deletions: short, repeated."""
    writes: Client
    """For documents: short, never repeated."""
    downloads: Client
    """For streams: obstore's time limit is for a whole one, its reader's slowness included."""
    uploads: Client
    """For files, whose parts may take long: repeated."""


def make_clients(
    location: BucketLocation, config: Mapping[str, Any], *, allow_http: bool
) -> Clients:
    """Return the clients of a bucket; `config` is what obstore takes, without a request."""

    def client(seconds: int, of_a_read: int, retries: int, retry_seconds: int) -> Client:
        make = partial(
            AzureStore if location.scheme == AZURE else S3Store,
            location.bucket,
            client_options={
                "allow_http": allow_http,
                "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
                "read_timeout": timedelta(seconds=of_a_read),
                "timeout": timedelta(seconds=seconds),
            },
            retry_config={
                "max_retries": retries,
                "retry_timeout": timedelta(seconds=retry_seconds),
                "backoff": {
                    "init_backoff": timedelta(seconds=0.2),
                    "max_backoff": timedelta(seconds=4),
                    "base": 2,
                },
            },
        )
        return make(**config)

    # an installer waits for 15 seconds; a stream that began before its retry time is not resumed
    return Clients(
        reads=client(6, 6, 5, 8),
        writes=client(10, 10, 0, 8),
        downloads=client(3600, 10, 9, 3600),
        uploads=client(300, 120, 5, 600),
    )
