"""
Somebody else's bucket: a listing with everything that the bucket knows, and reading. Never writing.

An object is read at the generation that was listed, so what is read is what the listing told of. An
object that is kept packed (`Content-Encoding: gzip`) has another size and other digests than what
the bucket hands out; it is told apart, and not read.
"""

from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import requests
from google.api_core import exceptions as api
from google.cloud.storage import Blob, Client

from wheelyard.errors import NotFound
from wheelyard.storage.gcs.location import BucketLocation
from wheelyard.storage.gcs.resumable_download import ResumableDownload
from wheelyard.storage.gcs.retry import (
    READ_PERMISSION,
    RetryEnvironment,
    RetryPolicy,
    bucket_faults,
    is_missing_bucket,
)

RETRY_SECONDS: Final = 30.0
"""Seconds after which a call is not begun again: nobody waits at the other end of a connection."""
TIMEOUTS: Final = (5.0, 30.0)
"""Seconds: to connect, and of silence."""
OBJECT_FIELDS: Final = "name,generation,size,timeCreated,updated,md5Hash,metadata,contentEncoding"


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketObject:
    """One object, as the bucket describes it."""

    name: str
    """Without the prefix."""
    generation: str
    size: int
    """Bytes that are kept."""
    created: datetime
    """When this generation was made: its bytes have not changed since."""
    updated: datetime
    """When anything was last changed, the metadata included."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What whoever put it there has said of it."""
    md5: str = ""
    """Hexadecimal; composite objects have none."""
    is_packed: bool = False


class BucketReader:
    """A bucket to be read; safe to share between threads."""

    def __init__(self, client: Client, place: BucketLocation, retry_env: RetryEnvironment) -> None:
        self._client = client
        self._place = place
        self._retry_env = retry_env

    def __str__(self) -> str:
        return str(self._place)

    def close(self) -> None:
        """Close every connection."""
        self._client.close()

    def objects(self) -> Iterator[BucketObject]:
        """Yield every object below the prefix, in the order of names."""
        blobs = self._client.list_blobs(
            self._place.bucket,
            prefix=self._place.prefix or None,
            fields=f"items({OBJECT_FIELDS}),nextPageToken",
            timeout=TIMEOUTS,
            retry=self._retry_policy(),
        )
        with bucket_faults(self._place, "storage.objects.list"):
            for blob in blobs:
                yield self._described(blob)

    def find(self, name: str) -> BucketObject | None:
        """Return one object, None if there is none."""
        bucket = self._client.bucket(self._place.bucket)
        with bucket_faults(self._place, READ_PERMISSION):
            blob = bucket.get_blob(
                self._place.name_of(name), timeout=TIMEOUTS, retry=self._retry_policy()
            )
            return None if blob is None else self._described(blob)

    def read(self, name: str, generation: str) -> Iterator[bytes]:
        """Return the bytes of one generation; raise NotFound at once if it is there no more."""
        # it asks a bucket that is silent all the same, or one file that cannot be read would keep
        # the next one from being tried
        retry_policy = RetryPolicy(
            retry_env=self._retry_env, retry_seconds=RETRY_SECONDS, ignores_circuit=True
        )
        stream = ResumableDownload(
            self._client, self._place, self._place.name_of(name), retry_policy
        )
        stream.generation = generation
        with self._reading():
            if not stream.open(0, None):
                raise _gone()
        return self._pieces(stream)

    def _pieces(self, stream: ResumableDownload) -> Iterator[bytes]:
        with self._reading():
            yield from stream.chunks()

    def _described(self, blob: Blob) -> BucketObject:
        if blob.time_created is None or blob.size is None or blob.generation is None:
            raise requests.ConnectionError("the listing lacks what was asked for")
        return BucketObject(
            name=blob.name.removeprefix(self._place.prefix),
            generation=str(blob.generation),
            size=int(blob.size),
            created=blob.time_created,
            updated=blob.updated or blob.time_created,
            metadata=dict(blob.metadata or {}),
            md5=_hexadecimal(blob.md5_hash),
            is_packed=bool(blob.content_encoding),
        )

    def _retry_policy(self) -> RetryPolicy:
        return RetryPolicy(retry_env=self._retry_env, retry_seconds=RETRY_SECONDS)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with bucket_faults(self._place, READ_PERMISSION):
            try:
                yield
            except api.NotFound as error:
                if is_missing_bucket(error):
                    raise
                raise _gone() from error


def _gone() -> NotFound:
    return NotFound("It was replaced or deleted after it was listed.")


def _hexadecimal(encoded: str | None) -> str:
    try:
        return b64decode(encoded or "", validate=True).hex()
    except NotBase64:
        return ""
