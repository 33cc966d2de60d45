"""
The reader of a bucket of Google Cloud Storage; the version of an object is its generation.

An object stored with `Content-Encoding: gzip` may have another size and other digests than its
download; `is_compressed` marks it for the importer.
"""

from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import requests
from google.api_core import exceptions as api
from google.cloud.storage import Blob, Client

from wheelyard.storage.bucket_reader import BucketObject, was_replaced
from wheelyard.storage.gcs.error_mapping import READ_PERMISSION, bucket_faults, is_missing_bucket
from wheelyard.storage.gcs.object_download import ObjectDownload
from wheelyard.storage.gcs.retry import RetryEnvironment, RetryPolicy
from wheelyard.storage.location import BucketLocation

RETRY_SECONDS: Final = 30.0
"""Seconds after which a call is not retried; long, because no client waits for an import."""
TIMEOUTS: Final = (5.0, 30.0)
"""Seconds to connect, and without a byte."""
OBJECT_FIELDS: Final = "name,generation,size,timeCreated,md5Hash,metadata,contentEncoding"


class GcsReader:
    """See `BucketReader`."""

    def __init__(self, client: Client, location: BucketLocation, env: RetryEnvironment) -> None:
        self._client = client
        self._location = location
        self._env = env

    def __str__(self) -> str:
        return str(self._location)

    def close(self) -> None:
        """See `BucketReader`."""
        self._client.close()

    def objects(self) -> Iterator[BucketObject]:
        """See `BucketReader`."""
        blobs = self._client.list_blobs(
            self._location.bucket,
            prefix=self._location.prefix or None,
            fields=f"items({OBJECT_FIELDS}),nextPageToken",
            timeout=TIMEOUTS,
            retry=self._policy(),
        )
        with bucket_faults(self._location, "storage.objects.list"):
            for blob in blobs:
                yield self._described(blob)

    def find(self, name: str) -> BucketObject | None:
        """See `BucketReader`."""
        bucket = self._client.bucket(self._location.bucket)
        with bucket_faults(self._location, READ_PERMISSION):
            blob = bucket.get_blob(
                self._location.name_of(name), timeout=TIMEOUTS, retry=self._policy()
            )
            return None if blob is None else self._described(blob)

    def read(self, name: str, version: str) -> Iterator[bytes]:
        """See `BucketReader`."""
        # an open circuit is ignored, or one unreadable file would keep the next from being tried
        policy = RetryPolicy(env=self._env, retry_seconds=RETRY_SECONDS, ignores_circuit=True)
        whole_name = self._location.name_of(name)
        stream = ObjectDownload(self._client, self._location, whole_name, policy)
        stream.generation = version
        with self._reading():
            if not stream.open(0, None):
                raise was_replaced()
        return self._chunks(stream)

    def _chunks(self, stream: ObjectDownload) -> Iterator[bytes]:
        with self._reading():
            yield from stream.chunks()

    def _described(self, blob: Blob) -> BucketObject:
        if blob.time_created is None or blob.size is None or blob.generation is None:
            raise requests.ConnectionError("the listing lacks required fields")
        return BucketObject(
            name=blob.name.removeprefix(self._location.prefix),
            version=str(blob.generation),
            size=int(blob.size),
            created=blob.time_created,
            metadata=dict(blob.metadata or {}),
            md5=_hexadecimal(blob.md5_hash),
            is_compressed=bool(blob.content_encoding),
        )

    def _policy(self) -> RetryPolicy:
        return RetryPolicy(env=self._env, retry_seconds=RETRY_SECONDS)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with bucket_faults(self._location, READ_PERMISSION):
            try:
                yield
            except api.NotFound as error:
                if is_missing_bucket(error):
                    raise
                raise was_replaced() from error


def _hexadecimal(encoded: str | None) -> str:
    try:
        return b64decode(encoded or "", validate=True).hex()
    except NotBase64:
        return ""
