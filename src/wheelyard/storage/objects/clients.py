"""The clients of obstore for one bucket: they differ in their retries and time limits."""

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any, Final

from msgspec import Struct
from obstore.exceptions import BaseError
from obstore.store import AzureStore, S3Store

from wheelyard.errors import Invalid
from wheelyard.storage.location import AZURE, BucketLocation

Client = S3Store | AzureStore

CONNECT_SECONDS = 3
_URL: Final = re.compile(r"https?://[!-~]+")


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


def make_clients(location: BucketLocation, config: Mapping[str, Any]) -> Clients:
    """
    Return the clients of a bucket, without a request; `config` is what obstore takes.

    Raises Invalid (`bad_setting`) if something in it is malformed.
    """
    endpoint = str(config.get("endpoint", "https://of-the-region"))
    # obstore panics at the first request to anything else
    if _URL.fullmatch(endpoint):
        with suppress(BaseError, ValueError):  # whose text may have the key
            return _clients(location, config, allow_http=endpoint.startswith("http://"))
    raise Invalid(
        f"The variables of the environment for {location.root} are malformed: look at the key, "
        "the region and the URL of the service.",
        code="bad_setting",
    )


def _clients(location: BucketLocation, config: Mapping[str, Any], *, allow_http: bool) -> Clients:
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
